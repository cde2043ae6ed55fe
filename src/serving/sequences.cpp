#include "serving/sequences.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "config/text.h"
#include "serving/executor.h"
#include "serving/infer_call.h"
#include "serving/lane.h"

namespace switchyard {
namespace {

TensorSpec SpecOf(std::string_view name, ElementType type) {
  return {.name = std::string(name), .type = type, .shape = {.dims = {Dimension::Fixed(1)}}};
}

// Ids are kept, and told in logs.
constexpr size_t kLongestId = 256;

std::string Quoted(const SequenceId& id) { return id.name.empty() ? std::to_string(id.number) : Quote(id.name); }

// The one element of a control input.
template <typename Number>
StatusOr<Number> ControlValue(const NamedTensor& input, ElementType type, std::string_view what, std::string_view field) {
  const TensorView& tensor = input.tensor;
  if (tensor.type != type) {
    return InvalidArgument("Could not find {} in expected tensor proto field {} - Expected: one {} of shape (1); Actual: {}",
                           what, field, PrecisionName(type), PrecisionName(tensor.type));
  }
  Number value = 0;
  if (tensor.shape != Shape{1} || tensor.bytes != sizeof(value)) {
    return InvalidArgument("Special input {} does not have the shape (1) - Actual: {}, {} bytes", input.name,
                           ToString(tensor.shape), tensor.bytes);
  }
  std::memcpy(&value, tensor.data, sizeof(value));
  return value;
}

}  // namespace

const TensorSpec* SequenceInputSpec(std::string_view name) {
  static const TensorSpec id = SpecOf(kSequenceIdInput, ElementType::kUint64);
  static const TensorSpec control = SpecOf(kSequenceControlInput, ElementType::kUint32);
  return name == id.name ? &id : name == control.name ? &control : nullptr;
}

const TensorSpec& SequenceIdOutput() { return *SequenceInputSpec(kSequenceIdInput); }

Sequence::~Sequence() {
  if (request_ != nullptr) lane_.load()->ReturnOwn(std::move(request_));
}

StatusOr<InferRequest*> Sequence::Begin(Lane& lane, const InferCall& call) {
  if (request_ == nullptr) {
    SY_ASSIGN_OR_RETURN(request_, lane.TakeOwn());
    lane_.store(&lane);
  } else if (call.request.sequence->start) {
    SY_RETURN_IF_ERROR(request_->ResetState());
  }
  return request_.get();
}

std::shared_ptr<InferCall> Sequence::EndTurn(InferCall& call, Turn turn) { return table_.EndTurn(*this, call, turn); }

// Sequences hold Versions, calls hold whoever called: neither may be let go of under the mutex.
struct Sequences::Doomed {
  std::vector<std::shared_ptr<Sequence>> sequences;
  std::vector<std::pair<Lane*, std::unique_ptr<InferRequest>>> requests;
  std::vector<std::pair<std::shared_ptr<InferCall>, Status>> calls;
};

void Sequences::LetGo(Doomed& doomed) {
  for (auto& [lane, request] : doomed.requests) lane->ReturnOwn(std::move(request));
  for (const auto& [call, why] : doomed.calls) executor_.Cancel(*call, why);
}

std::shared_ptr<Sequences> Sequences::Make(Options options, Timer& timer, Executor& executor,
                                           std::shared_ptr<SequenceDirectory> directory) {
  auto table = std::make_shared<Sequences>(std::move(options), timer, executor, std::move(directory));
  if (table->directory_ != nullptr) table->directory_->Add(*table);
  return table;
}

Sequences::Sequences(Options options, Timer& timer, Executor& executor, std::shared_ptr<SequenceDirectory> directory)
    : options_(std::move(options)),
      timer_(timer),
      executor_(executor),
      directory_(std::move(directory)),
      idle_limit_(options_.idle) {}

Sequences::~Sequences() {
  if (directory_ != nullptr) directory_->Remove(*this);
}

Status Sequences::ReadInputs(InferCall& call) const {
  auto& inputs = call.request.inputs;
  const Signature& signature = call.version->signature();
  auto control = std::make_unique<SequenceRequest>();
  bool any = false;
  for (size_t i = inputs.size(); i-- > 0;) {
    const NamedTensor& input = inputs[i];
    if (SequenceInputSpec(input.name) == nullptr) continue;
    const auto own = [&](const TensorSpec& spec) { return spec.name == input.name; };
    if (std::any_of(signature.inputs.begin(), signature.inputs.end(), own)) continue;
    any = true;
    if (input.name == kSequenceIdInput) {
      SY_ASSIGN_OR_RETURN(control->id.number, ControlValue<uint64_t>(input, ElementType::kUint64, "sequence id", "uint64_val"));
    } else {
      SY_ASSIGN_OR_RETURN(const uint32_t value,
                          ControlValue<uint32_t>(input, ElementType::kUint32, "sequence control input", "uint32_val"));
      if (value > 2) {
        return InvalidArgument(
            "Unexpected value of sequence control input - Expected: 0 (none), 1 (start) or 2 (end); Actual: {}", value);
      }
      control->start = value == 1;
      control->end = value == 2;
    }
    inputs.erase(inputs.begin() + static_cast<std::ptrdiff_t>(i));
  }
  if (any && call.request.sequence != nullptr) {
    return InvalidArgument(
        "The sequence is given twice: by the parameters sequence_id, sequence_start, sequence_end and by the inputs {} and {}; "
        "use one of the two ways",
        kSequenceIdInput, kSequenceControlInput);
  }
  if (call.request.sequence == nullptr) call.request.sequence = std::move(control);
  return absl::OkStatus();
}

Status Sequences::Route(InferCall& call) {
  SY_RETURN_IF_ERROR(ReadInputs(call));
  SequenceRequest& control = *call.request.sequence;
  if (control.id.name.size() > kLongestId) {
    return InvalidArgument("Invalid parameter sequence_id - Expected: at most {} bytes; Actual: {}", kLongestId,
                           control.id.name.size());
  }
  if (control.id.empty() && control.start) {
    if (directory_ != nullptr) control.given = directory_->NewNumber(*this);
    return absl::OkStatus();
  }
  if (control.id.empty()) {
    return InvalidArgument(
        "Sequence ID has not been provided in request inputs - Model {} keeps state between calls: begin a sequence with "
        "{} = 1 or the parameter sequence_start, and give its sequence_id in every other call (or serve the model with "
        "\"stateful\": false, and each call finds a fresh state)",
        options_.model_name, kSequenceControlInput);
  }
  if (directory_ == nullptr || Has(control.id)) return absl::OkStatus();
  if (control.start && control.by_parameters) directory_->EraseIdle(*this, call.request.version, control.id);
  Handle other = directory_->Find(*this, call.request.version, control.id, control.start);
  if (other) call.version = std::move(other);
  return absl::OkStatus();
}

bool Sequences::Has(const SequenceId& id) const {
  MutexLock lock(&mutex_);
  return sequences_.contains(id);
}

void Sequences::EraseIdle(const SequenceId& id, Doomed& doomed) {
  MutexLock lock(&mutex_);
  const auto found = sequences_.find(id);
  if (found != sequences_.end() && found->second->current_ == nullptr) Erase(*found->second, doomed);
}

Handle Sequences::HandleOf(const SequenceId& id) const {
  MutexLock lock(&mutex_);
  const auto found = sequences_.find(id);
  return found == sequences_.end() ? Handle() : found->second->version().Another();
}

void Sequences::Submit(const std::shared_ptr<InferCall>& call) {
  call->submitted.store(timer_.Now(), std::memory_order_relaxed);
  Doomed doomed;
  StatusOr<bool> now = false;
  {
    MutexLock lock(&mutex_);
    now = Admit(call, doomed);
  }
  LetGo(doomed);
  if (!now.ok()) {
    executor_.Cancel(*call, now.status());
  } else if (*now) {
    executor_.Submit(call);
  } else {
    executor_.Hold(call);
  }
}

// True: it is the call's turn.
StatusOr<bool> Sequences::Admit(const std::shared_ptr<InferCall>& call, Doomed& doomed) {
  const SequenceRequest& control = *call->request.sequence;
  if (control.start) {
    SY_RETURN_IF_ERROR(AdmitStart(*call, doomed));
  } else {
    SY_ASSIGN_OR_RETURN(call->sequence, Find(control.id, doomed));
  }
  Sequence& sequence = *call->sequence;
  if (sequence.current_ != nullptr && waiting_.load() >= options_.max_waiting) DropAnswered(doomed);
  if (sequence.current_ != nullptr && waiting_.load() >= options_.max_waiting) {
    call->queue_full.store(true, std::memory_order_relaxed);
    return Error(StatusCode::kResourceExhausted,
                 "The queue of model {} is full: {} calls are waiting for others of their sequences (--max_queue); try again "
                 "later",
                 options_.model_name, options_.max_waiting);
  }
  if (control.start) sequence.ending_ = nullptr;
  if (control.end) sequence.ending_ = call.get();
  SetIdle(sequence, false);
  if (sequence.current_ != nullptr) {
    sequence.waiting_.push_back(call);
    waiting_.fetch_add(1);
    return false;
  }
  sequence.current_ = call.get();
  return true;
}

// What was answered while it waited (its deadline passed, its client left) takes no place. One that begins or ends its sequence
// stays until its turn, which says what becomes of those behind it.
void Sequences::DropAnswered(Doomed& doomed) {
  for (const auto& [id, sequence] : sequences_) {
    const auto is_over = [ending = sequence->ending_](const std::shared_ptr<InferCall>& call) {
      return call->completed() && !call->request.sequence->start && call.get() != ending;
    };
    auto& waiting = sequence->waiting_;
    const auto over = std::stable_partition(waiting.begin(), waiting.end(), [&](const auto& call) { return !is_over(call); });
    for (auto call = over; call != waiting.end(); ++call) doomed.calls.emplace_back(std::move(*call), absl::OkStatus());
    waiting_.fetch_sub(static_cast<size_t>(waiting.end() - over));
    waiting.erase(over, waiting.end());
  }
}

Status Sequences::AdmitStart(InferCall& call, Doomed& doomed) {
  const SequenceRequest& control = *call.request.sequence;
  if (closing_) {
    return Error(StatusCode::kUnavailable, "Model {} version {} is being unloaded: no sequence can begin there",
                 options_.model_name, options_.version);
  }
  SequenceId id = control.id;
  if (id.empty()) id.number = control.given;
  while (id.empty() || (control.id.empty() && sequences_.contains(id))) id.number = ++last_number_;
  if (const auto found = sequences_.find(id); found != sequences_.end()) {
    Sequence& sequence = *found->second;
    const bool busy = sequence.current_ != nullptr;
    const bool lost = !busy && (!sequence.lost_.ok() || (sequence.lane() != nullptr && sequence.lane()->closed()));
    if (!lost && !control.by_parameters && sequence.ending_ != nullptr) {
      return Error(StatusCode::kFailedPrecondition,
                   "Sequence last request is being processed and it's not available anymore - Model {}: sequence {}",
                   options_.model_name, Quoted(id));
    }
    if (!lost && !control.by_parameters) {
      return Error(StatusCode::kAlreadyExists, "Sequence with provided ID already exists - Model {}: sequence {}",
                   options_.model_name, Quoted(id));
    }
    if (!lost) {
      call.sequence = found->second;
      return absl::OkStatus();
    }
    Erase(sequence, doomed);
  }
  if (sequences_.size() >= options_.max_sequences) {
    return Error(StatusCode::kUnavailable,
                 "Max sequence number has been reached. Could not create new sequence. - Model {} runs {} sequences "
                 "(max_sequence_number); end one, or try again later",
                 options_.model_name, options_.max_sequences);
  }
  call.sequence = std::make_shared<Sequence>(*this, id, call.version.Another());
  sequences_.emplace(std::move(id), call.sequence);
  running_.store(sequences_.size());
  return absl::OkStatus();
}

StatusOr<std::shared_ptr<Sequence>> Sequences::Find(const SequenceId& id, Doomed& doomed) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end() || found->second->ending_ != nullptr) {
    return Error(StatusCode::kNotFound, "Sequence with provided ID does not exist - Model {}: sequence {}{}",
                 options_.model_name, Quoted(id),
                 found == sequences_.end() ? "; it was never begun, was ended, or was idle too long"
                                           : "; the call that ends it is being processed");
  }
  Sequence& sequence = *found->second;
  Lane* const lane = sequence.lane();
  if (sequence.current_ == nullptr && sequence.lost_.ok() && lane != nullptr && lane->closed()) {
    Lose(sequence, Error(StatusCode::kUnavailable, "device {} was lost", lane->device()), doomed);
  }
  if (sequence.lost_.ok()) return found->second;
  const Status why = Error(StatusCode::kUnavailable, "Sequence {} of model {} is lost with its state: {}; begin it anew",
                           Quoted(id), options_.model_name, Message(sequence.lost_));
  Erase(sequence, doomed);
  return why;
}

