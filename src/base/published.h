// A value that many threads read all the time and that is seldom replaced.
#pragma once

#include <absl/base/thread_annotations.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/mutex.h"

namespace switchyard {

// Thread-safe. A thread takes a lock only for its first look after a change; it then keeps what it saw, of one Published<T> at
// a time, until it looks again or ends.
template <typename T>
class Published {
 public:
  // Whoever looks from now on sees `next`. Not null.
  void Publish(std::shared_ptr<const T> next) {
    MutexLock lock(&mutex_);
    current_ = std::move(next);
    id_.store(last_id_.fetch_add(1) + 1, std::memory_order_release);
  }

  // Once something was published. Valid on this thread until it looks at a Published<T> again.
  const T& Current() const {
    struct Cache {
      uint64_t id = 0;
      std::shared_ptr<const T> value;
    };
    thread_local Cache cache;
    if (cache.id != id_.load(std::memory_order_acquire)) {
      MutexLock lock(&mutex_);
      cache.value = current_;
      cache.id = id_.load(std::memory_order_relaxed);
    }
    return *cache.value;
  }

  std::shared_ptr<const T> Latest() const {
    MutexLock lock(&mutex_);
    return current_;
  }

 private:
  // Ids are unique in the process: a new object may lie where an old one was.
  inline static std::atomic<uint64_t> last_id_{0};
  std::atomic<uint64_t> id_{0};
  mutable Mutex mutex_;
  std::shared_ptr<const T> current_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace switchyard
