// One Version's infer requests, the bounded queue of the calls that wait for one, deadlines and cancellation.
#pragma once

#include <absl/base/thread_annotations.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/timer.h"
#include "runtime/runtime.h"
#include "serving/infer_call.h"

namespace switchyard {

// Thread-safe. A call that finds an infer request free takes no lock; one that has to wait takes a mutex for the length of a
// list operation. No thread ever waits for an inference: a call either runs by StartAsync, whose callback completes it and
// starts the next one, or, when the model is cheaper than a thread hop, by Infer on the caller's thread.
//
// Running inline. A model whose cost was measured (`inline_cost`) runs on the caller's thread while the cost is below
// kInlineCost. Every inline inference is a further measurement, followed slowly upwards. A cost that is a little above the
// limit is tried again now and then, since a busy machine makes a cheap model look dear. A thread that finds calls in the queue
// after its own goes on with them for at most kInlineBudget, then hands the infer request to the asynchronous path, so that a
// listener's thread is never away from its sockets for longer than that plus one inference.
class Executor {
 public:
  struct Options {
    std::string model_name;  // for messages
    uint32_t max_queue = 1024;
    // What one inference costs on the caller's thread; 0: never run there.
    Duration inline_cost{0};
  };
  static constexpr std::chrono::nanoseconds kInlineCost = std::chrono::microseconds(200);
  static constexpr std::chrono::nanoseconds kInlineBudget = std::chrono::milliseconds(1);
  static constexpr int kInlineRetryEvery = 16;

  // At least one request. `timer` must outlive the Executor.
  Executor(std::vector<std::unique_ptr<InferRequest>> requests, Timer& timer, Options options);
  // Every call has ended: the Version is destroyed after its last handle is gone, and each call holds one.
  ~Executor();

  // Takes a validated and bound call. Its on_done runs once, possibly before Submit returns.
  void Submit(std::shared_ptr<InferCall> call);
  // Answers with `why`, and frees the place in the queue if the call waits there.
  void Cancel(InferCall& call, const Status& why);

  // Calls that wait now.
  size_t queued() const { return queued_.load(std::memory_order_relaxed); }
  size_t request_count() const { return slots_.size(); }
  size_t active() const;

 private:
  struct Slot {
    std::unique_ptr<InferRequest> request;
    std::shared_ptr<InferCall> call;  // the one that runs
  };

  bool RunsInline();
  int TakeSlot();
  int TakeSlotSpinning();
  void ReleaseSlot(int slot);
  void Enqueue(std::shared_ptr<InferCall> call);
  std::shared_ptr<InferCall> PopQueued();
  void ServeQueue(int slot, TimePoint inline_until);
  void RunInline(int slot, InferCall& call);
  void StartAsync(int slot, std::shared_ptr<InferCall> call);
  void OnAsyncDone(int slot, const Status& status);
  void Finish(Slot& slot, InferCall& call, Status status);
  void Answer(InferCall& call, const Status& status);
  void ArmDeadline(const std::shared_ptr<InferCall>& call);
  void RecordCost(Duration cost);

  Timer& timer_;
  const Options options_;
  std::vector<Slot> slots_;
  // A bit per slot, set when it is free. Taking is a compare-and-swap.
  std::vector<std::atomic<uint64_t>> free_;
  // Nanoseconds of one inference; 0: never inline. Races lose a sample, nothing else.
  std::atomic<int64_t> cost_ns_;
  std::atomic<uint32_t> inline_retries_{0};
  std::atomic<size_t> queued_{0};

  Mutex mutex_;
  std::list<std::shared_ptr<InferCall>> queue_ ABSL_GUARDED_BY(mutex_);
};

// Runs inferences on `inputs` (the signature's order) to learn what one costs on this thread, and to make the device ready.
// Blocks. The error is the inference's.
StatusOr<Duration> MeasureCost(InferRequest& request, absl::Span<const TensorView> inputs, const Timer& timer);

}  // namespace switchyard
