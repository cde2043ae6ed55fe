// Time as an object that is passed in, so that tests own it.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/functional/any_invocable.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "base/mutex.h"

namespace switchyard {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;
inline constexpr TimePoint kNoDeadline = TimePoint::max();

// Since the clock's beginning, for atomics and for arithmetic.
inline int64_t Nanoseconds(TimePoint time) { return std::chrono::nanoseconds(time.time_since_epoch()).count(); }

// A monotonic clock with callbacks. Thread-safe. Callbacks run one after another on a thread of the timer's own (ManualTimer:
// on the thread that advances it), hold no lock of the timer, and must not block.
class Timer {
 public:
  using Id = uint64_t;
  using Callback = absl::AnyInvocable<void()>;

  virtual ~Timer() = default;
  virtual TimePoint Now() const = 0;
  // Runs `callback` once at `when` or shortly after. Ids are never 0 and never used twice.
  virtual Id Schedule(TimePoint when, Callback callback) = 0;
  // True if the callback had not begun and now never will. False says nothing about whether it has ended.
  virtual bool Cancel(Id id) = 0;
};

// The real one. The destructor drops what is still scheduled and waits for a running callback.
class ThreadTimer final : public Timer {
 public:
  ThreadTimer();
  ~ThreadTimer() override;
  TimePoint Now() const override { return std::chrono::steady_clock::now(); }
  Id Schedule(TimePoint when, Callback callback) override;
  bool Cancel(Id id) override;

 private:
  void Run();

  std::mutex mutex_;  // guards everything below but the thread
  std::condition_variable changed_;
  bool stopping_ = false;
  Id last_id_ = 0;
  std::map<std::pair<TimePoint, Id>, Callback> by_time_;
  std::map<Id, TimePoint> times_;
  std::thread thread_;
};

// For tests: time stands still until AdvanceTo or Advance, which run what is due in order of time.
class ManualTimer final : public Timer {
 public:
  TimePoint Now() const override;
  Id Schedule(TimePoint when, Callback callback) override;
  bool Cancel(Id id) override;
  void Advance(Duration by);
  size_t pending() const;

 private:
  mutable Mutex mutex_;
  TimePoint now_ ABSL_GUARDED_BY(mutex_) = TimePoint(std::chrono::hours(1));
  Id last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::pair<TimePoint, Id>, Callback> by_time_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace switchyard
