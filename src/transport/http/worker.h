// One thread of the server with its connections and its clock.
#pragma once

#include <absl/functional/any_invocable.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "transport/http/http_server.h"

namespace switchyard {

class Connection;

// What all workers share.
struct ServerState {
  ServerState(const HttpServerOptions& o, HttpHandler& h) : options(o), handler(h) {}

  const HttpServerOptions options;
  HttpHandler& handler;
  std::atomic<bool> draining{false};
  std::atomic<uint32_t> connections{0};
  std::mutex mutex;
  std::condition_variable none_left;  // with `mutex`: `connections` became 0

  void ConnectionClosed();
};

// Kept alive by its connections, so that whoever still holds a responder when the server is gone holds something that works.
class Worker : public std::enable_shared_from_this<Worker> {
 public:
  explicit Worker(std::shared_ptr<ServerState> state);

  void StartThread();
  // Closes all connections, ends the thread, and drops what was posted meanwhile.
  void Stop();

  // From any thread; dropped when the worker has stopped. False, and `work` will not run: there is no memory for it.
  template <typename Work>
  [[nodiscard]] bool Post(Work work) noexcept {
    try {
      const std::lock_guard lock(mutex_);
      if (!stopped_) boost::asio::post(io_, std::move(work));
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }
  // Before StartThread. `resume` runs on the thread after something was thrown there that no connection answers for: what was
  // to come next may be lost.
  void OnFault(absl::AnyInvocable<void()> resume) { resume_ = std::move(resume); }
  bool OnThread() const { return std::this_thread::get_id() == thread_id_.load(std::memory_order_relaxed); }
  boost::asio::io_context& io() { return io_; }
  ServerState& state() { return *state_; }

  // On the worker's thread.
  void Add(std::shared_ptr<Connection> connection);
  void Remove(Connection& connection);
  void DrainConnections();
  // "Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n" (RFC 9110, 6.6.1); until the next call.
  std::string_view DateLine();

 private:
  void Work();
  void ScheduleTick();
  void Tick();

  const std::shared_ptr<ServerState> state_;
  const std::chrono::milliseconds tick_;
  // One thread runs it, the others only post.
  boost::asio::io_context io_{1};
  boost::asio::steady_timer timer_{io_};
  bool ticking_ = false;
  time_t date_at_ = 0;
  std::string date_line_;
  std::vector<std::shared_ptr<Connection>> connections_;
  std::atomic<std::thread::id> thread_id_{};
  absl::AnyInvocable<void()> resume_;
  std::thread thread_;
  std::mutex mutex_;
  bool stopped_ = false;  // guarded by mutex_
};

}  // namespace switchyard
