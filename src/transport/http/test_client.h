// A small blocking client that says exactly what a test tells it to, and a handler that does what the test wants.
#pragma once

#include <sys/socket.h>
#include <sys/time.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "protocol/http/http_message.h"

namespace switchyard {

struct ClientReply {
  int code = 0;  // 0: the connection ended
  std::string head;
  std::string body;
};

class TestClient {
 public:
  // "host:port" or "unix:/path".
  explicit TestClient(const std::string& address) : socket_(io_) {
    if (address.starts_with("unix:")) {
      socket_.connect(boost::asio::local::stream_protocol::endpoint(address.substr(5)));
    } else {
      const size_t colon = address.rfind(':');
      socket_.connect(boost::asio::ip::tcp::endpoint(boost::asio::ip::make_address(address.substr(0, colon)),
                                                     static_cast<uint16_t>(std::stoi(address.substr(colon + 1)))));
    }
    // A server that hangs fails the test instead of stopping it.
    timeval limit{10, 0};
    setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(socket_.native_handle(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  }

  // False when the server closed the connection.
  bool Send(std::string_view bytes) {
    boost::system::error_code error;
    boost::asio::write(socket_, boost::asio::buffer(bytes.data(), bytes.size()), error);
    return !error;
  }

  ClientReply Receive(bool head_only = false) {
    ClientReply reply;
    size_t end;
    while ((end = input_.find("\r\n\r\n")) == std::string::npos) {
      if (!More()) return reply;
    }
    reply.head = input_.substr(0, end + 2);
    input_.erase(0, end + 4);
    reply.code = std::stoi(reply.head.substr(9, 3));
    const std::string length = Header(reply, "Content-Length");
    const size_t size = head_only || length.empty() ? 0 : std::stoul(length);
    while (input_.size() < size) {
      if (!More()) return {};
    }
    reply.body = input_.substr(0, size);
    input_.erase(0, size);
    return reply;
  }

  ClientReply Exchange(std::string_view bytes) {
    Send(bytes);
    return Receive();
  }

  // True when the server ends the connection, in order or by a reset, without sending more.
  bool AtEnd() { return input_.empty() && !More() && !timed_out_; }
  void ShutdownSend() { socket_.shutdown(boost::asio::socket_base::shutdown_send); }
  void Close() { socket_.close(); }

  static std::string Header(const ClientReply& reply, const std::string& name) {
    const size_t at = reply.head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const size_t value = at + name.size() + 4;
    return reply.head.substr(value, reply.head.find("\r\n", value) - value);
  }

 private:
  bool More() {
    char block[65536];
    const ssize_t n = recv(socket_.native_handle(), block, sizeof(block), 0);
    if (n <= 0) {
      timed_out_ = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
      return false;
    }
    input_.append(block, static_cast<size_t>(n));
    return true;
  }

  boost::asio::io_context io_;
  boost::asio::generic::stream_protocol::socket socket_;
  std::string input_;
  bool timed_out_ = false;
};

// GET answers with the target, POST with the body. /hold keeps the responder for the test; /big answers with 8 MiB.
class TestHandler final : public HttpHandler {
 public:
  void Handle(HttpRequest request, std::shared_ptr<HttpResponder> responder) override {
    HttpReply reply;
    if (request.target == "/hold") {
      auto held = std::make_shared<Held>();
      responder->OnClientGone([held] { held->gone.set_value(); });
      held->responder = std::move(responder);
      const std::lock_guard lock(mutex_);
      held_.push_back(std::move(held));
      more_held_.notify_all();
      return;
    }
    if (request.target == "/throw") throw std::runtime_error("thrown");
    if (request.target == "/big") {
      auto big = std::make_shared<std::string>(size_t{8} << 20, 'b');
      reply.body.Append(std::string("<"));
      reply.body.Append(reinterpret_cast<const std::byte*>(big->data()), big->size(), big);
      reply.body.Append(std::string(">"));
    } else if (request.target == "/address") {
      const auto json = request.inference_header_length ? std::stoul(*request.inference_header_length) : 0;
      reply.body = Frame(std::to_string(reinterpret_cast<uintptr_t>(request.body.data() + json) % kBufferAlignment));
    } else {
      reply.body = Frame(request.method == "POST" ? std::string(request.body.view()) : request.target);
    }
    responder->Reply(std::move(reply));
  }

  struct Held {
    std::shared_ptr<HttpResponder> responder;
    std::promise<void> gone;
    std::future<void> gone_seen = gone.get_future();

    bool GoneWithin(std::chrono::milliseconds time) { return gone_seen.wait_for(time) == std::future_status::ready; }
  };
  // The next request for /hold; waits for it.
  std::shared_ptr<Held> TakeHeld() {
    std::unique_lock lock(mutex_);
    more_held_.wait(lock, [this] { return !held_.empty(); });
    auto held = std::move(held_.front());
    held_.pop_front();
    return held;
  }

 private:
  std::mutex mutex_;
  std::condition_variable more_held_;
  std::deque<std::shared_ptr<Held>> held_;
};

inline std::string Post(const std::string& target, const std::string& body, const std::string& headers = {}) {
  return "POST " + target + " HTTP/1.1\r\nHost: x\r\n" + headers + "Content-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}
inline std::string Get(const std::string& target, const std::string& headers = {}) {
  return "GET " + target + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n";
}

}  // namespace switchyard
