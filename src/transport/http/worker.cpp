#include "transport/http/worker.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <exception>

#include "base/thread_name.h"
#include "transport/http/connection.h"

namespace switchyard {
namespace asio = boost::asio;

// Until there may be memory again.
static constexpr auto kFaultPause = std::chrono::milliseconds(10);

void ServerState::ConnectionClosed() {
  if (connections.fetch_sub(1) != 1) return;
  const std::lock_guard lock(mutex);
  none_left.notify_all();
}

// Deadlines are looked at so often: a timer of its own for each connection would cost every request two changes of it.
static std::chrono::milliseconds TickFor(const HttpServerOptions& options) {
  const uint32_t shortest = std::min({options.header_timeout_ms, options.body_timeout_ms, options.idle_timeout_ms});
  return std::chrono::milliseconds(std::clamp<uint32_t>(shortest / 4, 5, 1000));
}

Worker::Worker(std::shared_ptr<ServerState> state) : state_(std::move(state)), tick_(TickFor(state_->options)) {}

void Worker::StartThread() {
  thread_ = std::thread([this] {
    NameThread("sy-http");
    thread_id_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    const auto guard = asio::make_work_guard(io_);
    Work();
  });
}

// Connections handle what is thrown in their turn. The rest, the library's own steps and the clock, fails for want of memory
// alone: the next try may have it.
void Worker::Work() {
  for (bool again = false;; again = true) {
    try {
      if (again) {
        std::this_thread::sleep_for(kFaultPause);
        if (!ticking_ && !connections_.empty()) ScheduleTick();
        if (resume_) resume_();
      }
      io_.run();
      return;
    } catch (const std::exception&) {
    }
  }
}

void Worker::Stop() {
  const bool posted = Post([this] {
    while (!connections_.empty()) connections_.back()->Close();
    io_.stop();
  });
  if (!posted) io_.stop();
  if (thread_.joinable()) thread_.join();
  resume_ = nullptr;  // it may hold what holds this worker
  while (!connections_.empty()) connections_.back()->Close();
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  // What was posted since then, and what the closed sockets have to say, holds connections that hold this worker.
  thread_id_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  io_.restart();
  timer_.cancel();
  io_.poll();
  thread_id_.store(std::thread::id(), std::memory_order_relaxed);
}

void Worker::Add(std::shared_ptr<Connection> connection) {
  connection->set_index(connections_.size());
  connections_.push_back(std::move(connection));
  if (!ticking_) ScheduleTick();
}

void Worker::Remove(Connection& connection) {
  const size_t index = connection.index();
  if (index >= connections_.size() || connections_[index].get() != &connection) return;  // there was no memory to add it
  const std::shared_ptr<Connection> removed = std::move(connections_[index]);
  if (index + 1 != connections_.size()) {
    connections_[index] = std::move(connections_.back());
    connections_[index]->set_index(index);
  }
  connections_.pop_back();
}

void Worker::DrainConnections() {
  // From the back: a connection that goes is replaced by one that was seen already.
  for (size_t i = connections_.size(); i-- > 0;) {
    if (i < connections_.size()) connections_[i]->Drain();
  }
}

std::string_view Worker::DateLine() {
  const time_t now = std::time(nullptr);
  if (now != date_at_) {
    date_line_ = fmt::format("Date: {:%a, %d %b %Y %H:%M:%S} GMT\r\n", fmt::gmtime(now));
    date_at_ = now;
  }
  return date_line_;
}

void Worker::ScheduleTick() {
  timer_.expires_after(tick_);
  timer_.async_wait([this](boost::system::error_code error) {
    ticking_ = false;
    if (!error) Tick();
  });
  ticking_ = true;
}

void Worker::Tick() {
  const TimePoint now = std::chrono::steady_clock::now();
  for (size_t i = connections_.size(); i-- > 0;) {
    if (i < connections_.size()) connections_[i]->OnTick(now);
  }
  if (!connections_.empty()) ScheduleTick();
}

}  // namespace switchyard
