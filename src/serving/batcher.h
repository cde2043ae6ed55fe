// Joins calls of one Version along the batch dimension.
#pragma once

#include <absl/base/thread_annotations.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/timer.h"
#include "config/settings.h"
#include "serving/batch_cost.h"
#include "serving/batch_queue.h"
#include "serving/infer_call.h"
#include "serving/placement_report.h"
#include "telemetry/model_metrics.h"
#include "tensor/signature.h"

namespace switchyard {

class Executor;

// Stands before a Version's Executor, for models with dynamic_batching. Calls wait here, while every infer request is busy or
// for others to come (serving/batch_queue.h says when a batch goes); what goes to the Executor is a batch: a call of the
// Batcher's own that stands for its callers' calls, so that lanes, failover and retries are the Executor's as for any call. As
// many batches run as the Executor has room for, so that what waits goes on growing.
//
// Each caller gets its own rows of what the device wrote, as views of that memory. A caller that is cancelled or whose deadline
// passes is answered at once; the batch goes on for the others. When the model refuses a batch, each of its calls is run again
// alone, so that a faulty call gets its error alone.
//
// Thread-safe. A call takes the mutex for list operations, when it comes and when its batch ends. Batches are put together on
// the thread that brings the call that fills one, ends the one before, or is the timer's.
class Batcher : public std::enable_shared_from_this<Batcher> {
 public:
  // A signature with a batch that clients may choose, up to max_batch_size rows: what a Version with a Batcher shows. A batch
  // that the model has fixed is filled up with zeros. The rest is as it was.
  static Signature Open(Signature signature, const ModelSettings& settings);

  // `signature` is the compiled model's. Only with settings.dynamic_batching.
  Batcher(const ModelSettings& settings, Signature signature, std::shared_ptr<Executor> executor,
          std::shared_ptr<ModelMetrics> metrics);
  // No call may be running.
  ~Batcher();

  // Takes a call that was validated and bound against the open signature. Its on_done runs once, possibly before this returns.
  void Submit(std::shared_ptr<InferCall> call);
  // Answers with `why`; the call leaves its place if it waits here.
  void Cancel(InferCall& call, const Status& why);

  // Calls that wait here.
  size_t queued() const;
  std::optional<TimePoint> oldest_queued() const;
  BatchingReport Report() const;

 private:
  struct Run;

  bool Full() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Serve();
  bool ServeNext();
  void WakeAt(TimePoint when) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Start(const std::shared_ptr<Run>& run);
  void End(const std::shared_ptr<Run>& run, const Status& status);
  void Deliver(const Run& run, const Status& status);
  void RunAlone(const std::shared_ptr<Run>& run);

  const DynamicBatching settings_;
  const Signature signature_;
  const size_t fixed_rows_;  // of every inference; 0: as many as there are
  const std::shared_ptr<Executor> executor_;
  const std::shared_ptr<ModelMetrics> metrics_;
  Timer& timer_;

  mutable Mutex mutex_;
  BatchQueue queue_ ABSL_GUARDED_BY(mutex_);
  BatchCost cost_ ABSL_GUARDED_BY(mutex_);
  size_t running_ ABSL_GUARDED_BY(mutex_) = 0;  // batches
  Timer::Id wake_id_ ABSL_GUARDED_BY(mutex_) = 0;
  TimePoint wake_at_ ABSL_GUARDED_BY(mutex_) = kNoDeadline;
  uint64_t batches_ ABSL_GUARDED_BY(mutex_) = 0;  // that ended well
  uint64_t calls_ ABSL_GUARDED_BY(mutex_) = 0;    // in them
};

}  // namespace switchyard
