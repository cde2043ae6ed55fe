#include "testing/npusim/execution.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "testing/npusim/settings.h"

namespace npusim {
namespace {

constexpr std::chrono::milliseconds kHangPoll{10};

// True when `done` came true in time. `lock` is held, and `condition` is notified at each change.
template <class F>
bool WaitFor(std::condition_variable& condition, std::unique_lock<std::mutex>& lock, uint64_t nanoseconds, F done) {
  // A deadline that the clock could not hold is none.
  if (nanoseconds > static_cast<uint64_t>(INT64_MAX) / 4) {
    condition.wait(lock, done);
    return true;
  }
  return condition.wait_for(lock, std::chrono::nanoseconds(nanoseconds), done);
}

Result Execute(Operation& operation) {
  bool hung = false;
  while (Faults().Stands("hang")) {
    hung = true;
    std::this_thread::sleep_for(kHangPoll);
  }
  // A hang that ends in a lost device, as a driver's watchdog would have it.
  if (hung && Faults().Stands("execute")) return kDeviceLost;
  if (uint32_t delay = NumberSetting("NPUSIM_DELAY_MS", "0")) std::this_thread::sleep_for(std::chrono::milliseconds(delay));
  return operation.graph->Run(operation.values);
}

Result Run(Operation& operation) {
  for (const auto& signal : operation.waits) {
    if (Result result = signal->Wait(UINT64_MAX); result != kSuccess) return result;
  }
  switch (operation.kind) {
    case Operation::Kind::kExecute:
      return Execute(operation);
    case Operation::Kind::kCopy:
      memcpy(operation.destination, operation.source, operation.size);
      break;
    case Operation::Kind::kTimestamp: {
      uint64_t now = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
      memcpy(operation.destination, &now, sizeof now);
      break;
    }
    case Operation::Kind::kReset:
    case Operation::Kind::kWait:
    case Operation::Kind::kNothing:
      break;
  }
  return kSuccess;
}

// What stands behind an operation that failed is not run, but whoever waits for it learns how it ended.
Result RunAll(std::vector<Operation>& operations) {
  Result result = kSuccess;
  for (Operation& operation : operations) {
    if (result == kSuccess) result = Run(operation);
    if (!operation.signal) continue;
    if (operation.kind == Operation::Kind::kReset) {
      operation.signal->Reset();
    } else {
      operation.signal->Set(result);
    }
  }
  return result;
}

}  // namespace

void Signal::Set(Result result) {
  std::lock_guard<std::mutex> lock(mutex_);
  set_ = true;
  result_ = result;
  changed_.notify_all();
}

void Signal::Reset() {
  std::lock_guard<std::mutex> lock(mutex_);
  set_ = false;
}

Result Signal::Wait(uint64_t nanoseconds) {
  std::unique_lock<std::mutex> lock(mutex_);
  return WaitFor(changed_, lock, nanoseconds, [this] { return set_; }) ? result_ : kNotReady;
}

Queue::~Queue() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ends_ = true;
    arrived_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

Result Queue::Submit(std::vector<Operation> operations, std::shared_ptr<Signal> fence) {
  bool executes = std::any_of(operations.begin(), operations.end(),
                              [](const Operation& operation) { return operation.kind == Operation::Kind::kExecute; });
  if (executes && Faults().Strikes("execute")) return kDeviceLost;
  if (fence) fence->Reset();  // a caller that saw it fail submits it again as it is
  std::lock_guard<std::mutex> lock(mutex_);
  if (!thread_.joinable()) thread_ = std::thread([this] { Loop(); });
  submissions_.push_back({std::move(operations), std::move(fence)});
  arrived_.notify_one();
  return kSuccess;
}

Result Queue::Synchronize(uint64_t nanoseconds) {
  std::unique_lock<std::mutex> lock(mutex_);
  return WaitFor(done_, lock, nanoseconds, [this] { return submissions_.empty() && !busy_; }) ? last_ : kNotReady;
}

void Queue::Loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    arrived_.wait(lock, [this] { return ends_ || !submissions_.empty(); });
    if (submissions_.empty()) return;
    Result result;
    {
      Submission submission = std::move(submissions_.front());
      submissions_.pop_front();
      busy_ = true;
      lock.unlock();
      result = RunAll(submission.operations);
      submission.operations.clear();  // before the fence, behind which callers destroy what was used
      if (submission.fence) submission.fence->Set(result);
    }
    lock.lock();
    busy_ = false;
    last_ = result;
    if (submissions_.empty()) done_.notify_all();
  }
}

Result List::Append(Operation operation) {
  if (!queue_) {
    operations_.push_back(std::move(operation));
    return kSuccess;
  }
  std::vector<Operation> operations;
  operations.push_back(std::move(operation));
  return queue_->Submit(std::move(operations), nullptr);
}

Result List::SetValue(uint64_t command, uint32_t index, const void* value) {
  if (command == 0 || command > operations_.size()) return kInvalidArgument;
  operations_[command - 1].values[index] = value;
  return kSuccess;
}

}  // namespace npusim
