// What runs on the simulated device: events and fences, command lists, and queues with a device thread each.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "testing/npusim/graph.h"
#include "testing/npusim/level_zero.h"

namespace npusim {

// A handle is a shared reference: what a caller destroys while the device still works on it lives until the device is done.
template <class T>
Handle MakeHandle(std::shared_ptr<T> object) {
  return new std::shared_ptr<T>(std::move(object));
}
template <class T>
std::shared_ptr<T> FromHandle(Handle handle) {
  return handle ? *static_cast<std::shared_ptr<T>*>(handle) : nullptr;
}
template <class T>
void DropHandle(Handle handle) {
  delete static_cast<std::shared_ptr<T>*>(handle);
}

// An event or a fence: set by the device or the host, with how the work before it ended. Any thread.
class Signal {
 public:
  void Set(Result result = kSuccess);
  void Reset();
  // `kNotReady` when it was not set within `nanoseconds` (UINT64_MAX: for ever), otherwise what it was set with.
  Result Wait(uint64_t nanoseconds);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
  Result result_ = kSuccess;
};

struct Operation {
  enum class Kind { kNothing, kExecute, kWait, kReset, kCopy, kTimestamp };
  Kind kind = Kind::kNothing;
  std::vector<std::shared_ptr<Signal>> waits;  // before anything else
  std::shared_ptr<Signal> signal;              // set behind it; with kReset, what is reset
  std::shared_ptr<Graph> graph;
  Graph::Values values;
  void* destination = nullptr;
  const void* source = nullptr;
  size_t size = 0;
};

// A queue of the device. Its thread starts with the first submission, and takes the lists in order.
class Queue {
 public:
  Queue() = default;
  // Waits until what was submitted is done: with a hang standing, until it is lifted.
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // Returns at once. `fence` may be null. kDeviceLost, with nothing submitted, where the fault "execute" strikes.
  Result Submit(std::vector<Operation> operations, std::shared_ptr<Signal> fence);
  // Waits until the queue is empty; kNotReady after `nanoseconds`, otherwise how the last list ended.
  Result Synchronize(uint64_t nanoseconds);

 private:
  struct Submission {
    std::vector<Operation> operations;
    std::shared_ptr<Signal> fence;
  };
  void Loop();

  std::mutex mutex_;
  std::condition_variable arrived_, done_;
  std::deque<Submission> submissions_;
  bool busy_ = false;
  bool ends_ = false;
  Result last_ = kSuccess;
  std::thread thread_;
};

// A command list. An immediate one submits each operation to a queue of its own. One thread at a time.
class List {
 public:
  explicit List(bool immediate) : queue_(immediate ? std::make_unique<Queue>() : nullptr) {}

  Result Append(Operation operation);
  void Reset() { operations_.clear(); }
  const std::vector<Operation>& operations() const { return operations_; }
  // By the number that the list told for the operation that came next.
  uint64_t next_command() const { return operations_.size() + 1; }
  Result SetValue(uint64_t command, uint32_t index, const void* value);
  Result Synchronize(uint64_t nanoseconds) { return queue_ ? queue_->Synchronize(nanoseconds) : kSuccess; }

 private:
  std::vector<Operation> operations_;
  std::unique_ptr<Queue> queue_;
};

}  // namespace npusim
