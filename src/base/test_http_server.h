// A server on loopback that answers HTTP as a test says.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/status.h"

namespace switchyard {

class TestHttpServer {
 public:
  // Sends to whoever asked; false when he has gone, or the server ends.
  using Send = std::function<bool(std::string_view bytes)>;
  // Called with the head of each request, on the server's thread; the connection is closed behind it.
  using Answer = std::function<void(const std::string& head, const Send& send)>;

  explicit TestHttpServer(Answer answer)
      : answer_(std::move(answer)), listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    setenv("no_proxy", "127.0.0.1", 1);  // of this machine's, none
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (bind(listener_, any, size) == 0 && listen(listener_, 16) == 0 && getsockname(listener_, any, &size) == 0) {
      port_ = ntohs(address.sin_port);
    }
    thread_ = std::thread([this] { Run(); });
  }
  ~TestHttpServer() {
    ended_.store(true);
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  TestHttpServer(const TestHttpServer&) = delete;
  TestHttpServer& operator=(const TestHttpServer&) = delete;

  std::string address() const { return fmt::format("127.0.0.1:{}", port_); }
  std::string url() const { return "http://" + address(); }

  static std::string Text(int status, std::string_view body, std::string_view headers = "") {
    return fmt::format("HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n{}", status, body.size(), headers,
                       body);
  }

 private:
  void Run() {
    for (int peer; (peer = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0; close(peer)) {
      const timeval longest{.tv_sec = 5, .tv_usec = 0};
      setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof(longest));
      std::string head;
      char piece[4096];
      while (head.find("\r\n\r\n") == head.npos) {
        const ssize_t count = recv(peer, piece, sizeof(piece), 0);
        if (count <= 0) break;
        head.append(piece, static_cast<size_t>(count));
      }
      if (head.find("\r\n\r\n") == head.npos) continue;
      answer_(head, [this, peer](std::string_view bytes) {
        return !ended_.load() && send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
      });
    }
  }

  const Answer answer_;
  const int listener_;
  int port_ = 0;
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace switchyard
