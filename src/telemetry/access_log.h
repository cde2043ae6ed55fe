// One line of JSON for each inference request.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "base/timer.h"
#include "telemetry/call_event.h"
#include "telemetry/event_queue.h"

namespace switchyard {

// Thread-safe. Lines are written by a thread of its own, some 20 ms after the answers. What it cannot keep up with, or
// cannot write, is dropped and counted: a slow disk never slows a request.
class AccessLog {
 public:
  // Appends to `path`; "-" is stdout. The error names the file.
  static StatusOr<std::unique_ptr<AccessLog>> Open(const std::string& path);
  // Writes what is there.
  ~AccessLog();
  // The same, for at most so long, for a process that is about to end. What is added afterwards is lost.
  void Close(Duration longest);

  void Add(const CallStory& story, std::chrono::system_clock::time_point end);
  // Opens the file by its name again, soon, after it was moved away. When that fails the old one goes on, and the log says so.
  void Reopen();

  uint64_t written() const { return written_.load(std::memory_order_relaxed); }
  uint64_t dropped() const { return queue_.dropped() + lost_.load(std::memory_order_relaxed); }

 private:
  AccessLog(std::string path, int file);
  void Run();
  void Write(const std::string& lines, uint64_t count);

  static constexpr size_t kCapacity = 4096;

  const std::string path_;
  int file_;
  bool torn_ = false;  // the last write ended within a line
  bool complained_ = false;
  EventQueue<CallEvent> queue_{kCapacity};
  std::atomic<bool> reopen_{false};
  std::atomic<bool> stopping_{false};
  Notification done_;
  std::atomic<uint64_t> written_{0};
  std::atomic<uint64_t> lost_{0};
  std::thread thread_;
};

// With its end of line.
void AppendAccessLine(std::string& out, const CallEvent& event);

}  // namespace switchyard
