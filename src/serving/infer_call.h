// One inference that somebody asked for, the same for every protocol.
#pragma once

#include <absl/container/inlined_vector.h>
#include <absl/functional/any_invocable.h>

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/timer.h"
#include "serving/sequence.h"
#include "serving/shared_tensors.h"
#include "serving/version.h"
#include "serving/version_label.h"
#include "telemetry/model_metrics.h"
#include "telemetry/trace_context.h"
#include "tensor/buffer.h"
#include "tensor/tensor_view.h"

namespace switchyard {

struct NamedTensor {
  std::string_view name;  // points into the memory of the request
  TensorView tensor;
};

// What a codec decoded. Every view points into memory that `memory` or the call's `attachment` owns.
struct DecodedRequest {
  std::string model_name;
  std::optional<int64_t> version;  // none: the default version
  VersionLabel label;              // in place of a version
  std::string id;                  // KServe's request id
  absl::InlinedVector<NamedTensor, 4> inputs;
  // Names of the outputs that are wanted; empty: all, in the signature's order.
  std::vector<std::string> requested_outputs;
  TimePoint deadline = kNoDeadline;
  uint64_t priority = 0;                      // KServe's parameter: 1 goes first; 0: the model's standard level
  std::unique_ptr<SequenceRequest> sequence;  // what parameters say of it; serving/ adds what inputs say
  std::unique_ptr<SharedTensors> shared;      // what lies in shared memory; null: nothing

  std::vector<Buffer> memory;
  std::vector<std::unique_ptr<std::string_view[]>> string_tables;

  // Forgets all that a codec reads from a message's body; the model, the version and the label stay.
  void ForgetBody() {
    DecodedRequest fresh;
    fresh.model_name = std::move(model_name);
    fresh.version = version;
    fresh.label = std::move(label);
    *this = std::move(fresh);
  }
};

class Batcher;
class InferCall;

struct NamedOutput {
  const TensorSpec* spec = nullptr;  // of the Version, which the call's handle keeps alive
  OutputTensor tensor;
  const SharedPlace* shared = nullptr;  // of the request: the elements are there, and go nowhere else
};

struct BatchGroup;

// What the Batcher knows of a call; guarded by its mutex.
struct BatchEntry {
  size_t rows = 0;
  TimePoint since{};            // it waits
  BatchGroup* group = nullptr;  // where it waits; null: it does not
  std::list<std::shared_ptr<InferCall>>::iterator position;
  std::weak_ptr<InferCall> batch;  // that it runs in
};

// Life: a codec fills `request`; Handle::Infer (serving/version.h) takes the call; `on_done` runs exactly once, on any thread,
// possibly before Infer returns. When it runs with OK, `outputs` hold what was asked for. The call object stays alive until the
// device is done with it, which may be long after on_done (a deadline passed, the client went away): whoever needs memory of
// the transport for that time puts its owner into `attachment`.
class InferCall : public std::enable_shared_from_this<InferCall> {
 public:
  using OnDone = absl::AnyInvocable<void(InferCall&, const Status&)>;

  DecodedRequest request;
  std::shared_ptr<void> attachment;
  OnDone on_done;
  // For the metrics: what was called, and when the request was there.
  Endpoint endpoint = Endpoint::kKserveGrpcInfer;
  TimePoint received{};
  uint64_t bytes = 0;  // of the request as it came
  // For the journal: the trace that the request belongs to, and the name its sender gave it outside the protocol
  // (x-request-id), which stands in where the protocol's own id is empty.
  TraceContext trace;
  std::string header_id;

  // Set by serving/.
  Handle version;
  std::shared_ptr<Sequence> sequence;               // of a model that keeps state
  std::shared_ptr<void> instance;                   // keeps what runs the call, when that is not the Version's own Executor
  absl::InlinedVector<TensorView, 4> bound_inputs;  // in the signature's order
  absl::InlinedVector<size_t, 4> wanted_outputs;    // indices into the signature's outputs
  // By the signature's outputs: where the device may write them. Empty: into memory of its own.
  absl::InlinedVector<OutputPlace, 4> output_places;
  absl::InlinedVector<NamedOutput, 4> outputs;
  // Set by the Executor: the device of the last try (null: none had it; lives as long as the Version), and when that began and
  // ended. The times are there to be read once the call has ended well; other ends may come while a device is at work on it.
  std::atomic<const std::string*> device{nullptr};
  TimePoint started{};
  TimePoint ended{};
  std::atomic<bool> queue_full{false};  // refused for that
  // Where it stands in a queue (serving/priority.h).
  uint32_t queue_level = 1;
  TimePoint queue_order{};
  BatchEntry batch_entry;
  // Of a batch, which the Batcher made: how many calls run in it. 0: a call as it came.
  uint32_t batch_calls = 0;
  // When the Executor or its sequence was given the call, which was decoded and validated by then. Whoever answers earlier may
  // look at it meanwhile.
  std::atomic<TimePoint> submitted{TimePoint{}};

  // Answers the call, once: the first caller wins and runs on_done, every later one gets false. on_done is destroyed after it
  // ran. OK becomes an error where shared memory of the call was damaged meanwhile.
  bool Complete(const Status& status);
  bool completed() const { return completed_.load(std::memory_order_acquire); }

  // The client went away or its deadline passed: leaves the queue if the call waits there, and answers with `why`. An inference
  // that has begun goes on, and its result is dropped. Thread-safe; at any time after Infer was called.
  void Cancel(const Status& why);

 private:
  friend class Batcher;
  friend class Executor;

  std::atomic<bool> completed_{false};
  // What has the call, once it is set: the model's Batcher, or else the Executor.
  std::atomic<Batcher*> batcher_{nullptr};
  std::atomic<Executor*> executor_{nullptr};
  std::atomic<Timer::Id> timer_id_{0};
  bool queued_ = false;  // guarded by the Executor's mutex, as is the position
  std::list<std::shared_ptr<InferCall>>::iterator queue_position_;
  // Of whoever runs the call at the moment.
  int retries_ = 0;
  Status failure_;         // why it is run again
  std::string failed_on_;  // a device, until it runs again
};

}  // namespace switchyard
