// Locks of the standard library with the annotations that clang's analysis checks (-Wthread-safety), and waiting for a
// condition. Not abseil's: the distribution builds those without what the thread sanitizer needs to see them.
#pragma once

#include <absl/base/thread_annotations.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>

namespace switchyard {

class ABSL_LOCKABLE Mutex {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() {
    if (waiting_ > 0) changed_.notify_all();  // before: whoever waited may destroy this object afterwards
    mutex_.unlock();
  }

  // With the mutex held: lets go of it until `condition()` holds, and holds it again then. The condition is looked at whenever
  // another thread unlocks.
  template <typename Condition>
  void Await(Condition condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    Waiting waiting(*this);
    changed_.wait(waiting.lock, condition);
  }
  // The same, for at most `longest`. Says whether the condition holds.
  template <typename Condition>
  bool AwaitFor(std::chrono::nanoseconds longest, Condition condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    Waiting waiting(*this);
    return changed_.wait_for(waiting.lock, longest, condition);
  }

 private:
  // Borrows the lock that the caller holds.
  struct Waiting {
    explicit Waiting(Mutex& waited) : mutex(waited), lock(waited.mutex_, std::adopt_lock) {
      // Waiting unlocks too: others may wait for what this thread has just changed.
      if (mutex.waiting_++ > 0) mutex.changed_.notify_all();
    }
    ~Waiting() {
      --mutex.waiting_;
      lock.release();
    }
    Mutex& mutex;
    std::unique_lock<std::mutex> lock;
  };

  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;  // guarded by mutex_
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(*mutex) { mutex_.Lock(); }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// One event that happens once.
class Notification {
 public:
  // Once; what happened before it is seen by everybody who waited.
  void Notify() {
    MutexLock lock(&mutex_);
    if (notified_) std::terminate();
    notified_ = true;
  }
  bool HasBeenNotified() const {
    MutexLock lock(&mutex_);
    return notified_;
  }
  void WaitForNotification() const {
    MutexLock lock(&mutex_);
    mutex_.Await([this] { return notified_; });
  }
  bool WaitFor(std::chrono::nanoseconds longest) const {
    MutexLock lock(&mutex_);
    return mutex_.AwaitFor(longest, [this] { return notified_; });
  }

 private:
  mutable Mutex mutex_;
  bool notified_ = false;
};

}  // namespace switchyard
