#include "base/timer.h"

#include "base/thread_name.h"

namespace switchyard {

ThreadTimer::ThreadTimer() : thread_([this] { Run(); }) {}

ThreadTimer::~ThreadTimer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_one();
  }
  thread_.join();
}

Timer::Id ThreadTimer::Schedule(TimePoint when, Callback callback) {
  const std::lock_guard lock(mutex_);
  const Id id = ++last_id_;
  const bool first = by_time_.empty() || when < by_time_.begin()->first.first;
  by_time_.emplace(std::make_pair(when, id), std::move(callback));
  times_.emplace(id, when);
  if (first) changed_.notify_one();
  return id;
}

bool ThreadTimer::Cancel(Id id) {
  Callback dropped;  // destroyed after the lock is released: it may own a call
  const std::lock_guard lock(mutex_);
  const auto time = times_.find(id);
  if (time == times_.end()) return false;
  const auto entry = by_time_.find({time->second, id});
  dropped = std::move(entry->second);
  by_time_.erase(entry);
  times_.erase(time);
  return true;
}

void ThreadTimer::Run() {
  NameThread("sy-timer");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (by_time_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const auto first = by_time_.begin();
    if (first->first.first > Now()) {
      const TimePoint when = first->first.first;  // the entry may be gone when the wait is over
      changed_.wait_until(lock, when);
      continue;
    }
    Callback callback = std::move(first->second);
    times_.erase(first->first.second);
    by_time_.erase(first);
    lock.unlock();
    callback();
    callback = nullptr;
    lock.lock();
  }
}

TimePoint ManualTimer::Now() const {
  MutexLock lock(&mutex_);
  return now_;
}

Timer::Id ManualTimer::Schedule(TimePoint when, Callback callback) {
  MutexLock lock(&mutex_);
  const Id id = ++last_id_;
  by_time_.emplace(std::make_pair(when, id), std::move(callback));
  return id;
}

bool ManualTimer::Cancel(Id id) {
  Callback dropped;
  MutexLock lock(&mutex_);
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
  MutexLock lock(&mutex_);
  return by_time_.size();
}

}  // namespace switchyard
