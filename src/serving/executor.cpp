#include "serving/executor.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace switchyard {
namespace {

constexpr size_t kBitsPerWord = 64;

Status DeadlinePassed(const std::string& model) {
  return Error(StatusCode::kDeadlineExceeded, "The deadline of the call to model {} passed before its inference ended", model);
}

}  // namespace

Executor::Executor(std::vector<std::unique_ptr<InferRequest>> requests, Timer& timer, Options options)
    : timer_(timer),
      options_(std::move(options)),
      slots_(requests.size()),
      free_((requests.size() + kBitsPerWord - 1) / kBitsPerWord),
      cost_ns_(std::chrono::nanoseconds(options_.inline_cost).count()) {
  for (size_t i = 0; i < requests.size(); ++i) {
    slots_[i].request = std::move(requests[i]);
    free_[i / kBitsPerWord].fetch_or(uint64_t{1} << (i % kBitsPerWord));
  }
}

Executor::~Executor() = default;

size_t Executor::active() const {
  size_t free = 0;
  for (const auto& word : free_) free += std::popcount(word.load(std::memory_order_relaxed));
  return slots_.size() - free;
}

bool Executor::RunsInline() {
  const int64_t cost = cost_ns_.load(std::memory_order_relaxed);
  if (cost == 0) return false;
  if (cost < kInlineCost.count()) return true;
  return cost < 4 * kInlineCost.count() && inline_retries_.fetch_add(1, std::memory_order_relaxed) % kInlineRetryEvery == 0;
}

int Executor::TakeSlot() {
  for (size_t w = 0; w < free_.size(); ++w) {
    uint64_t bits = free_[w].load();
    while (bits != 0) {
      const int bit = std::countr_zero(bits);
      if (free_[w].compare_exchange_weak(bits, bits & ~(uint64_t{1} << bit))) return static_cast<int>(w * kBitsPerWord) + bit;
    }
  }
  return -1;
}