void Sequences::Lose(Sequence& sequence, const Status& why, Doomed& doomed) {
  sequence.lost_ = why;
  if (sequence.request_ == nullptr) return;
  doomed.requests.emplace_back(sequence.lane_.exchange(nullptr), std::move(sequence.request_));
}

void Sequences::Erase(Sequence& sequence, Doomed& doomed) {
  SetIdle(sequence, false);
  const auto found = sequences_.find(sequence.id());
  doomed.sequences.push_back(std::move(found->second));
  sequences_.erase(found);
  running_.store(sequences_.size());
}

void Sequences::SetIdle(Sequence& sequence, bool idle) {
  if (idle == sequence.idle_) return;
  sequence.idle_ = idle;
  if (!idle) {
    idle_.erase(sequence.idle_place_);
    return;
  }
  sequence.last_used_ = timer_.Now();
  sequence.idle_place_ = idle_.insert(idle_.end(), &sequence);
  ArmCleaner();
}

void Sequences::ArmCleaner() {
  if (cleaner_armed_ || idle_limit_ == Duration::zero() || idle_.empty()) return;
  cleaner_armed_ = true;
  timer_.Schedule(idle_.front()->last_used_ + idle_limit_, [weak = weak_from_this()] {
    if (const auto table = weak.lock()) table->Clean();
  });
}

