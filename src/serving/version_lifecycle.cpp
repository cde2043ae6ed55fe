// The Manager's part that says what becomes of each version: which are taken from a folder, loaded, replaced, tried again.
#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "base/backoff.h"
#include "base/log.h"
#include "config/setting_mark.h"
#include "config/text.h"
#include "device/cpu_facts.h"
#include "device/placement.h"
#include "repository/cloud/files_identity.h"
#include "serving/absent_devices.h"
#include "serving/encoded_inputs.h"
#include "serving/executor.h"
#include "serving/model_map.h"

namespace switchyard {
namespace {

// Of versions that do not load, so many older ones are tried in their place, beside those that the policy wants.
constexpr size_t kMostStandIns = 8;

// Which versions are served is no matter of any of them.
ModelSettings VersionSettings(ModelSettings settings) {
  settings.version_policy = {};
  settings.idle_unload_seconds = 0;
  return settings;
}

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

std::optional<StatusOr<std::vector<Manager::FoundVersion>>> Manager::FindVersions(const std::string& base_path) const {
  std::string folder = base_path;
  if (IsCloudUrl(base_path)) {
    const std::optional<StatusOr<std::string>> copy = mirror_->FolderOf(base_path);
    if (!copy) return std::nullopt;
    if (!copy->ok()) return copy->status();
    folder = **copy;
  }
  const StatusOr<std::vector<VersionFiles>> listed = ListVersions(folder);
  if (!listed.ok()) return listed.status();
  std::vector<FoundVersion> found;
  for (const VersionFiles& files : *listed) {
    const bool whole = !files.model_path.empty();
    found.push_back(
        {folder, files,
         whole ? ReadFilesState(folder, files.model_path) : ReadFolderState(fmt::format("{}/{}", folder, files.version))});
  }
  return found;
}

// Nothing is known of the versions: what serves goes on.
void Manager::FolderFailed(Model& model, const Status& why) {
  ++model.failed_looks;
  const Duration wait = Backoff(model.failed_looks);
  model.look_at = timer_.Now() + wait;
  if (model.fault != why) {
    LogError("Model {} cannot be {}: {}", model.settings.name, model.entries.empty() ? "served" : "looked at", Message(why));
    metrics_.CountLoad(model.settings.name, why);
  }
  model.fault = why;
  std::erase_if(model.entries, [](const auto& item) {
    return item.second.slot == nullptr && item.second.placer == nullptr && item.second.state != VersionState::kGone;
  });
  // The folder comes back before what is in it does.
  for (auto& [number, entry] : model.entries) entry.missing_since.reset();
}

// Are the files whole, as far as can be told?
bool Manager::Settled(Model& model, const FoundVersion& found) {
  const FilesState& state = found.state;
  const int64_t number = found.files.version;
  const TimePoint now = timer_.Now();
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  const Duration age = wall - std::chrono::nanoseconds(state.changed_ns);
  const Duration settle = options_.settle;
  if (!state.marked_incomplete && (state.marked_complete || settle == Duration::zero() || age >= settle)) {
    model.seen.erase(number);
    return true;
  }
  // The file system's clock may be another machine's: then what counts is how long nothing was seen to change.
  const auto [seen, first] = model.seen.try_emplace(number);
  if (first || seen->second.files != state.files || seen->second.changed_ns != state.changed_ns) {
    seen->second = {state.files, state.changed_ns, now};
  }
  const Duration quiet = now - seen->second.since;
  if (!state.marked_incomplete && quiet >= settle) {
    model.seen.erase(number);
    return true;
  }
  Duration wait = std::max<Duration>(settle, kFirstBackoff);
  if (!state.marked_incomplete) wait = age >= Duration::zero() ? std::min(settle - age, settle - quiet) : settle - quiet;
  model.look_at = std::min(model.look_at, now + wait);
  return false;
}

// Those very files were found whole before.
bool Manager::IsBeingLoaded(const Model& model, const FoundVersion& found) {
  const auto entry = model.entries.find(found.files.version);
  return entry != model.entries.end() && entry->second.placer != nullptr && entry->second.tried.files == found.state.files &&
         !found.state.marked_incomplete;
}

// Does a version that cannot be taken from its folder now still count, since it serves? One that is gone does so for a moment,
// in which another may be moved to its place.
bool Manager::StillCounts(Model& model, Entry& entry, bool there) {
  if (entry.slot == nullptr) return false;
  if (there) {
    entry.missing_since.reset();
    return true;
  }
  const TimePoint now = timer_.Now();
  if (!entry.missing_since) entry.missing_since = now;
  if (now - *entry.missing_since >= options_.settle) return false;
  model.look_at = std::min(model.look_at, *entry.missing_since + options_.settle);
  return true;
}

// Of the latest versions one that does not load has an older one in its place, until it does. While it is tried again as well.
bool Manager::GivesWay(const Model& model, const Entry& entry) {
  return entry.gives_way && entry.slot == nullptr && model.settings.version_policy.kind == VersionPolicy::Kind::kLatest;
}

void Manager::Want(const Model& model, Entry& entry, const FoundVersion& found, bool retry) {
  LoadSource source{found.folder, found.files.model_path, found.state.files, found.state.bytes,
                    VersionSettings(model.settings)};
  entry.version = found.files.version;
  entry.settling = false;
  if (entry.slot != nullptr && entry.served == source) {
    if (entry.placer != nullptr) discarded_.push_back(std::exchange(entry.placer, nullptr));
    entry.state = VersionState::kAvailable;
    entry.error = absl::OkStatus();
    entry.tried = entry.served;
    return;
  }
  if (entry.tried == source) {
    const bool under_way = entry.placer != nullptr || entry.state == VersionState::kWanted;
    if (under_way || (entry.state == VersionState::kFailed && !retry)) return;
  } else {
    entry.failures = 0;
    entry.gives_way = false;
    entry.needed = 0;
  }
  if (entry.slot != nullptr) {
    LogInfo("Model {} version {} has changed ({}): the new one is loaded beside it", model.settings.name, entry.version,
            entry.served.settings == source.settings ? "files" : "settings");
  }
  entry.tried = std::move(source);
  entry.state = VersionState::kWanted;  // a Version that serves goes on until the new one is there
  if (entry.slot == nullptr) entry.error = absl::OkStatus();
}

// A version that the policy would want, if its files were whole.
void Manager::ListUntaken(Model& model, const FoundVersion& found, bool settled) {
  Entry& entry = model.entries[found.files.version];
  if (entry.placer != nullptr) return;
  entry.version = found.files.version;
  entry.wanted = entry.untaken = true;
  entry.tried = {};
  entry.settling = !settled;
  entry.state = entry.settling ? VersionState::kWanted : VersionState::kFailed;
  const Status before = std::exchange(entry.error, absl::OkStatus());
  if (entry.settling) return;
  entry.retry_at = kNoDeadline;
  entry.error = NoCompleteSet(found.files, model.settings.base_path);
  if (entry.error == before) return;
  metrics_.CountLoad(model.settings.name, entry.error);
  LogError("Model {} version {} cannot be loaded: {}", model.settings.name, entry.version, Message(entry.error));
}

// A reload refuses a label whose version is not served; at a start, and when folders go, it can only be told.
void Manager::TellIdleLabels(Model& model, const std::vector<int64_t>& served) {
  std::map<std::string, int64_t> idle;
  for (const auto& [label, number] : model.labels) {
    if (std::find(served.begin(), served.end(), number) == served.end()) idle[label] = number;
  }
  for (const auto& [label, number] : idle) {
    const auto told = model.idle_labels.find(label);
    if (told != model.idle_labels.end() && told->second == number) continue;
    LogWarning(
        "Model {}: the label {} leads to version {}, which is not there or not asked for by model_version_policy; calls by "
        "it fail until it is",
        model.settings.name, Quote(label), number);
  }
  model.idle_labels = std::move(idle);
}

void Manager::Reconcile(Model& model, const StatusOr<std::vector<FoundVersion>>& found) {
  const bool retry = std::exchange(model.retry, false);
  model.look_at = kNoDeadline;
  if (!found.ok()) return FolderFailed(model, found.status());
  std::map<int64_t, const FoundVersion*> there;
  for (const FoundVersion& one : *found) there[one.files.version] = &one;
  std::vector<int64_t> all;
  std::set<int64_t> settled;
  std::map<int64_t, bool> whole;  // and those that serve: to be loaded from their folders?
  for (const auto& [number, one] : there) {
    all.push_back(number);
    if (!IsBeingLoaded(model, *one) && !Settled(model, *one)) continue;
    settled.insert(number);
    if (!one->files.model_path.empty()) whole[number] = true;
  }
  for (auto& [number, entry] : model.entries) {
    if (StillCounts(model, entry, there.contains(number))) whole.try_emplace(number, false);
  }
  std::erase_if(model.seen, [&](const auto& item) { return !there.contains(item.first); });
  std::vector<int64_t> takeable;
  for (const auto& [number, from_folder] : whole) takeable.push_back(number);
  const std::vector<int64_t> wanted = WantedVersions(model.settings.version_policy, takeable);
  const std::vector<int64_t> if_whole = WantedVersions(model.settings.version_policy, all);
  for (auto& [number, entry] : model.entries) entry.wanted = entry.untaken = entry.settling = false;
  size_t lacking = 0;
  const auto take = [&](int64_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Entry& entry = model.entries[number];
    entry.wanted = true;
    if (whole[number]) {
      Want(model, entry, *there[number], retry);
    } else if (settled.contains(number)) {
      const Status why = NoCompleteSet(there[number]->files, model.settings.base_path);
      entry.error = Status(why.code(), fmt::format("{}; the loaded one goes on", Message(why)));
    }
    lacking += GivesWay(model, entry) ? 1 : 0;
  };
  for (const int64_t number : wanted) take(number);
  // The lower ones, from the highest on.
  auto stand_in = takeable.rbegin() + static_cast<std::ptrdiff_t>(wanted.size());
  for (size_t taken = 0; taken < lacking && taken < kMostStandIns && stand_in != takeable.rend(); ++taken) take(*stand_in++);
  for (const int64_t number : if_whole) {
    if (!whole.contains(number)) ListUntaken(model, *there[number], settled.contains(number));
  }
  for (auto& [number, entry] : model.entries) {
    if (entry.slot == nullptr || entry.rouse != Entry::Rouse::kLook) continue;
    const auto one = there.find(number);
    LookForRouse(model, entry, one == there.end() ? nullptr : one->second, settled.contains(number));
  }
  TellIdleLabels(model, if_whole);
  if (!wanted.empty() || !if_whole.empty()) {
    model.fault = absl::OkStatus();
    model.failed_looks = 0;
    return;
  }
  const Status none = NoVersion(model.settings, all);
  if (model.fault != none) {
    LogError("Model {} cannot be served: {}", model.settings.name, Message(none));
    metrics_.CountLoad(model.settings.name, none);
  }
  model.fault = none;
}

// What is to be looked at or tried again by now.
void Manager::TakeDue() {
  due_ = false;
  const TimePoint now = timer_.Now();
  for (auto& [name, model] : models_) {
    if (!model->wanted || model->faulty) continue;
    if (model->look_at <= now) model->look = true, model->look_at = kNoDeadline;
    for (auto& [number, entry] : model->entries) {
      if (!entry.wanted || entry.state != VersionState::kFailed || entry.retry_at > now) continue;
      entry.retry_at = kNoDeadline;
      entry.state = VersionState::kWanted;
      model->look = true;  // the folder may have gone meanwhile
    }
  }
}

bool Manager::LoadPending(const Model& model, TimePoint now) const {
  if (!model.wanted) return false;
  if (model.look || model.awaits_copy) return true;
  for (const auto& [number, entry] : model.entries) {
    if (entry.state == VersionState::kWanted && (!entry.settling || now < model.settle_until)) return true;
    // A version that was removed: whether another takes its place is seen at the next look.
    if (entry.slot != nullptr && entry.missing_since && model.look_at <= *entry.missing_since + options_.settle) return true;
    if (entry.placer == nullptr) continue;
    // What has ended, well or badly, is taken up next; what no device serves at the moment was tried.
    const Placer::Phase phase = entry.placer->phase();
    if (phase != Placer::Phase::kWaiting && phase != Placer::Phase::kDown) return true;
  }
  return false;
}

bool Manager::LoadsPending() const {
  const TimePoint now = timer_.Now();
  return std::any_of(models_.begin(), models_.end(),
                     [this, now](const auto& model) { return LoadPending(*model.second, now); });
}

bool Manager::LoadPending(std::string_view name) const {
  MutexLock lock(&mutex_);
  const auto model = models_.find(name);
  return model != models_.end() && model->second->wanted && (model->second->look || model->second->pending);
}

void Manager::StartLoads() {
  if (shutting_down_) return;
  for (const auto& [name, model] : models_) {
    if (!model->wanted) continue;
    for (auto& [number, entry] : model->entries) {
      if (entry.state != VersionState::kWanted || entry.settling) continue;
      entry.state = VersionState::kLoading;
      if (entry.placer != nullptr) discarded_.push_back(std::exchange(entry.placer, nullptr));
      if (const Status room = MakeRoom(std::max(entry.tried.bytes, entry.needed), entry, name); !room.ok()) {
        Fail(*model, entry, name, room);
        continue;
      }
      LogInfo("Loading model {} version {} from {}", name, number, entry.tried.path);
      auto placer = MakePlacer(model->settings, number, entry.tried);
      if (placer.ok()) {
        entry.placer = *std::move(placer);
      } else {
        // Nothing that comes by waiting: it hangs on the settings, and on the devices that were there at the start.
        Fail(*model, entry, name, placer.status(), /*again=*/false);
      }
    }
  }
}

StatusOr<std::shared_ptr<Placer>> Manager::MakePlacer(const ModelSettings& settings, int64_t number, const LoadSource& source) {
  auto plan = MakePlan(settings, monitor_->inventory(), options_.device_plugins);
  if (plan.status().code() == StatusCode::kNotFound) {
    return Error(StatusCode::kNotFound,
                 "{}{}; devices are looked for when the server starts: start it again when that one is there",
                 Message(plan.status()), ExplainAbsent(absent_, settings.target_device));
  }
  SY_RETURN_IF_ERROR(plan.status());
  std::vector<std::pair<std::string, PlacementPlan::Priority>> occupied;
  for (const auto& [name, model] : models_) {
    for (const auto& [other, entry] : model->entries) {
      if (entry.slot == nullptr || name == settings.name) continue;
      const Placer& placer = *entry.slot->get()->placer();
      for (const std::string& device : placer.Report().execution_devices) occupied.emplace_back(device, placer.plan().priority);
    }
  }
  YieldToPriorities(*plan, occupied);
  Placer::Environment environment{
      .runtime = runtime_,
      .timer = timer_,
      .monitor = *monitor_,
      .max_queue = options_.max_queue,
      .inline_threads = options_.inline_threads,
      .strict = options_.strict,
      .files = std::make_shared<FilesGuard>(settings.name, number, source.folder, source.path, source.files),
      .read_recorded = DecodeRecorded(options_.read_recorded, settings, options_.max_image_pixels),
      .find_room = [this, name = settings.name, number](
                       uint64_t need, const std::string& shape) { return MakeRoomForShape(name, number, need, shape); },
      .wake = WakeOfLoads(),
      .on_failover = options_.on_failover,
      .on_retry = options_.on_retry,
      .on_shape_failed = [&metrics = metrics_](const std::string& model, const Status& why) { metrics.CountLoad(model, why); },
      .sequences = sequences_,
      .sequence_idle = options_.sequence_idle};
  LoadRequest base{.settings = settings,
                   .version = number,
                   .model_path = source.path,
                   .files = FilesIdentity(settings.base_path, number, source.path, source.files),
                   .cache_dir = options_.cache_dir,
                   .cache_max_bytes = options_.cache_max_bytes};
  woken_ = true;
  return std::make_shared<Placer>(std::move(environment), std::move(base), *std::move(plan));
}

void Manager::Fail(Model& model, Entry& entry, const std::string& name, const Status& why, bool again) {
  entry.error = why;
  entry.state = VersionState::kFailed;
  if (entry.placer != nullptr) discarded_.push_back(std::exchange(entry.placer, nullptr));
  metrics_.CountLoad(name, why);
  const Duration wait = Backoff(++entry.failures);
  again = again && !model.on_trial;
  entry.retry_at = again ? timer_.Now() + wait : kNoDeadline;
  // A fault of the settings is every version's.
  const bool gave_way = std::exchange(entry.gives_way, again && SettingOf(why).empty());
  if (GivesWay(model, entry) && !gave_way && !model.faulty) model.look = woken_ = true;  // for an older one
  LogError("Model {} version {} failed to load: {}{}{}", name, entry.version, Message(why),
           entry.slot != nullptr ? "; the one before it goes on serving" : "",
           again ? fmt::format("; trying again in {} s", Seconds(wait)) : "");
}

// A load that found other files than it was to be made of: what lies there now is loaded, when a look says that it is whole.
void Manager::LoadAnew(Model& model, Entry& entry) {
  discarded_.push_back(std::exchange(entry.placer, nullptr));
  const bool serves = entry.slot != nullptr;
  entry.state = serves ? VersionState::kAvailable : VersionState::kWanted;
  entry.settling = !serves;
  entry.tried = serves ? entry.served : LoadSource();
  entry.error = absl::OkStatus();
  model.look = woken_ = true;
}

// What became of a load since the last look.
void Manager::TakeLoad(const std::string& name, Model& model, Entry& entry) {
  const Placer::Phase phase = entry.placer->phase();
  if (phase == Placer::Phase::kFailed && entry.placer->files()->changed()) return LoadAnew(model, entry);
  if (phase == Placer::Phase::kFailed) return Fail(model, entry, name, entry.placer->why());
  if (phase == Placer::Phase::kDown) {
    entry.error = entry.placer->why();
  } else if (entry.slot == nullptr || phase == Placer::Phase::kServing) {
    entry.error = absl::OkStatus();  // else: why the last try failed is told until this one ends
  }
  if (phase != Placer::Phase::kServing || shutting_down_) return;
  if (const Status room = CheckRoom(entry, name); !room.ok()) return Fail(model, entry, name, room);
  const std::shared_ptr<VersionSlot> before = std::exchange(entry.slot, nullptr);
  if (before != nullptr) retired_.push_back(before);
  entry.served = entry.tried;
  entry.failures = 0;
  const std::shared_ptr<Placer> placer = std::exchange(entry.placer, nullptr);
  const std::shared_ptr<ModelMetrics> metrics = metrics_.ForModel(name, entry.version);
  for (const TargetPlacement& target : placer->Report().targets) {
    if (target.state == "serving") metrics->Begin(target.device);
  }
  auto version =
      std::make_unique<Version>(placer->settings(), entry.version, placer->signature(), placer->executor(), placer, metrics,
                                DecodeOptions{.pool = &decode_pool_,
                                              // A pool that is free takes work also where nothing may queue.
                                              .max_waiting = std::max<size_t>(options_.max_queue, UsableProcessors()),
                                              .max_image_pixels = options_.max_image_pixels,
                                              .shared_memory = options_.shared_memory});
  entry.slot = std::make_shared<VersionSlot>(std::move(version), [this](VersionSlot& slot) {
    MutexLock lock(&mutex_);
    const auto it = std::find_if(draining_.begin(), draining_.end(), [&](const auto& s) { return s.get() == &slot; });
    drained_.push_back(std::move(*it));
    draining_.erase(it);
  });
  entry.state = VersionState::kAvailable;
  entry.rouse = Entry::Rouse::kNone;
  entry.rousing = false;
  if (std::exchange(entry.gives_way, false) && !model.faulty) model.look = woken_ = true;  // what stood in for it may go
  const bool calls_as_before = before != nullptr && placer->shapes() == nullptr && placer->sequences() == nullptr &&
                               before->get()->placer()->signature() == placer->signature();
  if (calls_as_before) successors_[before.get()] = entry.slot;
  metrics_.CountLoad(name, absl::OkStatus());
  LogInfo("Model {} version {} is available", name, entry.version);
}

}  // namespace switchyard