int Executor::TakeSlotSpinning() {
  // A cheap inference on another listener's thread ends sooner than a hand-over through the queue would take.
  constexpr int kSpins = 200;
  for (int i = 0; i < kSpins; ++i) {
    const int slot = TakeSlot();
    if (slot >= 0 || queued_.load(std::memory_order_relaxed) > 0) return slot;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  return -1;
}

void Executor::ReleaseSlot(int slot) { free_[slot / kBitsPerWord].fetch_or(uint64_t{1} << (slot % kBitsPerWord)); }

void Executor::Submit(std::shared_ptr<InferCall> call) {
  // Held to the end: the call holds the Version, and with it this Executor.
  const std::shared_ptr<InferCall> held = call;
  if (call->request.deadline <= timer_.Now()) {
    call->Complete(DeadlinePassed(options_.model_name));
    return;
  }
  const bool run_inline = RunsInline();
  const int slot = run_inline ? TakeSlotSpinning() : TakeSlot();
  if (slot < 0) {
    Enqueue(std::move(call));
  } else if (run_inline) {
    const TimePoint inline_until = timer_.Now() + kInlineBudget;
    RunInline(slot, *call);
    ServeQueue(slot, inline_until);
  } else {
    ArmDeadline(call);
    StartAsync(slot, std::move(call));
  }
}

void Executor::Enqueue(std::shared_ptr<InferCall> call) {
  ArmDeadline(call);
  bool full = false;
  {
    MutexLock lock(&mutex_);
    if (call->completed()) return;
    full = queue_.size() >= options_.max_queue;
    if (!full) {
      queue_.push_back(call);
      call->queue_position_ = std::prev(queue_.end());
      call->queued_ = true;
      queued_.store(queue_.size());
    }
  }
  if (full) {
    Answer(*call, Error(StatusCode::kResourceExhausted,
                        "The queue of model {} is full: {} calls are waiting (--max_queue); try again later",
                        options_.model_name, options_.max_queue));
    return;
  }
  // A request may have become free between the look and the queueing; its thread saw an empty queue (ServeQueue).
  const int slot = TakeSlot();
  if (slot >= 0) ServeQueue(slot, TimePoint::min());
}

std::shared_ptr<InferCall> Executor::PopQueued() {
  MutexLock lock(&mutex_);
  while (!queue_.empty()) {
    std::shared_ptr<InferCall> call = std::move(queue_.front());
    queue_.pop_front();
    call->queued_ = false;
    queued_.store(queue_.size());
    if (!call->completed()) return call;
  }
  return nullptr;
}

// The slot is this thread's: hands it to waiting calls, or frees it when there are none. Inline until `inline_until`.
void Executor::ServeQueue(int slot, TimePoint inline_until) {
  while (true) {
    std::shared_ptr<InferCall> call = queued_.load() > 0 ? PopQueued() : nullptr;
    if (call == nullptr) {
      ReleaseSlot(slot);
      // Whoever queued after our look and before the release found no free slot: look again (both sides are sequentially
      // consistent, so one of the two sees the other).
      if (queued_.load() == 0) return;
      slot = TakeSlot();
      if (slot < 0) return;
      continue;
    }
    if (!RunsInline() || timer_.Now() >= inline_until) {
      StartAsync(slot, std::move(call));
      return;
    }
    RunInline(slot, *call);
  }
}

void Executor::RunInline(int index, InferCall& call) {
  Slot& slot = slots_[index];
  const TimePoint start = timer_.Now();
  Status status = slot.request->Bind(call.bound_inputs);
  if (status.ok()) status = slot.request->Infer();
  RecordCost(timer_.Now() - start);
  Finish(slot, call, std::move(status));
}

void Executor::StartAsync(int index, std::shared_ptr<InferCall> call) {
  Slot& slot = slots_[index];
  const Status status = slot.request->Bind(call->bound_inputs);
  slot.call = std::move(call);
  if (status.ok()) {
    slot.request->StartAsync([this, index](const Status& done) { OnAsyncDone(index, done); });
  } else {
    OnAsyncDone(index, status);
  }
}

void Executor::OnAsyncDone(int index, const Status& status) {
  Slot& slot = slots_[index];
  // Held to the end: the call holds the Version, and with it this Executor.
  const std::shared_ptr<InferCall> call = std::move(slot.call);
  Finish(slot, *call, status);
  ServeQueue(index, TimePoint::min());
}

void Executor::Finish(Slot& slot, InferCall& call, Status status) {
  if (status.ok() && !call.completed()) {
    call.outputs.reserve(call.wanted_outputs.size());
    for (const size_t index : call.wanted_outputs) {
      StatusOr<OutputTensor> output = slot.request->TakeOutput(index);
      if (!output.ok()) {
        status = output.status();
        break;
      }
      call.outputs.push_back(NamedOutput{&call.version->signature().outputs[index], *std::move(output)});
    }
  }
  Answer(call, status);
}

void Executor::Answer(InferCall& call, const Status& status) {
  if (const Timer::Id id = call.timer_id_.exchange(0); id != 0) timer_.Cancel(id);
  call.Complete(status);
}

void Executor::ArmDeadline(const std::shared_ptr<InferCall>& call) {
  if (call->request.deadline == kNoDeadline) return;
  const Timer::Id id = timer_.Schedule(call->request.deadline, [weak = std::weak_ptr<InferCall>(call)] {
    if (const std::shared_ptr<InferCall> late = weak.lock()) {
      late->Cancel(DeadlinePassed(late->version->model_name()));
    }
  });
  call->timer_id_.store(id);
}

void Executor::Cancel(InferCall& call, const Status& why) {
  std::shared_ptr<InferCall> held;
  {
    MutexLock lock(&mutex_);
    if (call.queued_) {
      held = std::move(*call.queue_position_);
      queue_.erase(call.queue_position_);
      call.queued_ = false;
      queued_.store(queue_.size());
    }
  }
  Answer(call, why);
}

StatusOr<Duration> MeasureCost(InferRequest& request, absl::Span<const TensorView> inputs, const Timer& timer) {
  constexpr int kRuns = 3;
  Duration best = Duration::max();
  for (int i = 0; i < kRuns; ++i) {
    const TimePoint start = timer.Now();
    SY_RETURN_IF_ERROR(request.Bind(inputs));
    SY_RETURN_IF_ERROR(request.Infer());
    best = std::min(best, timer.Now() - start);
    if (best > 10 * Executor::kInlineCost) break;  // the first run may be slow for its own reasons, but not that slow
  }
  return std::max(best, Duration(1));
}

void Executor::RecordCost(Duration cost) {
  // Falls at once and rises by a quarter at most: a thread that was preempted in an inference measured the machine, not the
  // model.
  const int64_t sample = std::max<int64_t>(1, std::chrono::nanoseconds(cost).count());
  const int64_t old = cost_ns_.load(std::memory_order_relaxed);
  cost_ns_.store(sample < old ? old - (old - sample) / 4 : std::min(sample, old + old / 4 + 1), std::memory_order_relaxed);
}

}  // namespace switchyard