void Sequences::Clean() {
  Doomed doomed;
  {
    MutexLock lock(&mutex_);
    cleaner_armed_ = false;
    const TimePoint now = timer_.Now();
    while (!idle_.empty() && idle_limit_ != Duration::zero() && idle_.front()->last_used_ + idle_limit_ <= now) {
      LogInfo("Model {} version {}: sequence {} was idle too long and has ended", options_.model_name, options_.version,
              Quoted(idle_.front()->id()));
      Erase(*idle_.front(), doomed);
    }
    ArmCleaner();
  }
  LetGo(doomed);
}

std::shared_ptr<InferCall> Sequences::EndTurn(Sequence& sequence, InferCall& call, Sequence::Turn turn) {
  Doomed doomed;
  std::shared_ptr<InferCall> next;
  {
    MutexLock lock(&mutex_);
    if (sequence.current_ != &call) return nullptr;
    sequence.current_ = nullptr;
    const bool ends = sequence.ending_ == &call;
    if (ends) sequence.ending_ = nullptr;
    const SequenceRequest& control = *call.request.sequence;
    const bool over = turn == Sequence::Turn::kFailed || (turn == Sequence::Turn::kSkipped ? control.start : control.end);
    Lane* const lane = sequence.lane();
    if (turn != Sequence::Turn::kFailed && !over && lane != nullptr && lane->closed()) {
      Lose(sequence, Error(StatusCode::kUnavailable, "device {} was lost", lane->device()), doomed);
    }
    next = NextTurn(sequence, over || !sequence.lost_.ok(), doomed);
    if (next != nullptr) {
      Sequence& going = turn == Sequence::Turn::kFailed ? Replace(sequence, *next, doomed) : sequence;
      going.lost_ = absl::OkStatus();
      going.current_ = next.get();
    } else if (over || closing_) {
      Erase(sequence, doomed);
    } else {
      SetIdle(sequence, true);
    }
  }
  LetGo(doomed);
  return next;
}

