// HTTP/1.1 with keep-alive, one call at a time; and what both kinds of channel do with their socket.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "load_channel.h"

namespace switchyard::bench {

int ConnectTo(const Request& request) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(request.port);
  if (inet_pton(AF_INET, request.host.c_str(), &address.sin_addr) != 1) {
    throw std::runtime_error("expected an IPv4 address, got " + request.host);
  }
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw std::runtime_error("cannot connect to " + request.host + ": " + std::strerror(errno));
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

size_t Channel::SendSome(const char* data, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t sent = send(fd_, data + done, size - done, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      if (errno == EINTR) continue;
      throw std::runtime_error(std::string("the connection was lost: ") + std::strerror(errno));
    }
    done += static_cast<size_t>(sent);
  }
  sent_ += done;
  return done;
}

size_t Channel::ReceiveSome(char* data, size_t size) {
  while (true) {
    const ssize_t got = recv(fd_, data, size, 0);
    if (got > 0) {
      received_ += static_cast<uint64_t>(got);
      return static_cast<size_t>(got);
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    throw std::runtime_error(got == 0 ? "the server closed the connection" : std::strerror(errno));
  }
}

namespace {

class Http1Channel : public Channel {
 public:
  Http1Channel(const Request& request, OnDone done) : Channel(request, std::move(done)) {
    message_ = "POST " + request.path + " HTTP/1.1\r\nhost: " + request.host + ":" + std::to_string(request.port) + "\r\n";
    for (const auto& [name, value] : request.headers) message_ += name + ": " + value + "\r\n";
    message_ += "content-length: " + std::to_string(request.body.size()) + "\r\n\r\n" + request.body;
    buffer_.resize(256 * 1024);
    fd_ = ConnectTo(request);
  }
  ~Http1Channel() override {
    if (fd_ >= 0) close(fd_);
  }

  int most_calls() const override { return 1; }

  void Submit(TimePoint due) override {
    due_ = due;
    in_flight_ = 1;
    written_ = 0;
    head_.clear();
    answer_.clear();
    in_body_ = false;
    ConnectAgainIfClosed();
    Write();
  }

  void Work() override {
    if (in_flight_ == 0) return;
    Write();
    while (in_flight_ > 0) {
      const size_t got = ReceiveSome(buffer_.data(), buffer_.size());
      if (got == 0) return;
      Take(buffer_.data(), got);
    }
  }

 private:
  // A server may close a connection that had nothing to do for a while.
  void ConnectAgainIfClosed() {
    char byte = 0;
    const ssize_t got = recv(fd_, &byte, 1, MSG_PEEK);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (got > 0) throw std::runtime_error("an answer that nobody asked for");
    close(std::exchange(fd_, -1));
    fd_ = ConnectTo(request_);
  }

  void Write() {
    written_ += SendSome(message_.data() + written_, message_.size() - written_);
    wants_write_ = written_ < message_.size();
  }

  void Take(const char* data, size_t size) {
    if (!in_body_) {
      head_.append(data, size);
      const size_t end = head_.find("\r\n\r\n");
      if (end == std::string::npos) return;
      answer_ = head_.substr(end + 4);
      head_.resize(end + 2);
      std::transform(head_.begin(), head_.end(), head_.begin(), [](unsigned char c) { return std::tolower(c); });
      in_body_ = true;
      length_ = ContentLength();
    } else {
      answer_.append(data, size);
    }
    if (answer_.size() > length_) throw std::runtime_error("an answer longer than its content-length");
    if (answer_.size() < length_) return;
    in_flight_ = 0;
    const bool good = head_.compare(0, 12, "http/1.1 200") == 0;
    done_(*this, due_, good ? std::string() : head_.substr(0, head_.find('\r')) + ": " + answer_.substr(0, 300), answer_);
  }

  size_t ContentLength() const {
    static const std::string kName = "\r\ncontent-length:";
    const size_t at = head_.find(kName);
    if (at == std::string::npos) throw std::runtime_error("expected an answer with a content-length, got: " + head_);
    const char* begin = head_.data() + at + kName.size();
    while (*begin == ' ') ++begin;
    size_t length = 0;
    std::from_chars(begin, head_.data() + head_.size(), length);
    return length;
  }

  std::string message_;
  std::string buffer_;
  TimePoint due_;
  size_t written_ = 0;
  std::string head_;
  std::string answer_;
  bool in_body_ = false;
  size_t length_ = 0;
};

}  // namespace

std::unique_ptr<Channel> OpenHttp1(const Request& request, Channel::OnDone done) {
  return std::make_unique<Http1Channel>(request, std::move(done));
}

}  // namespace switchyard::bench
