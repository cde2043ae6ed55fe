// A connection of the bench's client to a server, over which calls go; all of it on one thread, nothing blocks.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace switchyard::bench {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

// What every call sends. Outlives the channels.
struct Request {
  std::string host;  // an IPv4 address
  uint16_t port = 0;
  bool grpc = false;
  std::string path;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;                                          // with gRPC's five bytes before the message
};

class Channel {
 public:
  // `error` is empty for a good answer: status 200 and, for gRPC, grpc-status 0. `answer` is the body, valid during the call.
  using OnDone = std::function<void(Channel&, TimePoint due, const std::string& error, const std::string& answer)>;

  virtual ~Channel() = default;
  // Begins a call. `due` comes back in OnDone, which is called from Work only. At most `most_calls()` may be in flight.
  virtual void Submit(TimePoint due) = 0;
  // Sends and receives what the socket takes and has. Throws std::runtime_error when the connection is lost.
  virtual void Work() = 0;

  virtual int most_calls() const = 0;
  int fd() const { return fd_; }
  int in_flight() const { return in_flight_; }
  // Does something wait to be sent that the socket did not take?
  bool wants_write() const { return wants_write_; }
  uint64_t bytes_sent() const { return sent_; }
  uint64_t bytes_received() const { return received_; }

 protected:
  explicit Channel(const Request& request, OnDone done) : request_(request), done_(std::move(done)) {}
  // Sends [data, data + size) as far as the socket takes it; returns how far.
  size_t SendSome(const char* data, size_t size);
  // Receives into the buffer; returns how much, 0 when there is nothing now.
  size_t ReceiveSome(char* data, size_t size);

  const Request& request_;
  OnDone done_;
  int fd_ = -1;
  int in_flight_ = 0;
  bool wants_write_ = false;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
};

// Both connect before they return, and throw std::runtime_error where that fails.
std::unique_ptr<Channel> OpenHttp1(const Request& request, Channel::OnDone done);
std::unique_ptr<Channel> OpenHttp2(const Request& request, int streams, Channel::OnDone done);

// A connected, non-blocking socket.
int ConnectTo(const Request& request);

}  // namespace switchyard::bench