// The device may still write into what a failed call used: whatever begins the sequence anew gets another one.
Sequence& Sequences::Replace(Sequence& sequence, InferCall& next, Doomed& doomed) {
  auto fresh = std::make_shared<Sequence>(*this, sequence.id(), sequence.version().Another());
  fresh->waiting_.swap(sequence.waiting_);
  fresh->ending_ = std::exchange(sequence.ending_, nullptr);
  next.sequence = fresh;
  for (const auto& call : fresh->waiting_) call->sequence = fresh;
  std::shared_ptr<Sequence>& place = sequences_[sequence.id()];
  doomed.sequences.push_back(std::exchange(place, fresh));
  return *fresh;
}

// The next call that is to be run. `broken`: nothing can before a call begins the sequence anew.
std::shared_ptr<InferCall> Sequences::NextTurn(Sequence& sequence, bool broken, Doomed& doomed) {
  while (!sequence.waiting_.empty()) {
    std::shared_ptr<InferCall> call = std::move(sequence.waiting_.front());
    sequence.waiting_.pop_front();
    waiting_.fetch_sub(1);
    const bool start = call->request.sequence->start;
    if (call->completed()) {
      if (sequence.ending_ == call.get()) sequence.ending_ = nullptr;
      broken = broken || start;
    } else if (start || !broken) {
      return call;
    } else {
      doomed.calls.emplace_back(
          call, Error(StatusCode::kUnavailable,
                      "Sequence {} of model {} has ended with the call before this one, which failed or was not run: begin it "
                      "anew",
                      Quoted(sequence.id()), options_.model_name));
      if (sequence.ending_ == call.get()) sequence.ending_ = nullptr;
    }
  }
  return nullptr;
}

