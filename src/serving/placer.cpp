#include "serving/placer.h"

#include <malloc.h>

#include <algorithm>
#include <utility>

#include "base/backoff.h"
#include "base/log.h"
#include "device/fault.h"
#include "device/target.h"
#include "serving/lane_maker.h"
#include "serving/placer_rows.h"

namespace switchyard {
namespace {

// As with OVMS: what is compiled for whatever shapes come is kept only when the user says so. (A process of its own that
// compiles has no other way to hand over the model.)
LoadRequest WithCacheAsWanted(LoadRequest base) {
  const ModelSettings& settings = base.settings;
  if (ShapeInstances::WantedBy(settings) && !settings.allow_cache && !settings.isolated_compile) base.cache_dir.clear();
  return base;
}

}  // namespace

std::string_view Name(LoadFacts::Cache cache) {
  switch (cache) {
    case LoadFacts::Cache::kHit:
      return "hit";
    case LoadFacts::Cache::kMiss:
      return "miss";
    case LoadFacts::Cache::kOff:
      break;
  }
  return "off";
}

Placer::Placer(Environment environment, LoadRequest base, PlacementPlan plan)
    : env_(std::move(environment)),
      base_(WithCacheAsWanted(std::move(base))),
      plan_(std::move(plan)),
      executor_(std::make_shared<Executor>(
          env_.timer, Executor::Options{.model_name = base_.settings.name,
                                        .max_queue = env_.max_queue,
                                        .retry = plan_.retry,
                                        .on_fault = [this](const Lane& lane, const Status& status) { OnFault(lane, status); },
                                        .on_starved = env_.wake,
                                        .on_retry =
                                            [this](const std::string& from) {
                                              if (env_.on_retry) env_.on_retry(base_.settings.name, from);
                                            }})) {
  for (size_t i = 0; i < plan_.candidates.size(); ++i) {
    rows_.push_back(std::make_unique<Row>());
    served_.push_back(std::make_shared<std::atomic<uint64_t>>(0));
  }
  if (!ShapeInstances::WantedBy(base_.settings)) return;
  const auto make = [this](ModelSettings settings, const std::string& shape) {
    return MakeInstance(std::move(settings), shape);
  };
  const auto failed = [this](const Status& why) {
    if (env_.on_shape_failed) env_.on_shape_failed(base_.settings.name, why);
  };
  const auto reckon = [this] { return LaneBytes(); };
  shapes_ = std::make_unique<ShapeInstances>(
      base_.settings, env_.timer, executor_,
      ShapeInstances::Hooks{.make = make, .reckon = reckon, .find_room = env_.find_room, .failed = failed, .wake = env_.wake});
}

std::shared_ptr<Placer> Placer::MakeInstance(ModelSettings settings, const std::string& shape) const {
  LoadRequest load = base_;
  load.settings = std::move(settings);
  auto placer = std::make_shared<Placer>(env_, std::move(load), plan_);
  placer->checked_ = true;  // as this one's are
  placer->shape_ = shape;
  return placer;
}

Placer::~Placer() {
  if (retry_at_ != kNoDeadline) env_.timer.Cancel(retry_timer_);
  shapes_.reset();
  sequences_.reset();
  for (const auto& lane : retiring_) lane->Close(), dropped_.push_back(lane);
  for (const auto& row : rows_) {
    if (row->lane != nullptr) Drop(*row);
  }
  FreeDrained();
}

// Canaries decide where it may be one of several.
void Placer::Blame(const std::vector<std::string>& devices, const Status& status, bool fatal) const {
  const std::string text(Message(status));
  const std::vector<std::string> blamed = BlamedDevices(devices, text);
  const bool certain = fatal && blamed.size() == 1;
  for (const std::string& device : blamed) {
    env_.monitor.Report(device, certain ? HealthEvent::Kind::kFatalError : HealthEvent::Kind::kUnclearError, text);
  }
}

void Placer::OnFault(const Lane& lane, const Status& status) {
  Blame(lane.options().devices, status, FaultOf(status) == Fault::kDevice);
  env_.wake();
}

// For what may hang in a device. A child that compiles has the time for itself, and importing what it compiled as much.
DeviceMonitor::Limit Placer::LimitOf(const std::shared_ptr<Compilation>& task, const std::string& target) const {
  const ModelSettings& settings = base_.settings;
  const std::chrono::milliseconds limit(uint64_t{settings.load_timeout_ms} * (settings.isolated_compile ? 2 : 1));
  return {limit, [task, late = LoadedTooLate(target, limit), wake = env_.wake] {
            task->GiveUp(late);
            wake();
          }};
}

// Asks those of its devices that are there: a lost one may never answer. False when no candidate has all of its own.
bool Placer::StartCheck() {
  const auto usable = [this](const Candidate& candidate) { return env_.monitor.Usable(candidate.devices); };
  const auto first = std::find_if(plan_.candidates.begin(), plan_.candidates.end(), usable);
  if (first == plan_.candidates.end()) return false;
  check_asks_.clear();
  for (const Candidate& candidate : plan_.candidates) {
    for (const std::string& device : candidate.devices) {
      const bool asked = std::find(check_asks_.begin(), check_asks_.end(), device) != check_asks_.end();
      if (!asked && env_.monitor.Usable({device})) check_asks_.push_back(device);
    }
  }
  check_ = std::make_shared<Compilation>();
  check_->generations = env_.monitor.Generations(check_asks_);
  phase_ = Phase::kLoading;
  why_ = absl::OkStatus();
  const std::string device = FaultyDevice(first->target);
  env_.monitor.Post(
      device,
      [check = check_, &runtime = env_.runtime, wake = env_.wake, asked = plan_.asked, devices = check_asks_,
       config = base_.settings.plugin_config] {
        check->Finish(runtime.CheckProperties(asked, devices, config));
        wake();
      },
      LimitOf(check_, device));
  return true;
}

// A device was lost that it asks, or that it was to run on: it may never end, or never begin.
bool Placer::CheckIsLost() const {
  return !env_.monitor.Usable(check_asks_) || env_.monitor.Generations(check_asks_) != check_->generations;
}

// False while plugin_config is being checked, or when it is faulty.
bool Placer::TakeCheck() {
  if (checked_) return true;
  if (check_ != nullptr && !check_->Done() && CheckIsLost()) check_ = nullptr;
  if (check_ == nullptr && !StartCheck()) {
    for (size_t i = 0; i < rows_.size(); ++i) LookAtDevices(i);
    phase_ = Phase::kDown;
    why_ = WhyNone();
    Remember({});
    return false;
  }
  if (!check_->Done()) return false;
  MutexLock lock(&check_->mutex);
  if (!check_->notes.ok()) {
    phase_ = Phase::kFailed;
    why_ = check_->notes.status();
    return false;
  }
  for (const std::string& note : *check_->notes) plan_.reasons.push_back(note);
  for (const std::string& reason : plan_.reasons) {
    if (env_.strict) {
      phase_ = Phase::kFailed;
      why_ = Error(StatusCode::kInvalidArgument, "--strict: {}", reason);
      return false;
    }
    LogWarning("Model {}: {}", base_.settings.name, reason);
  }
  checked_ = true;
  return true;
}

void Placer::StartCompiling(size_t index) {
  Row& row = *rows_[index];
  const Candidate& candidate = plan_.candidates[index];
  row.state = LaneState::kCompiling;
  row.compilation = std::make_shared<Compilation>();
  row.compilation->generations = env_.monitor.Generations(candidate.devices);
  LaneRequest request{.load = base_,
                      .files = env_.files,
                      .read_recorded = env_.read_recorded,
                      .options = {},
                      .inline_threads = env_.inline_threads};
  request.load.target = candidate.target;
  request.load.properties = candidate.properties;
  request.options = {
      .target = candidate.target,
      .device = candidate.devices.front(),
      .devices = candidate.devices,
      .generations = row.compilation->generations,
      .timeout = std::chrono::milliseconds(base_.settings.device_timeout_ms),
      .served = served_[index],
      .on_drained = env_.wake,
      .discard = [&monitor = env_.monitor, device = FaultyDevice(candidate.target)](std::shared_ptr<InferRequest> request) {
        monitor.Discard(device, [request = std::move(request)]() mutable { request.reset(); });
      }};
  LogDebug("Model {} version {}: compiling for {}", base_.settings.name, base_.version, candidate.target);
  // Of several devices: where it hangs, if it does, so that the others' threads go on.
  env_.monitor.Post(
      FaultyDevice(candidate.target),
      [compilation = row.compilation, &runtime = env_.runtime, &timer = env_.timer, wake = env_.wake,
       request = std::move(request)]() mutable {
        compilation->Finish(MakeLane(runtime, timer, std::move(request)));
        wake();
      },
      LimitOf(row.compilation, candidate.target));
}

void Placer::TakeCompilation(size_t index) {
  Row& row = *rows_[index];
  if (row.compilation == nullptr || !row.compilation->Done()) return;
  const std::shared_ptr<Compilation> compilation = std::exchange(row.compilation, nullptr);
  const Candidate& candidate = plan_.candidates[index];
  MutexLock lock(&compilation->mutex);
  if (compilation->lane.ok()) return Accept(index, *compilation->lane);
  // What the model is refused for stays so; of changed files another Version is made.
  const bool stays = compilation->lane.status().code() == StatusCode::kInvalidArgument || FilesHaveChanged();
  Fail(row, compilation->lane.status(), compilation->generations, stays ? Again::kNo : Again::kYes);
  if (FilesHaveChanged()) {
    LogInfo("Model {} version {} is not loaded on {}: {}", base_.settings.name, base_.version, candidate.target,
            Message(row.error));
    return;
  }
  LogError("Model {} version {} does not load on {}: {}", base_.settings.name, base_.version, candidate.target,
           Message(row.error));
  if (!std::exchange(row.left, true)) lost_.emplace_back(index, row.error);
  // A model that does not fit is no fault of the device's; a canary tells.
  if (FaultOf(row.error) == Fault::kDevice || FaultOf(row.error) == Fault::kUnclear) {
    Blame(candidate.devices, row.error, /*fatal=*/false);
  }
}

void Placer::Fail(Row& row, const Status& why, std::vector<uint64_t> generations, Again again) {
  row.state = LaneState::kFailed;
  row.error = why;
  row.failed_generations = std::move(generations);
  row.retry_at = kNoDeadline;
  row.ran = false;
  if (again == Again::kYes) row.retry_at = env_.timer.Now() + Backoff(++row.failures);
}

// The device may be well: the model comes back after a while, which grows as long as it doesn't keep well there.
void Placer::FailRunning(Row& row, const Status& why, std::vector<uint64_t> generations) {
  const TimePoint now = env_.timer.Now();
  if (now - row.ready_at >= DeviceHealth::kTrusted) row.losses = 0;
  Fail(row, why, std::move(generations), Again::kYes);
  row.ran = true;
  row.retry_at = now + Backoff(++row.losses);
}

// One callback, for what is to be tried again first. Who has all that failed is tried again as a whole, by somebody else.
void Placer::ArmRetry() {
  TimePoint next = kNoDeadline;
  for (const auto& row : rows_) {
    if (row->state == LaneState::kFailed) next = std::min(next, row->retry_at);
  }
  if (asleep_ || rouse_failed_ || phase_ == Phase::kFailed) next = kNoDeadline;
  if (next == retry_at_) return;
  if (retry_at_ != kNoDeadline) env_.timer.Cancel(retry_timer_);
  retry_at_ = next;
  if (next != kNoDeadline) retry_timer_ = env_.timer.Schedule(next, env_.wake);
}

bool Placer::FilesHaveChanged() const { return env_.files != nullptr && env_.files->changed(); }

void Placer::Accept(size_t index, std::shared_ptr<Lane> lane) {
  Row& row = *rows_[index];
  const Candidate& candidate = plan_.candidates[index];
  row.lane = std::move(lane);
  if (!std::exchange(has_signature_, true)) {
    signature_ = row.lane->model()->signature();
    if (shapes_ != nullptr) open_signature_ = shapes_->Open(signature_);
    if (row.lane->facts().stateful && base_.settings.stateful.value_or(true)) MakeSequences();
  }
  if (!(row.lane->model()->signature() == signature_)) {
    Fail(row,
         Error(StatusCode::kInternal, "{} made other inputs and outputs of the model than the device before it",
               candidate.target),
         env_.monitor.Generations(candidate.devices), Again::kNo);
    return Drop(row);
  }
  row.state = LaneState::kReady;
  row.error = absl::OkStatus();
  row.failures = 0;
  row.ready_at = env_.timer.Now();
  row.left = false;
  env_.monitor.Watch(row.lane, base_.settings.name);
  const LoadFacts& facts = row.lane->facts();
  for (const std::string& reason : facts.reasons)
    LogWarning("Model {} on {}: {}", base_.settings.name, candidate.target, reason);
  LogInfo("Model {} version {} is ready on {}: loaded in {:.0f} ms, cache {}", base_.settings.name, base_.version,
          candidate.target, facts.load_ms, Name(facts.cache));
}

void Placer::MakeSequences() {
  const ModelSettings& settings = base_.settings;
  Duration idle = env_.sequence_idle;
  if (settings.sequence_idle_seconds > 0) idle = std::chrono::seconds(settings.sequence_idle_seconds);
  if (!settings.idle_sequence_cleanup) idle = Duration::zero();
  sequences_ = Sequences::Make({.model_name = settings.name,
                                .version = base_.version,
                                .max_sequences = settings.max_sequence_number,
                                .max_waiting = env_.max_queue,
                                .idle = idle},
                               env_.timer, *executor_, env_.sequences);
}

// Freed as soon as nothing runs there; never while a device that was given up may still write.
void Placer::Drop(Row& row) {
  row.lane->Close();
  dropped_.push_back(std::exchange(row.lane, nullptr));
}

void Placer::GiveUp(const std::shared_ptr<Lane>& lane, const Status& why) {
  executor_->GiveUp(*lane, why);
  if (sequences_ != nullptr) sequences_->LaneGone(*lane, why);
}

// The lane is not needed any more, but for the sequences whose state is there.
void Placer::Release(Row& row) {
  row.state = LaneState::kNone;
  if (row.lane->own_requests() == 0) return Drop(row);
  retiring_.push_back(std::exchange(row.lane, nullptr));
}

void Placer::LookAtRetiring() {
  std::erase_if(retiring_, [&](const std::shared_ptr<Lane>& lane) {
    const bool lost = IsLost(*lane);
    if (!lost && lane->own_requests() > 0) return false;
    if (lost) GiveUp(lane, Error(StatusCode::kUnavailable, "device {} failed", lane->device()));
    lane->Close();
    dropped_.push_back(lane);
    return true;
  });
}

void Placer::FreeDrained() {
  std::erase_if(dropped_, [&](const std::shared_ptr<Lane>& lane) {
    if (!lane->drained()) return false;
    env_.monitor.Discard(FaultyDevice(lane->options().target), [lane] {
      lane->Destroy();
      malloc_trim(0);  // weights of a few MB lie among what the allocator keeps for the next request
    });
    return true;
  });
}

bool Placer::KeepsDevices(const Lane& lane) const {
  const Lane::Options& options = lane.options();
  return env_.monitor.Usable(options.devices) && env_.monitor.Generations(options.devices) == options.generations;
}

bool Placer::IsLost(const Lane& lane) const { return lane.closed() || !KeepsDevices(lane) || !env_.monitor.WhyHung(lane).ok(); }

void Placer::LookAtDevices(size_t index) {
  Row& row = *rows_[index];
  const std::vector<std::string>& devices = plan_.candidates[index].devices;
  row.usable = env_.monitor.Usable(devices);
  const std::vector<uint64_t> generations = env_.monitor.Generations(devices);
  if (row.compilation != nullptr && (!row.usable || row.compilation->generations != generations)) {
    // What it makes would be of a generation that is gone. Its thread may be inside the device for ever.
    row.compilation = nullptr;
    row.state = LaneState::kNone;
  }
  if (row.lane != nullptr && IsLost(*row.lane)) {
    const bool keeps = KeepsDevices(*row.lane);
    Status why = env_.monitor.WhyNot(row.lane->options().devices);
    if (why.ok()) why = env_.monitor.WhyHung(*row.lane);
    if (why.ok()) why = Error(StatusCode::kUnavailable, "device {} failed", devices.front());
    GiveUp(row.lane, why);
    row.left = true;
    lost_.emplace_back(index, why);
    Drop(row);
    row.state = LaneState::kNone;
    if (keeps) FailRunning(row, why, generations);
  }
  // What runs needs no more than its own devices; what is to be compiled needs all of them.
  row.usable = row.usable || row.lane != nullptr;
  if (row.state != LaneState::kFailed) return;
  const bool due = row.usable && !rouse_failed_ && row.retry_at <= env_.timer.Now();
  if (due || row.failed_generations != generations) row.state = LaneState::kNone;
}

bool Placer::CanSleep() const {
  const bool stateful = std::any_of(rows_.begin(), rows_.end(),
                                    [](const auto& row) { return row->lane != nullptr && row->lane->facts().stateful; });
  return phase_ == Phase::kServing && !asleep_ && shapes_ == nullptr && !stateful;
}

void Placer::Sleep() {
  slept_bytes_ = memory_bytes();
  asleep_ = true;
  rousing_ = rouse_failed_ = rouse_stale_ = refuses_ = false;
  routed_.clear();
  executor_->SetRoute({.asleep = true});
  for (const auto& row : rows_) {
    row->compilation = nullptr;
    row->state = LaneState::kNone;
    row->error = absl::OkStatus();
    row->failures = 0;
    if (row->lane != nullptr) Drop(*row);
  }
  ArmRetry();
  phase_ = Phase::kServing;
  why_ = absl::OkStatus();
  served_by_.clear();
  FreeDrained();
  Remember({});
  env_.wake();  // a call may have come just before
}

void Placer::Rouse() {
  asleep_ = false;
  rousing_ = true;
}

void Placer::Refuse(const Status& why) {
  executor_->SetRoute({.closed = why});
  executor_->SetRoute({.asleep = true});
}

uint64_t Placer::LaneBytes() const {
  uint64_t bytes = 0;
  for (const auto& row : rows_) {
    if (row->lane != nullptr) bytes += row->lane->facts().memory_bytes.value_or(0);
  }
  return std::max(bytes, env_.files != nullptr ? env_.files->bytes() : 0);
}

uint64_t Placer::memory_bytes() const {
  if (asleep_ || rousing_) return slept_bytes_;
  return LaneBytes() + (shapes_ != nullptr ? shapes_->memory_bytes() : 0);
}

void Placer::Step() {
  if (asleep_) return StepAsleep();
  if (phase_ == Phase::kFailed || !TakeCheck()) return;
  lost_.clear();
  for (size_t i = 0; i < rows_.size(); ++i) TakeCompilation(i);
  for (size_t i = 0; i < rows_.size(); ++i) LookAtDevices(i);
  std::vector<CandidateState> states;
  for (const auto& row : rows_) states.push_back({row->state, row->usable});
  const PlacementDecision decision = Decide(plan_, states);
  for (const size_t index : decision.compile) StartCompiling(index);
  TellMoves(decision);
  SetRoute(decision);
  // After the route: what is left out takes no calls any more.
  for (const size_t index : decision.release) {
    LogInfo("Model {} version {}: {} is not needed any more", base_.settings.name, base_.version,
            plan_.candidates[index].target);
    Release(*rows_[index]);
  }
  LookAtRetiring();
  FreeDrained();
  SetPhase(decision);
  ArmRetry();
  Remember(decision);
  if (shapes_ != nullptr) shapes_->Step();
}

// What it tells of its devices is to be true.
void Placer::StepAsleep() {
  bool changed = false;
  for (size_t i = 0; i < rows_.size(); ++i) {
    const bool before = rows_[i]->usable;
    LookAtDevices(i);
    changed = changed || rows_[i]->usable != before;
  }
  if (changed) Remember({});
  FreeDrained();
}

void Placer::SetRoute(const PlacementDecision& decision) {
  std::vector<std::shared_ptr<Lane>> lanes;
  for (const size_t index : decision.route) lanes.push_back(rows_[index]->lane);
  const bool stale = rousing_ && decision.hopeless && FilesHaveChanged();
  if (stale && !std::exchange(rouse_stale_, true)) env_.wake();  // for whoever is to call Sleep
  const bool refuses = decision.hopeless && !stale;
  const bool roused = rousing_ && (!lanes.empty() || refuses);
  if (roused) {
    rousing_ = false;
    rouse_failed_ = refuses;
    if (refuses) env_.wake();  // for whoever is to call Sleep
  }
  if (lanes == routed_ && decision.standby == standby_ && refuses == refuses_ && !roused) return;
  routed_ = lanes;
  standby_ = decision.standby;
  refuses_ = refuses;
  LaneRoute route{.lanes = std::move(lanes),
                  .all = plan_.mode == PlacementPlan::Mode::kAll,
                  .standby = decision.standby,
                  .schedule = plan_.schedule,
                  .closed = absl::OkStatus(),
                  .asleep = rousing_};
  if (refuses) {
    route.closed = Refusal();
  }
  executor_->SetRoute(std::move(route));
}

void Placer::SetPhase(const PlacementDecision& decision) {
  why_ = absl::OkStatus();
  if (!decision.route.empty()) {
    phase_ = Phase::kServing;
    return;
  }
  why_ = WhyNone();
  if (!decision.hopeless) {
    phase_ = phase_ == Phase::kLoading ? Phase::kLoading : Phase::kWaiting;
    return;
  }
  const bool hope = std::any_of(rows_.begin(), rows_.end(), [](const auto& row) { return !row->usable; });
  phase_ = phase_ == Phase::kLoading && !hope ? Phase::kFailed : Phase::kDown;
}

}  // namespace switchyard
