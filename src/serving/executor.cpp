#include "serving/executor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "device/fault.h"
#include "serving/priority.h"
#include "serving/sequences.h"
#include "serving/string_outputs.h"

namespace switchyard {
namespace {

Status DeadlinePassed(const std::string& model) {
  return Error(StatusCode::kDeadlineExceeded, "The deadline of the call to model {} passed before its inference ended", model);
}

void SetOrder(InferCall& call, TimePoint now) {
  call.queue_level = call.batch_calls > 0 ? 1 : LevelOf(PriorityLevels(), call.request.priority);
  call.queue_order = QueueOrder(call.queue_level, now);
}

Status StateLost(const std::string& model, const Lane& lane) {
  return Error(StatusCode::kUnavailable, "The state of the sequence of model {} was on {}, which was lost: begin it anew",
               model, lane.device());
}

// The output that tells the client what to call the sequence by.
void AppendSequenceId(InferCall& call) {
  if (call.request.sequence->by_parameters) return;
  const uint64_t number = call.sequence->id().number;
  auto memory = std::make_shared<Buffer>(Buffer::Allocate(sizeof(number)));
  std::memcpy(memory->data(), &number, sizeof(number));
  OutputTensor tensor{.type = ElementType::kUint64, .shape = {1}};
  tensor.data = memory->data();
  tensor.bytes = sizeof(number);
  tensor.owner = std::move(memory);
  call.outputs.push_back(NamedOutput{&SequenceIdOutput(), std::move(tensor)});
}

// A start of an inference that this thread is in.
struct Start {
  const Lane::Slot* slot;
  Start* outer;
  bool ended = false;  // its callback has come, on this thread
};
thread_local Start* innermost_start = nullptr;

}  // namespace

Executor::Executor(Timer& timer, Options options)
    : timer_(timer), options_(std::move(options)), last_use_ns_(Nanoseconds(timer.Now())) {
  MutexLock lock(&mutex_);
  route_.store(routes_.emplace_back(std::make_unique<const LaneRoute>()).get());
}

Executor::~Executor() = default;

size_t Executor::active() const {
  MutexLock lock(&mutex_);
  size_t count = 0;
  for (const auto& lane : lanes_) count += lane->active();
  return count;
}

size_t Executor::given_up() const {
  MutexLock lock(&mutex_);
  size_t count = 0;
  for (const auto& lane : lanes_) count += lane->given_up();
  return count;
}

std::optional<TimePoint> Executor::oldest_queued() const {
  MutexLock lock(&mutex_);
  if (queue_.empty()) return std::nullopt;
  return queue_.front()->received;
}

bool Executor::serving() const {
  const LaneRoute& now = route();
  if (now.lanes.empty() && now.asleep) return true;
  return std::any_of(now.lanes.begin(), now.lanes.end(), [](const auto& lane) { return !lane->closed(); });
}

void Executor::SetRoute(LaneRoute next) {
  const Status closed = next.lanes.empty() ? next.closed : absl::OkStatus();
  const LaneRoute* now = nullptr;
  {
    MutexLock lock(&mutex_);
    std::erase_if(lanes_, [](const auto& lane) { return lane->closed() && lane->active() == 0; });
    for (const auto& lane : next.lanes) {
      if (std::find(lanes_.begin(), lanes_.end(), lane) == lanes_.end()) lanes_.push_back(lane);
    }
    now = routes_.emplace_back(std::make_unique<const LaneRoute>(std::move(next))).get();
    route_.store(now);
  }
  if (now->lanes.empty() && now->successor != nullptr) {
    HandOver(*now);
  } else if (!closed.ok()) {
    AnswerWaiting(closed);
  } else {
    ServeWaiting();
  }
}

void Executor::AnswerWaiting(const Status& why) {
  std::list<std::shared_ptr<InferCall>> waiting;
  {
    MutexLock lock(&mutex_);
    waiting.swap(queue_);
    for (const auto& call : waiting) call->queued_ = false;
    queued_.store(0);
    queued_retries_.store(0);
  }
  for (const auto& call : waiting) {
    AnswerTurn(*call, Sequence::Turn::kSkipped, call->failure_.ok() ? why : call->failure_);
  }
}

// What waits here is another Version's from now on.
void Executor::HandOver(const LaneRoute& to) {
  if (!to.successor->Acquire()) return AnswerWaiting(to.closed);
  const Handle successor(to.successor);
  Executor& next = successor->executor();
  std::list<std::shared_ptr<InferCall>> waiting;
  {
    MutexLock lock(&mutex_);
    waiting.swap(queue_);
    for (const auto& call : waiting) {
      call->queued_ = false;
      call->instance = std::make_shared<Handle>(successor.Another());
      call->executor_.store(&next);  // Cancel, which comes at any time, looks at it with the mutex held
    }
    queued_.store(0);
    queued_retries_.store(0);
  }
  for (const auto& call : waiting) next.Submit(call);
}

// Calls that wait for a lane which will not run them any more.
void Executor::AnswerPinned(const Lane& lane) {
  std::list<std::shared_ptr<InferCall>> lost;
  {
    MutexLock lock(&mutex_);
    for (auto next = queue_.begin(); next != queue_.end();) {
      const auto call = next++;
      if ((*call)->sequence == nullptr || (*call)->sequence->lane() != &lane) continue;
      (*call)->queued_ = false;
      lost.splice(lost.end(), queue_, call);
    }
    queued_.store(queue_.size());
  }
  for (const auto& call : lost) AnswerTurn(*call, Sequence::Turn::kFailed, StateLost(options_.model_name, lane));
}

void Executor::GiveUp(Lane& lane, const Status& why) {
  lane.Close();
  for (size_t i = 0; i < lane.request_count(); ++i) {
    Lane::Slot& slot = lane.slot(static_cast<int>(i));
    Lane::State running = Lane::State::kRunning;
    if (!slot.state.compare_exchange_strong(running, Lane::State::kTaking)) continue;
    const std::shared_ptr<InferCall> call = slot.call;
    slot.state.store(Lane::State::kGivenUp);
    Retry(lane, call, why);
  }
  if (lane.facts().stateful) AnswerPinned(lane);
}

void Executor::Hold(const std::shared_ptr<InferCall>& call) {
  call->executor_.store(this);  // whoever cancels it comes here, and the timer goes with it
  ArmDeadline(call);
}

void Executor::Submit(std::shared_ptr<InferCall> call) {
  // Held to the end: the call holds the Version, and with it this Executor.
  const std::shared_ptr<InferCall> held = call;
  call->executor_.store(this);
  const TimePoint now = timer_.Now();
  // A store for each call would have the threads wait for each other's cache lines.
  if (now - last_use() > kUseGrain) last_use_ns_.store(Nanoseconds(now), std::memory_order_relaxed);
  call->submitted.store(now, std::memory_order_relaxed);
  if (call->completed() || call->request.deadline <= now) {
    AnswerTurn(*call, Sequence::Turn::kSkipped, DeadlinePassed(options_.model_name));
    return;
  }
  const Place place = TakePlace(*call);
  if (place.slot < 0) {
    Enqueue(std::move(call), Entry::kNew);
  } else if (place.run_inline && call->batch_calls == 0) {
    const TimePoint inline_until = timer_.Now() + kInlineBudget;
    RunInline(*place.lane, place.slot, call);
    ServeQueue(*place.lane, place.slot, inline_until);
  } else {
    ArmDeadline(call);
    if (StartAsync(*place.lane, place.slot, std::move(call))) ServeQueue(*place.lane, place.slot, TimePoint::min());
  }
}

void Executor::Enqueue(std::shared_ptr<InferCall> call, Entry entry) {
  ArmDeadline(call);
  bool done = false;
  bool full = false;
  {
    MutexLock lock(&mutex_);
    done = call->completed();
    // A batch's calls were counted where they waited.
    full = entry == Entry::kNew && call->batch_calls == 0 && queue_.size() >= options_.max_queue;
    if (!done && !full) {
      if (entry != Entry::kAgain) SetOrder(*call, timer_.Now());
      call->queue_position_ = entry == Entry::kAgain ? queue_.insert(queue_.begin(), call) : InsertByOrder(queue_, call);
      call->queued_ = true;
      if (!call->failed_on_.empty()) queued_retries_.fetch_add(1);
      queued_.store(queue_.size());
    }
  }
  if (done || full) {
    if (full) call->queue_full.store(true, std::memory_order_relaxed);
    return AnswerTurn(*call, Sequence::Turn::kSkipped,
                      Error(StatusCode::kResourceExhausted,
                            "The queue of model {} is full: {} calls are waiting (--max_queue); try again later",
                            options_.model_name, options_.max_queue));
  }
  // The route may have been closed between the look and the queueing; whoever closed it may have found an empty queue.
  if (const LaneRoute& now = route(); now.lanes.empty()) {
    if (now.successor != nullptr) return HandOver(now);
    if (!now.closed.ok()) return AnswerWaiting(now.closed);
    if (options_.on_starved) options_.on_starved();
  }
  // A request may have become free meanwhile; its thread saw an empty queue (ServeQueue).
  Lane* const pinned = call->sequence == nullptr ? nullptr : call->sequence->lane();
  if (pinned == nullptr) return ServeWaiting();
  if (pinned->closed()) return AnswerPinned(*pinned);
  ServeLane(*pinned);
}

void Executor::ServeWaiting() {
  const LaneRoute& now = route();
  for (const auto& lane : now.lanes) ServeLane(*lane);
}

void Executor::ServeLane(Lane& lane) {
  while (queued_.load() > 0 && MayServe(lane)) {
    const size_t before = queued_.load();
    const int slot = lane.TakeSlot();
    if (slot < 0) break;
    ServeQueue(lane, slot, TimePoint::min());
    if (queued_.load() >= before) break;
  }
}

std::shared_ptr<InferCall> Executor::Pop(const Lane& lane) {
  if (queued_.load() == 0) return nullptr;
  std::vector<std::shared_ptr<InferCall>> answered;  // let go of without the mutex: each holds a Version
  MutexLock lock(&mutex_);
  while (InferCall* const next = NextFor(lane)) {
    std::shared_ptr<InferCall> call = TakeOut(*next);
    // Of a sequence: the turn is still to be ended.
    if (!call->completed() || call->sequence != nullptr) return call;
    answered.push_back(std::move(call));
  }
  return nullptr;
}

bool Executor::WaitsFor(const Lane& lane) const {
  if (queued_.load() == 0) return false;
  MutexLock lock(&mutex_);
  return NextFor(lane) != nullptr;
}

std::shared_ptr<InferCall> Executor::TakeOut(InferCall& call) {
  std::shared_ptr<InferCall> held = std::move(*call.queue_position_);
  queue_.erase(call.queue_position_);
  call.queued_ = false;
  if (!call.failed_on_.empty()) queued_retries_.fetch_sub(1);
  queued_.store(queue_.size());
  return held;
}

// The slot is this thread's: hands it to waiting calls, or frees it when there are none. Inline until `inline_until`.
void Executor::ServeQueue(Lane& lane, int slot, TimePoint inline_until) {
  while (true) {
    std::shared_ptr<InferCall> call = Pop(lane);
    if (call == nullptr) {
      lane.ReleaseSlot(slot);
      // Whoever queued after our look and before the release found no free slot: look again (both sides are sequentially
      // consistent, so one of the two sees the other).
      if (!WaitsFor(lane)) return;
      slot = lane.TakeSlot();
      if (slot < 0) return;
      continue;
    }
    // A batch is begun where others wait for what the one before gave.
    if (!lane.RunsInline() || call->batch_calls > 0 || timer_.Now() >= inline_until) {
      if (!StartAsync(lane, slot, std::move(call))) return;
      continue;
    }
    RunInline(lane, slot, call);
  }
}

// The call begins to run: is it again?
void Executor::TellRetry(InferCall& call) {
  if (call.failed_on_.empty()) return;
  const std::string from = std::exchange(call.failed_on_, "");
  if (options_.on_retry) options_.on_retry(from);
}

// What runs the call in that slot: its sequence's request, else the slot's.
StatusOr<InferRequest*> Executor::RequestOf(Lane& lane, Lane::Slot& slot, const InferCall& call) {
  if (call.sequence != nullptr) return call.sequence->Begin(lane, call);
  // "stateful": false: every call is a sequence of its own.
  if (lane.facts().stateful) SY_RETURN_IF_ERROR(slot.request->ResetState());
  return slot.request.get();
}

void Executor::RunInline(Lane& lane, int index, const std::shared_ptr<InferCall>& call) {
  Lane::Slot& slot = lane.slot(index);
  TellRetry(*call);
  const TimePoint start = timer_.Now();
  const StatusOr<InferRequest*> request = RequestOf(lane, slot, *call);
  Status status = request.status();
  if (status.ok()) status = (*request)->Bind(call->bound_inputs, call->output_places);
  if (status.ok()) status = (*request)->Infer();
  const TimePoint end = timer_.Now();
  lane.RecordInlineCost(end - start);
  call->device.store(&lane.device(), std::memory_order_relaxed);
  call->started = start;
  if (status.ok()) call->ended = end;
  if (Finish(lane, slot, call, status)) Answer(*call, status);
}

// True: the inference has ended in here, and the slot is this thread's again.
bool Executor::StartAsync(Lane& lane, int index, std::shared_ptr<InferCall> call) {
  Lane::Slot& slot = lane.slot(index);
  // Another reference, since GiveUp may take the slot's, and the call with it, while this thread is still at work on it.
  const std::shared_ptr<InferCall> held = call;
  TellRetry(*held);
  slot.call = std::move(call);
  held->device.store(&lane.device(), std::memory_order_relaxed);
  held->started = timer_.Now();
  slot.started_ns.store(Nanoseconds(held->started), std::memory_order_relaxed);
  slot.state.store(Lane::State::kRunning);
  // GiveUp, which closes it first, may have passed the slot before, and does not come again.
  if (lane.closed()) {
    PlaceAgain(lane, index, held);
    return false;
  }
  Start start{&slot, innermost_start};
  innermost_start = &start;
  const StatusOr<InferRequest*> request = RequestOf(lane, slot, *held);
  const Status status = request.ok() ? (*request)->Bind(held->bound_inputs, held->output_places) : request.status();
  if (status.ok()) {
    (*request)->StartAsync([this, &lane, index](const Status& done) { OnAsyncDone(lane, index, done); });
  } else {
    OnAsyncDone(lane, index, status);
  }
  innermost_start = start.outer;
  return start.ended;
}

// The lane was closed after the slot was taken, and before the call ran there: whoever moves it out of kRunning sees to it.
void Executor::PlaceAgain(Lane& lane, int index, const std::shared_ptr<InferCall>& call) {
  Lane::Slot& slot = lane.slot(index);
  Lane::State running = Lane::State::kRunning;
  const bool own = slot.state.compare_exchange_strong(running, Lane::State::kIdle);
  while (!own && slot.state.load() == Lane::State::kTaking) {
  }
  slot.call = nullptr;
  slot.state.store(Lane::State::kIdle);
  lane.ReleaseSlot(index);
  if (!own) return;
  const bool pinned = call->sequence != nullptr && call->sequence->lane() != nullptr;
  if (pinned || call->completed() || !StartElsewhere(lane, call)) Enqueue(call, Entry::kAgain);
}

void Executor::OnAsyncDone(Lane& lane, int index, Status status) {
  Lane::Slot& slot = lane.slot(index);
  Lane::State running = Lane::State::kRunning;
  const bool own = slot.state.compare_exchange_strong(running, Lane::State::kIdle);
  while (!own && slot.state.load() == Lane::State::kTaking) {
  }
  // Held to the end: the call holds the Version, and with it this Executor.
  const std::shared_ptr<InferCall> call = std::move(slot.call);
  slot.call = nullptr;
  slot.state.store(Lane::State::kIdle);
  bool answer = false;  // a batch
  if (own) {
    const TimePoint now = timer_.Now();
    if (status.ok()) {
      lane.RecordService(now - TimePoint(Duration(slot.started_ns.load(std::memory_order_relaxed))), now);
      call->ended = now;
    }
    answer = Finish(lane, slot, call, status);
  }
  // What a batch is answered with begins the next one: it wants the infer request, and answering many calls takes a while.
  // Within the start itself whoever began it goes on with the slot: one start within the other could be as deep as --max_queue.
  Start* const start = innermost_start;
  if (start != nullptr && start->slot == &slot) {
    start->ended = true;
  } else {
    ServeQueue(lane, index, TimePoint::min());
  }
  if (answer) Answer(*call, status);
}

// Answers the call or has it run again. True: it is a batch, which is still to be answered with `status`.
bool Executor::Finish(Lane& lane, Lane::Slot& slot, const std::shared_ptr<InferCall>& call, Status& status) {
  if (status.ok() && !call->completed()) {
    InferRequest& request = call->sequence == nullptr ? *slot.request : call->sequence->request();
    call->outputs.clear();
    call->outputs.reserve(call->wanted_outputs.size());
    for (const size_t index : call->wanted_outputs) {
      StatusOr<OutputTensor> output = request.TakeOutput(index);
      if (!output.ok()) {
        status = output.status();
        break;
      }
      const TensorSpec& spec = call->version->signature().outputs[index];
      if (GivesStringRows(spec)) output = ToStrings(*output);
      NamedOutput named{&spec, *std::move(output)};
      status = PutOutput(*call, index, named);
      if (!status.ok()) break;
      call->outputs.push_back(std::move(named));
    }
    if (call->sequence != nullptr) AppendSequenceId(*call);
  }
  const Fault fault = FaultOf(status);
  if (fault != Fault::kDevice && fault != Fault::kUnclear) {
    if (status.ok()) lane.CountServed(std::max(1u, call->batch_calls));
    if (call->batch_calls > 0) return true;
    if (call->sequence != nullptr && !status.ok()) {
      status = Status(status.code(), fmt::format("{}; the sequence has ended with it: begin it anew", Message(status)));
    }
    AnswerTurn(*call, status.ok() ? Sequence::Turn::kRan : Sequence::Turn::kFailed, status);
    return false;
  }
  // Execution leaves at once.
  if (fault == Fault::kDevice) lane.Close();
  if (options_.on_fault) options_.on_fault(lane, status);
  Retry(lane, call, status);
  return false;
}

// Runs the call on another lane that has room now. False when none has.
bool Executor::StartElsewhere(Lane& lane, const std::shared_ptr<InferCall>& call) {
  for (const auto& other : route().lanes) {
    if (other.get() == &lane) continue;
    const int slot = other->TakeSlot();
    if (slot < 0) continue;
    ArmDeadline(call);
    if (StartAsync(*other, slot, call)) ServeQueue(*other, slot, TimePoint::min());
    return true;
  }
  return false;
}

void Executor::Retry(Lane& lane, const std::shared_ptr<InferCall>& call, const Status& why) {
  if (call->sequence != nullptr) {
    return AnswerTurn(
        *call, Sequence::Turn::kFailed,
        Error(StatusCode::kUnavailable,
              "{}; the model keeps state between calls, so that the call is not repeated: begin the sequence anew",
              Message(why)));
  }
  if (call->completed()) return;
  const bool again = options_.retry && call->retries_ < kMaxRetries;
  const bool alone = !lane.closed() && route().lanes.size() < 2;
  // Nothing but the same lane, which works: the error is the answer.
  if (!again || alone) return Answer(*call, why);
  ++call->retries_;
  call->failure_ = why;
  call->failed_on_ = lane.device();
  if (StartElsewhere(lane, call)) return;
  // A lane that stays open may fail more calls than the others can take: what waits for those is bounded, too.
  if (!lane.closed() && queued_retries_.load() > options_.max_queue) return Answer(*call, why);
  Enqueue(call, Entry::kAgain);
}

void Executor::Answer(InferCall& call, const Status& status) {
  if (const Timer::Id id = call.timer_id_.exchange(0); id != 0) timer_.Cancel(id);
  call.Complete(status);
}

// The answer to a call of a sequence comes after the end of its turn: whoever has it may begin another sequence of that name.
// The next call's turn may be over at once, and so on: one after the other then, since one within the other could be as deep as
// --max_queue.
void Executor::AnswerTurn(InferCall& call, Sequence::Turn turn, const Status& status) {
  if (call.sequence == nullptr) return Answer(call, status);
  using Next = std::pair<Executor*, std::shared_ptr<InferCall>>;  // the call holds its Version, and with it the Executor
  static thread_local std::vector<Next>* nexts = nullptr;
  std::shared_ptr<InferCall> next = call.sequence->EndTurn(call, turn);
  if (next != nullptr) next->executor_.store(this);
  if (nexts != nullptr) {
    if (next != nullptr) nexts->emplace_back(this, std::move(next));
    return Answer(call, status);
  }
  std::vector<Next> own;
  nexts = &own;
  Answer(call, status);
  if (next != nullptr) own.emplace_back(this, std::move(next));
  for (size_t i = 0; i < own.size(); ++i) {
    const Next one = std::move(own[i]);
    one.first->Enqueue(one.second, Entry::kNext);
  }
  nexts = nullptr;
}

void Executor::ArmDeadline(const std::shared_ptr<InferCall>& call) {
  if (call->request.deadline == kNoDeadline || call->timer_id_.load() != 0) return;
  const Timer::Id id = timer_.Schedule(call->request.deadline, [weak = std::weak_ptr<InferCall>(call)] {
    if (const std::shared_ptr<InferCall> late = weak.lock()) {
      late->Cancel(DeadlinePassed(late->version->model_name()));
    }
  });
  call->timer_id_.store(id);
  // Whoever answered it meanwhile found no timer to cancel.
  if (!call->completed()) return;
  if (const Timer::Id mine = call->timer_id_.exchange(0); mine != 0) timer_.Cancel(mine);
}

void Executor::Cancel(InferCall& call, const Status& why) {
  std::shared_ptr<InferCall> held;
  Executor* owner = this;
  {
    MutexLock lock(&mutex_);
    // Before Hold and Submit: none.
    if (Executor* const now = call.executor_.load(); now != nullptr) owner = now;
    if (owner == this && call.queued_) held = TakeOut(call);
  }
  if (owner != this) return owner->Cancel(call, why);  // it was handed over
  if (held == nullptr) return Answer(call, why);
  AnswerTurn(call, Sequence::Turn::kSkipped, why);
}

StatusOr<Duration> MeasureCost(InferRequest& request, absl::Span<const TensorView> inputs, const Timer& timer) {
  constexpr int kRuns = 5;
  constexpr Duration kHopeless = std::chrono::milliseconds(50);
  Duration best = Duration::max();
  for (int i = 0; i < kRuns; ++i) {
    const TimePoint start = timer.Now();
    SY_RETURN_IF_ERROR(request.Bind(inputs));
    SY_RETURN_IF_ERROR(request.Infer());
    best = std::min(best, timer.Now() - start);
    // The first run may be slow for its own reasons, and on a busy machine so may the next.
    if (best > (i == 0 ? kHopeless : 10 * Executor::kInlineCost)) break;
  }
  return std::max(best, Duration(1));
}

}  // namespace switchyard