std::optional<TimePoint> Sequences::oldest_waiting() const {
  std::optional<TimePoint> oldest;
  if (waiting() == 0) return oldest;
  MutexLock lock(&mutex_);
  for (const auto& [id, sequence] : sequences_) {
    const auto first = std::find_if(sequence->waiting_.begin(), sequence->waiting_.end(),
                                    [](const std::shared_ptr<InferCall>& call) { return !call->completed(); });
    if (first == sequence->waiting_.end()) continue;
    if (const TimePoint received = (*first)->received; !oldest || received < *oldest) oldest = received;
  }
  return oldest;
}

void Sequences::LaneGone(Lane& lane, const Status& why) {
  Doomed doomed;
  {
    MutexLock lock(&mutex_);
    for (const auto& [id, sequence] : sequences_) {
      if (sequence->lane() == &lane && sequence->current_ == nullptr && sequence->lost_.ok()) Lose(*sequence, why, doomed);
    }
  }
  LetGo(doomed);
}

void Sequences::Retire() {
  if (directory_ != nullptr) return directory_->Retire(*this);
  Doomed doomed;
  Retire(false, doomed);
  LetGo(doomed);
}

void Sequences::Retire(bool goes_on, Doomed& doomed) {
  MutexLock lock(&mutex_);
  if (goes_on) {
    if (idle_limit_ == Duration::zero()) idle_limit_ = kIdleOfRetired;
    ArmCleaner();
    return;
  }
  closing_ = true;
  while (!idle_.empty()) Erase(*idle_.front(), doomed);
}

void SequenceDirectory::Add(Sequences& table) {
  MutexLock lock(&mutex_);
  rows_.push_back({&table});
}

void SequenceDirectory::Remove(Sequences& table) {
  MutexLock lock(&mutex_);
  std::erase_if(rows_, [&](const Row& row) { return row.table == &table; });
}

template <typename Visit>
void SequenceDirectory::ForOthers(const Sequences& asker, std::optional<int64_t> version, const Visit& visit) {
  bool older = true;  // than the asker: rows are in the order in which the Versions came
  for (Row row : rows_) {
    const Sequences::Options& options = row.table->options_;
    if (row.table == &asker) older = false;
    if (row.table == &asker || options.model_name != asker.options_.model_name) continue;
    // The asker takes calls in the place of the one before it a moment before that one is told to go.
    row.retired = row.retired || (older && options.version == asker.options_.version);
    if (!version.has_value() || options.version == *version) visit(row);
  }
}

Handle SequenceDirectory::Find(const Sequences& asker, std::optional<int64_t> version, const SequenceId& id,
                               bool only_retired) {
  Handle found;
  MutexLock lock(&mutex_);
  ForOthers(asker, version, [&](const Row& row) {
    if (!found && (row.retired || !only_retired)) found = row.table->HandleOf(id);
  });
  return found;
}

void SequenceDirectory::EraseIdle(const Sequences& asker, std::optional<int64_t> version, const SequenceId& id) {
  Sequences::Doomed doomed;
  MutexLock lock(&mutex_);
  ForOthers(asker, version, [&](const Row& row) {
    if (row.retired) row.table->EraseIdle(id, doomed);
  });
}

uint64_t SequenceDirectory::NewNumber(const Sequences& asker) {
  MutexLock lock(&mutex_);
  while (true) {
    const SequenceId id{.number = ++last_number_};
    bool taken = asker.Has(id);
    ForOthers(asker, std::nullopt, [&](const Row& row) { taken = taken || row.table->Has(id); });
    if (!taken) return id.number;
  }
}

void SequenceDirectory::Retire(Sequences& table) {
  Sequences::Doomed doomed;
  {
    MutexLock lock(&mutex_);
    const auto same = [&](const Row& row) { return row.table->options_.model_name == table.options_.model_name; };
    bool served = false;
    for (Row& row : rows_) {
      if (row.table == &table) row.retired = true;
      served = served || (same(row) && !row.retired);
    }
    for (const Row& row : rows_) {
      if (row.table == &table || (!served && same(row))) row.table->Retire(served, doomed);
    }
  }
  table.LetGo(doomed);
}

void SequenceDirectory::CloseAll() {
  Sequences::Doomed doomed;
  MutexLock lock(&mutex_);
  for (const Row& row : rows_) row.table->Retire(false, doomed);
}

}  // namespace switchyard
