#include "base/timer.h"

#include <absl/time/clock.h>
#include <absl/time/time.h>

namespace switchyard {

ThreadTimer::ThreadTimer() : thread_([this] { Run(); }) {}

ThreadTimer::~ThreadTimer() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.Signal();
  }
  thread_.join();
}

Timer::Id ThreadTimer::Schedule(TimePoint when, Callback callback) {
  absl::MutexLock lock(&mutex_);
  const Id id = ++last_id_;
  const bool first = by_time_.empty() || when < by_time_.begin()->first.first;
  by_time_.emplace(std::make_pair(when, id), std::move(callback));
  times_.emplace(id, when);
  if (first) changed_.Signal();
  return id;
}

bool ThreadTimer::Cancel(Id id) {
  Callback dropped;  // destroyed after the lock is released: it may own a call
  absl::MutexLock lock(&mutex_);
  const auto time = times_.find(id);
  if (time == times_.end()) return false;
  const auto entry = by_time_.find({time->second, id});
  dropped = std::move(entry->second);
  by_time_.erase(entry);
  times_.erase(time);
  return true;
}

void ThreadTimer::Run() {
  mutex_.Lock();
  while (!stopping_) {
    if (by_time_.empty()) {
      changed_.Wait(&mutex_);
      continue;
    }
    const auto first = by_time_.begin();
    const TimePoint now = Now();
    if (first->first.first > now) {
      changed_.WaitWithTimeout(&mutex_, absl::FromChrono(first->first.first - now));
      continue;
    }
    Callback callback = std::move(first->second);
    times_.erase(first->first.second);
    by_time_.erase(first);
    mutex_.Unlock();
    callback();
    callback = nullptr;
    mutex_.Lock();
  }
  mutex_.Unlock();
}

TimePoint ManualTimer::Now() const {
  absl::MutexLock lock(&mutex_);
  return now_;
}

Timer::Id ManualTimer::Schedule(TimePoint when, Callback callback) {
  absl::MutexLock lock(&mutex_);
  const Id id = ++last_id_;
  by_time_.emplace(std::make_pair(when, id), std::move(callback));
  return id;
}

bool ManualTimer::Cancel(Id id) {
  Callback dropped;
  absl::MutexLock lock(&mutex_);
  for (auto it = by_time_.begin(); it != by_time_.end(); ++it) {
    if (it->first.second != id) continue;
    dropped = std::move(it->second);
    by_time_.erase(it);
    return true;
  }
  return false;
}

void ManualTimer::Advance(Duration by) {
  mutex_.Lock();
  const TimePoint end = now_ + by;
  while (!by_time_.empty() && by_time_.begin()->first.first <= end) {
    const auto first = by_time_.begin();
    if (first->first.first > now_) now_ = first->first.first;
    Callback callback = std::move(first->second);
    by_time_.erase(first);
    mutex_.Unlock();
    callback();
    callback = nullptr;
    mutex_.Lock();
  }
  now_ = end;
  mutex_.Unlock();
}

size_t ManualTimer::pending() const {
  absl::MutexLock lock(&mutex_);
  return by_time_.size();
}

}  // namespace switchyard
