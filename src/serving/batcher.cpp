#include "serving/batcher.h"

#include <algorithm>
#include <utility>

#include "serving/batch_tensors.h"
#include "serving/executor.h"
#include "serving/priority.h"

namespace switchyard {
namespace {

// The batch that every input of the model has; 0: it may vary.
size_t FixedRows(const Signature& signature) {
  const TensorSpec& first = signature.inputs.front();
  const Dimension& batch = first.shape.dims[*first.batch_dim];
  return batch.is_static() ? static_cast<size_t>(batch.min) : 0;
}

double Microseconds(Duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

// Whether an error may be of one call in a batch: of the model's or the caller's making, not of devices and queues.
bool MayBeOneCalls(const Status& status) {
  return status.code() != StatusCode::kUnavailable && status.code() != StatusCode::kResourceExhausted &&
         status.code() != StatusCode::kCancelled && status.code() != StatusCode::kDeadlineExceeded;
}

}  // namespace

// One batch. The call that stands for it owns it, and lives until the device is done with it.
struct Batcher::Run {
  std::shared_ptr<InferCall> whole;  // until it was submitted
  std::vector<std::shared_ptr<InferCall>> calls;
  size_t rows = 0;        // of the calls
  size_t total_rows = 0;  // of the inference
  Duration gathering{0};  // its inputs
  // Set at the end.
  const std::string* device = nullptr;
  TimePoint started{};
  TimePoint ended{};
  std::vector<size_t> output_indices;  // of `outputs`, in the signature
  absl::InlinedVector<NamedOutput, 4> outputs;
};

Signature Batcher::Open(Signature signature, const ModelSettings& settings) {
  if (!settings.dynamic_batching) return signature;
  const Dimension rows{1, settings.dynamic_batching->max_batch_size};
  for (auto* const specs : {&signature.inputs, &signature.outputs}) {
    for (TensorSpec& spec : *specs) {
      if (spec.batch_dim && *spec.batch_dim < spec.shape.dims.size()) spec.shape.dims[*spec.batch_dim] = rows;
    }
  }
  return signature;
}

Batcher::Batcher(const ModelSettings& settings, Signature signature, std::shared_ptr<Executor> executor,
                 std::shared_ptr<ModelMetrics> metrics)
    : settings_(*settings.dynamic_batching),
      signature_(std::move(signature)),
      fixed_rows_(FixedRows(signature_)),
      executor_(std::move(executor)),
      metrics_(std::move(metrics)),
      timer_(executor_->timer()),
      queue_(signature_, settings_.max_batch_size, std::chrono::microseconds(settings_.max_delay_us)),
      cost_(settings_.max_batch_size) {}

Batcher::~Batcher() {
  MutexLock lock(&mutex_);
  WakeAt(kNoDeadline);
}

// What is gathered for an infer request that is free does not wait for it: it is no part of the bound.
bool Batcher::Full() const {
  const size_t gathering = running_ < executor_->room() ? settings_.max_batch_size : 0;
  return queue_.size() >= executor_->options().max_queue + gathering;
}

void Batcher::Submit(std::shared_ptr<InferCall> call) {
  // Held to the end: the call holds the Version, and with it this object.
  const std::shared_ptr<InferCall> held = call;
  const StatusOr<size_t> rows = RowsOf(signature_, *call);
  if (!rows.ok()) return executor_->Answer(*call, rows.status());
  const TimePoint now = timer_.Now();
  call->submitted.store(now);
  call->batcher_.store(this);
  if (call->request.deadline <= now) {
    return executor_->Answer(
        *call, Error(StatusCode::kDeadlineExceeded, "The deadline of the call to model {} passed before its inference began",
                     executor_->options().model_name));
  }
  executor_->Hold(call);
  bool full = false;
  {
    MutexLock lock(&mutex_);
    if (call->completed()) return;
    full = Full();
    if (!full) {
      call->queue_level = LevelOf(settings_.priority, call->request.priority);
      call->queue_order = QueueOrder(call->queue_level, now);
      call->batch_entry.rows = *rows;
      call->batch_entry.since = now;
      queue_.Add(std::move(call), false);
    }
  }
  if (!full) return Serve();
  held->queue_full.store(true, std::memory_order_relaxed);
  executor_->Answer(*held, Error(StatusCode::kResourceExhausted,
                                 "The queue of model {} is full: {} calls are waiting (--max_queue); try again later",
                                 executor_->options().model_name, executor_->options().max_queue));
}

void Batcher::Cancel(InferCall& call, const Status& why) {
  std::shared_ptr<InferCall> batch;
  {
    MutexLock lock(&mutex_);
    if (!queue_.Remove(call)) batch = call.batch_entry.batch.lock();
    if (queue_.size() == 0) WakeAt(kNoDeadline);
  }
  if (batch != nullptr) call.device.store(batch->device.load(std::memory_order_relaxed), std::memory_order_relaxed);
  executor_->Answer(call, why);
}

void Batcher::WakeAt(TimePoint when) {
  if (when == wake_at_) return;
  if (wake_id_ != 0) timer_.Cancel(std::exchange(wake_id_, 0));
  wake_at_ = when;
  if (when == kNoDeadline) return;
  wake_id_ = timer_.Schedule(when, [weak = weak_from_this(), when] {
    const std::shared_ptr<Batcher> self = weak.lock();
    if (self == nullptr) return;
    {
      MutexLock lock(&self->mutex_);
      if (self->wake_at_ == when) self->wake_at_ = kNoDeadline, self->wake_id_ = 0;
    }
    self->Serve();
  });
}

// Starts what is to start. A batch that ends within this (an inline inference, a refusal) leads here again: its thread is in
// the loop already.
void Batcher::Serve() {
  static thread_local const Batcher* serving = nullptr;
  if (serving == this) return;
  const Batcher* const outer = std::exchange(serving, this);
  while (ServeNext()) {
  }
  serving = outer;
}

// False: nothing is to be done now.
bool Batcher::ServeNext() {
  BatchQueue::Next next;
  std::shared_ptr<Run> run;
  {
    MutexLock lock(&mutex_);
    if (queue_.size() == 0) {
      WakeAt(kNoDeadline);
      return false;
    }
    // Without any lane one batch is put forward, to be refused or to wait.
    if (running_ >= std::max<size_t>(1, executor_->room())) return false;
    next = queue_.Take(timer_.Now(), cost_);
    WakeAt(next.wake);
    if (!next.batch.empty()) {
      ++running_;
      run = std::make_shared<Run>();
      run->whole = std::make_shared<InferCall>();
      run->calls = std::move(next.batch);
      run->rows = next.rows;
      run->total_rows = fixed_rows_ == 0 ? next.rows : fixed_rows_;
      for (const auto& call : run->calls) call->batch_entry.batch = run->whole;
    }
  }
  if (run != nullptr) Start(run);
  for (const auto& late : next.late) {
    executor_->Answer(*late, Error(StatusCode::kDeadlineExceeded,
                                   "The call to model {} was given up: its inference would not have ended by its deadline",
                                   executor_->options().model_name));
  }
  return run != nullptr || !next.late.empty();
}

void Batcher::Start(const std::shared_ptr<Run>& run) {
  const std::shared_ptr<InferCall> whole = std::exchange(run->whole, nullptr);
  InferCall& first = *run->calls.front();
  whole->version = first.version.Another();
  whole->batch_calls = static_cast<uint32_t>(run->calls.size());
  whole->received = first.batch_entry.since;
  // Also of what is read in the callers' memory.
  whole->attachment = run;
  const TimePoint begin = timer_.Now();
  if (const Status joined = JoinInputs(signature_, run->calls, run->total_rows, *whole); !joined.ok()) return End(run, joined);
  run->gathering = timer_.Now() - begin;
  for (const auto& call : run->calls) {
    for (const size_t index : call->wanted_outputs) {
      if (std::find(run->output_indices.begin(), run->output_indices.end(), index) == run->output_indices.end()) {
        run->output_indices.push_back(index);
      }
    }
  }
  // One call that fills the batch: its outputs lie in shared memory as if it ran alone.
  if (run->calls.size() == 1 && run->rows == run->total_rows) whole->output_places = first.output_places;
  whole->wanted_outputs.assign(run->output_indices.begin(), run->output_indices.end());
  whole->on_done = [this, run = run.get()](InferCall& done, const Status& status) {
    // The call holds it, and its Version this object.
    const std::shared_ptr<InferCall> held = done.shared_from_this();
    run->device = done.device.load(std::memory_order_relaxed);
    if (status.ok()) {
      run->started = done.started;
      run->ended = done.ended;
      run->outputs = std::move(done.outputs);
    }
    End(std::static_pointer_cast<Run>(done.attachment), status);
  };
  executor_->Submit(whole);
}

void Batcher::End(const std::shared_ptr<Run>& run, const Status& status) {
  {
    MutexLock lock(&mutex_);
    --running_;
    if (status.ok()) {
      cost_.Record(run->rows, run->ended - run->started, run->ended);
      ++batches_;
      calls_ += run->calls.size();
    }
  }
  const bool again = !status.ok() && run->calls.size() > 1 && MayBeOneCalls(status);
  if (again) RunAlone(run);
  // The device first, then those who wait for an answer.
  Serve();
  // Counted first: whoever has the answer may look at the metrics at once.
  if (status.ok()) {
    metrics_->CountExecution({.rows = run->rows, .input = run->gathering, .infer = run->ended - run->started, .output = {}});
  }
  if (again) return;
  const TimePoint begin = timer_.Now();
  Deliver(*run, status);
  if (status.ok()) metrics_->AddOutputTime(run->rows, timer_.Now() - begin);
}

void Batcher::RunAlone(const std::shared_ptr<Run>& run) {
  MutexLock lock(&mutex_);
  for (const auto& call : run->calls) {
    if (!call->completed()) queue_.Add(call, true);
  }
}

void Batcher::Deliver(const Run& run, const Status& status) {
  size_t first = 0;
  for (const auto& call : run.calls) {
    const size_t rows = call->batch_entry.rows;
    const size_t from = std::exchange(first, first + rows);
    if (call->completed()) continue;
    call->device.store(run.device, std::memory_order_relaxed);
    Status answer = status;
    if (status.ok()) {
      call->started = run.started;
      call->ended = run.ended;
      for (const size_t index : call->wanted_outputs) {
        const auto place = std::find(run.output_indices.begin(), run.output_indices.end(), index);
        const NamedOutput& whole = run.outputs[static_cast<size_t>(place - run.output_indices.begin())];
        StatusOr<OutputTensor> part = SliceOutput(*whole.spec, whole.tensor, from, rows, run.total_rows);
        if (!part.ok()) {
          answer = part.status();
          break;
        }
        NamedOutput named{whole.spec, *std::move(part)};
        answer = PutOutput(*call, index, named);
        if (!answer.ok()) break;
        call->outputs.push_back(std::move(named));
      }
    }
    executor_->Answer(*call, answer);
  }
}

size_t Batcher::queued() const {
  MutexLock lock(&mutex_);
  return queue_.size();
}

std::optional<TimePoint> Batcher::oldest_queued() const {
  MutexLock lock(&mutex_);
  return queue_.oldest();
}

BatchingReport Batcher::Report() const {
  MutexLock lock(&mutex_);
  BatchingReport report{.max_batch_size = settings_.max_batch_size,
                        .max_delay_us = settings_.max_delay_us,
                        .batches = batches_,
                        .calls = calls_,
                        .cost_us = {}};
  for (const auto& [rows, cost] : cost_.Means()) report.cost_us.emplace_back(rows, Microseconds(cost));
  return report;
}

}  // namespace switchyard
