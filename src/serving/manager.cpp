#include "serving/manager.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/thread_name.h"
#include "config/text.h"
#include "device/cpu_facts.h"
#include "serving/absent_devices.h"
#include "serving/batcher.h"
#include "serving/executor.h"
#include "serving/model_map.h"

namespace switchyard {

struct Manager::Waker {
  Mutex mutex;
  Manager* manager ABSL_GUARDED_BY(mutex) = nullptr;  // null: it is gone
};

struct Manager::Snapshot {
  struct VersionRow {
    std::shared_ptr<VersionSlot> slot;  // null: not available, because of `status`
    Status status;
  };
  struct ModelRow {
    std::string name;  // the model's own
    std::map<int64_t, VersionRow> versions;
    // The highest version that a device serves, else the highest that is loaded.
    std::shared_ptr<VersionSlot> serving;
    Status status;                         // why there is none
    std::map<std::string, int64_t, std::less<>> labels;
  };
  uint64_t id = 0;
  std::map<std::string, ModelRow, std::less<>> models;
};

namespace {

std::atomic<uint64_t> last_snapshot_id{0};

Status NotLoadedYet(const std::string& model) {
  return Error(StatusCode::kUnavailable, "Model is not loaded yet - Name: {}; try again", model);
}

}  // namespace

Manager::Options Manager::FromSettings(const ServerSettings& settings) {
  Options options{.max_queue = settings.max_queue,
                  .cache_dir = settings.cache_dir,
                  .cache_max_bytes = settings.cache_max_bytes,
                  .ready_needs_all = settings.ready_needs_all,
                  .inline_threads = 2 * UsableProcessors(),
                  .strict = settings.strict,
                  .explain_absent = FindAbsentDevices,
                  .max_image_pixels = settings.max_image_pixels,
                  .sequence_idle = std::chrono::minutes(settings.sequence_cleaner_poll_wait_minutes),
                  .cloud = {.folder = settings.cloud_cache_dir,
                            .poll = std::chrono::seconds(
                                settings.file_system_poll_wait_seconds == 0 ? 0 : settings.cloud_poll_wait_seconds)},
                  .memory_budget = settings.memory_budget};
  for (const auto& [name, library] : settings.device_plugins) options.device_plugins.push_back(name);
  return options;
}

Manager::Manager(Runtime& runtime, Timer& timer, Options options)
    : runtime_(runtime),
      timer_(timer),
      options_(std::move(options)),
      own_metrics_(options_.metrics == nullptr ? std::make_unique<MetricsRegistry>() : nullptr),
      metrics_(own_metrics_ != nullptr ? *own_metrics_ : *options_.metrics),
      decode_pool_(UsableProcessors()),
      waker_(std::make_shared<Waker>()),
      loads_waker_(std::make_shared<Waker>()) {
  DeviceMonitor::Options devices = options_.devices;
  devices.on_change = [this] { Wake(); };
  monitor_ = std::make_unique<DeviceMonitor>(runtime_, timer_, std::move(devices));
  {
    MutexLock lock(&mutex_);
    Publish();
  }
  for (const auto& waker : {waker_, loads_waker_}) {
    MutexLock lock(&waker->mutex);
    waker->manager = this;
  }
  if (options_.watch_poll > Duration::zero()) {
    watcher_ = std::make_unique<FolderWatcher>(options_.watch_poll, FolderWatcher::Means::kNotify,
                                               [this](const std::string& path) { OnFolderChange(path); });
  }
  CloudMirror::Options cloud = options_.cloud;
  cloud.in_use = [this](const std::string& url) { return VersionsInUse(url); };
  mirror_ = std::make_unique<CloudMirror>(std::move(cloud), [this](const std::string& url) { OnFolderChange(url); });
  thread_ = std::thread([this] { Run(); });
}

Manager::~Manager() {
  Shutdown();
  {
    MutexLock lock(&waker_->mutex);
    waker_->manager = nullptr;
  }
  {
    MutexLock lock(&mutex_);
    for (auto& [name, model] : models_) {
      for (auto& [number, entry] : model->entries) Retire(entry);
    }
    stopping_ = true;
  }
  thread_.join();
  // Only now: that thread tells it what to watch.
  watcher_.reset();
  mirror_.reset();
  // Before the rest of this object: compilations that still run wake it when they end.
  std::vector<std::shared_ptr<Placer>> discarded;
  {
    MutexLock lock(&mutex_);
    discarded.swap(discarded_);
  }
  discarded.clear();
  monitor_.reset();
  // A load that was left behind may end at any time.
  MutexLock lock(&loads_waker_->mutex);
  loads_waker_->manager = nullptr;
}

std::function<void()> Manager::WakeOfLoads() const {
  return [waker = loads_waker_] {
    MutexLock lock(&waker->mutex);
    if (waker->manager != nullptr) waker->manager->Wake();
  };
}

void Manager::Wake() {
  MutexLock lock(&mutex_);
  woken_ = true;
}

void Manager::SetWanted(std::vector<ModelSettings> models, std::vector<FaultyModel> faulty,
                        const std::set<std::string>& on_trial, const std::optional<std::set<std::string>>& asked) {
  MutexLock lock(&mutex_);
  std::set<std::string> before;
  for (auto& [name, model] : models_) {
    if (std::exchange(model->wanted, false)) before.insert(name);
  }
  const auto model_of = [&](const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) -> Model& {
    std::unique_ptr<Model>& model = models_[name];
    if (model == nullptr) model = std::make_unique<Model>();
    model->wanted = true;
    model->lent = false;
    return *model;
  };
  const auto is_asked = [&](const std::string& name) { return !asked || asked->contains(name) || !before.contains(name); };
  const auto begin = [&](const std::string& name, Model& model) {
    model.look = model.list = model.retry = model.pending = true;
    model.on_trial = on_trial.contains(name);
    model.failed_looks = 0;
    model.settle_until = timer_.Now() + 5 * options_.settle;
  };
  for (ModelSettings& settings : models) {
    Model& model = model_of(settings.name);
    model.labels = std::exchange(settings.labels, {});
    std::erase_if(model.led_to, [&model](const auto& led) { return !model.labels.contains(led.first); });
    model.aliases = std::exchange(settings.aliases, {});
    if (!is_asked(settings.name) && !model.faulty && model.settings == settings) continue;
    begin(settings.name, model);
    model.faulty = false;
    model.fault = absl::OkStatus();
    model.settings = std::move(settings);
  }
  for (const FaultyModel& one : faulty) {
    Model& model = model_of(one.name);
    const Status fault(StatusCode::kInvalidArgument, one.reason);
    if (!is_asked(one.name) && model.faulty && model.fault == fault) continue;
    begin(one.name, model);
    model.look = model.awaits_copy = false;
    model.faulty = true;
    if (model.fault != fault) metrics_.CountLoad(one.name, fault);
    model.fault = fault;
    LogError("Model {} cannot be served: {}", one.name, one.reason);
  }
  RetireUnwanted();
  loads_pending_ = woken_ = watch_changed_ = true;
  Publish();
}

// On the watcher's thread, or one of the mirror's.
void Manager::OnFolderChange(const std::string& path) {
  MutexLock lock(&mutex_);
  for (auto& [name, model] : models_) {
    if (!model->wanted || model->faulty || model->settings.base_path != path) continue;
    model->look = woken_ = true;
  }
}

// On the timer's thread.
void Manager::OnDue() {
  MutexLock lock(&mutex_);
  timer_at_ = kNoDeadline;
  loads_pending_ = woken_ = due_ = true;
}

// One callback, for what is due first.
void Manager::ArmTimer() {
  TimePoint next = kNoDeadline;
  for (const auto& [name, model] : models_) {
    if (!model->wanted || model->faulty) continue;
    next = std::min(next, model->look_at);
    for (const auto& [number, entry] : model->entries) {
      if (entry.wanted && entry.state == VersionState::kFailed) next = std::min(next, entry.retry_at);
      next = std::min({next, entry.rouse_at, IdleAt(*model, entry)});
    }
  }
  if (next == timer_at_ || shutting_down_) return;
  if (timer_at_ != kNoDeadline) timer_.Cancel(timer_id_);
  timer_at_ = next;
  if (next == kNoDeadline) return;
  timer_id_ = timer_.Schedule(next, [waker = waker_] {
    MutexLock lock(&waker->mutex);
    if (waker->manager != nullptr) waker->manager->OnDue();
  });
}

// On one of the mirror's threads.
std::set<int64_t> Manager::VersionsInUse(const std::string& base_path) const {
  MutexLock lock(&mutex_);
  std::set<int64_t> versions;
  for (const auto& [name, model] : models_) {
    for (const auto& [number, entry] : model->entries) {
      const bool serves = entry.slot != nullptr && entry.served.settings.base_path == base_path;
      const bool loads = entry.placer != nullptr && entry.tried.settings.base_path == base_path;
      if (serves || loads) versions.insert(number);
    }
  }
  return versions;
}

void Manager::WatchFolders() {
  std::vector<std::string> paths;
  std::vector<CloudMirror::Wanted> clouds;
  {
    MutexLock lock(&mutex_);
    if (!std::exchange(watch_changed_, false)) return;
    for (const auto& [name, model] : models_) {
      if (!model->wanted) continue;
      const ModelSettings& settings = model->settings;
      if (IsCloudUrl(settings.base_path)) {
        // Of a faulty one too: what serves of it goes on.
        clouds.push_back({settings.base_path, settings.version_policy, std::exchange(model->list, false)});
      } else if (!model->faulty) {
        paths.push_back(settings.base_path);
      }
    }
  }
  if (watcher_ != nullptr) watcher_->Watch(std::move(paths));
  mirror_->Want(std::move(clouds));
}

void Manager::WaitForLoads() {
  {
    MutexLock lock(&mutex_);
    mutex_.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !loads_pending_ || shutting_down_; });
  }
  TellReadiness();  // the Manager's thread may not have come to it yet
}

void Manager::Run() {
  NameThread("sy-manager");
  FindDevices();
  while (true) {
    CloseRetired();
    DestroyDrained();
    std::vector<std::shared_ptr<Placer>> discarded;
    {
      MutexLock lock(&mutex_);
      const auto wake = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return woken_ || !retired_.empty() || !drained_.empty() || !discarded_.empty() || (stopping_ && draining_.empty());
      };
      mutex_.Await(wake);
      discarded.swap(discarded_);
      if (!retired_.empty() || !drained_.empty()) continue;
      if (stopping_ && draining_.empty()) return;
      woken_ = false;
      TakeDue();
    }
    discarded.clear();
    WatchFolders();
    while (LookAtFolders()) {
    }
    StepPlacers();
    TellReadiness();
  }
}

void Manager::FindDevices() {
  DeviceList devices = runtime_.Devices(kListLimit);
  std::vector<AbsentDevice> absent;
  if (options_.explain_absent) absent = options_.explain_absent(devices);
  monitor_->SetDevices(std::move(devices.found), absent);
  MutexLock lock(&mutex_);
  absent_ = std::move(absent);
}

// Looks at the folder of one model that asks for it. False when none does.
bool Manager::LookAtFolders() {
  ModelSettings settings;
  {
    MutexLock lock(&mutex_);
    const auto asks =
        std::find_if(models_.begin(), models_.end(), [](const auto& m) { return m.second->wanted && m.second->look; });
    // The mirror is to know first what is wanted.
    if (asks == models_.end() || shutting_down_ || watch_changed_) return false;
    asks->second->look = false;
    asks->second->pending = true;
    settings = asks->second->settings;
  }
  const auto found = FindVersions(settings.base_path);
  MutexLock lock(&mutex_);
  const auto model = models_.find(settings.name);
  // If it was left out or changed meanwhile, that change asked for another look.
  if (model == models_.end() || !model->second->wanted || model->second->settings != settings) return true;
  model->second->awaits_copy = !found;
  if (found) Reconcile(*model->second, *found);
  return true;
}

void Manager::StepPlacers() {
  std::vector<std::shared_ptr<Placer>> placers;
  {
    MutexLock lock(&mutex_);
    StartLoads();
    DecideSleep();
  }
  SleepAndRouse();
  {
    MutexLock lock(&mutex_);
    for (const auto& [name, model] : models_) {
      for (const auto& [number, entry] : model->entries) {
        if (entry.placer != nullptr) placers.push_back(entry.placer);
        if (entry.slot != nullptr) placers.push_back(entry.slot->get()->placer());
      }
    }
    // Calls of a Version that goes may still be running on a device that is lost.
    for (const auto& slot : draining_) placers.push_back(slot->get()->placer());
  }
  for (const auto& placer : placers) placer->Step();
  MutexLock lock(&mutex_);
  for (auto& [name, model] : models_) {
    for (auto& [number, entry] : model->entries) {
      const bool serves_others = entry.slot != nullptr && entry.slot->get()->placer()->files()->TakeNews();
      const bool loads_others = entry.placer != nullptr && entry.placer->files()->TakeNews();
      if ((serves_others || loads_others) && model->wanted && !model->faulty) model->look = woken_ = true;
      if (entry.slot != nullptr) CountRouse(name, entry);
      if (entry.placer != nullptr) TakeLoad(name, *model, entry);
    }
    if (model->wanted) RetireSuperseded(*model);
  }
  RetireUnwanted();
  ForgetGone();
  for (const auto& [name, model] : models_) {
    model->pending = LoadPending(*model, timer_.Now());
    model->on_trial = model->on_trial && model->pending;
  }
  loads_pending_ = due_ || LoadsPending();
  first_loads_tried_ = first_loads_tried_ || !loads_pending_;
  Publish();
  ArmTimer();
}

// A label moves when the version that it is to name serves: until then it leads where it led.
int64_t Manager::LeadOf(Model& model, const std::string& label, int64_t named) {
  const auto serves = [&model](int64_t number) {
    const auto entry = model.entries.find(number);
    return entry != model.entries.end() && entry->second.slot != nullptr;
  };
  int64_t& led_to = model.led_to.try_emplace(label, named).first->second;
  if (serves(named) || !serves(led_to)) led_to = named;
  return led_to;
}

// An alias moves when the model that it is given to serves, as a label does. It may have been the name of what it led to.
std::string Manager::AliasLeadsTo(const std::string& alias, const std::string& owner) const {
  const auto serves = [this](const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto model = models_.find(name);
    return model != models_.end() && std::any_of(model->second->entries.begin(), model->second->entries.end(),
                                                 [](const auto& item) { return item.second.slot != nullptr; });
  };
  if (serves(owner)) return owner;
  const auto led = alias_led_to_.find(alias);
  const std::string& before = led == alias_led_to_.end() ? alias : led->second;
  return serves(before) ? before : owner;
}

void Manager::Publish() {
  auto next = std::make_shared<Snapshot>();
  bool none = true;  // is wanted
  bool any = false;
  bool all = true;
  std::map<std::string, Snapshot::ModelRow> lent;
  for (const auto& [name, model] : models_) {
    if (!model->wanted && !model->lent) continue;
    Snapshot::ModelRow& row = model->wanted ? next->models[name] : lent[name];
    row.name = name;
    for (const auto& [label, number] : model->labels) row.labels[label] = LeadOf(*model, label, number);
    row.status = model->fault;
    if (!row.status.ok())
      row.status = Error(StatusCode::kUnavailable, "Model {} cannot be served: {}", name, Message(model->fault));
    bool serves = false;
    for (const auto& [number, entry] : model->entries) {
      Snapshot::VersionRow& version = row.versions[number];
      if (entry.slot != nullptr) {
        version.slot = entry.slot;
        const bool this_serves = entry.slot->get()->executor().serving();
        if (this_serves || !serves) row.serving = entry.slot;
        serves = serves || this_serves;
      } else if (entry.placer != nullptr && !entry.error.ok()) {
        version.status =
            Error(StatusCode::kUnavailable, "Model {} version {} cannot be served now: {}", name, number, Message(entry.error));
        row.status = version.status;
      } else if (entry.state == VersionState::kFailed) {
        version.status =
            Error(StatusCode::kUnavailable, "Model {} version {} failed to load: {}", name, number, Message(entry.error));
        row.status = version.status;
      } else if (entry.state == VersionState::kGone) {
        version.status = Error(StatusCode::kNotFound, "Model version is retired - Name: {}; Version: {}", name, number);
      } else {
        version.status = NotLoadedYet(name);
      }
    }
    if (row.serving == nullptr && row.status.ok()) row.status = NotLoadedYet(name);
    none = none && !model->wanted;
    any = any || (serves && model->wanted);
    all = all && (serves || !model->wanted);
  }
  std::map<std::string, std::string, std::less<>> led_to;
  for (const auto& [name, model] : models_) {
    if (!model->wanted) continue;
    for (const std::string& alias : model->aliases) {
      if (next->models.contains(alias)) continue;
      const std::string& target = led_to[alias] = AliasLeadsTo(alias, name);
      const auto row = lent.find(target);
      next->models.emplace(alias, row != lent.end() ? row->second : next->models[target]);
    }
  }
  alias_led_to_ = std::move(led_to);
  const bool enough = none || (options_.ready_needs_all ? all : any);
  ready_.store(first_loads_tried_ && !shutting_down_ && enough);
  next->id = ++last_snapshot_id;
  snapshot_.Publish(std::move(next));
}

std::string Manager::OwnName(std::string_view name) const {
  const Snapshot& snapshot = snapshot_.Current();
  const auto model = snapshot.models.find(name);
  return model == snapshot.models.end() ? std::string(name) : model->second.name;
}

StatusOr<std::optional<int64_t>> Manager::VersionOf(std::string_view name, const VersionLabel& label) const {
  return VersionIn(snapshot_.Current(), name, label);
}

StatusOr<std::optional<int64_t>> Manager::VersionIn(const Snapshot& snapshot, std::string_view name,
                                                    const VersionLabel& label) {
  if (label.name.empty()) return std::optional<int64_t>();
  const auto model = snapshot.models.find(name);
  if (model == snapshot.models.end()) {
    return Error(StatusCode::kNotFound, "Model with requested name is not found - Name: {}", name);
  }
  const auto found = model->second.labels.find(label.name);
  if (found != model->second.labels.end()) return std::optional<int64_t>(found->second);
  std::string labels;
  for (const auto& [known, version] : model->second.labels) labels += (labels.empty() ? "" : ", ") + known;
  if (labels.empty()) labels = "none";
  const size_t sign = label.name.starts_with('-') ? 1 : 0;
  if (label.or_number && label.name.size() > sign && label.name.find_first_not_of("0123456789", sign) == std::string::npos) {
    // A number, and no label: of more than 64 bits.
    return Error(StatusCode::kNotFound, "Model with requested version is not found - Name: {}; Version: {}", name,
                 label.name.substr(0, 80));
  }
  if (label.or_number) {
    return InvalidArgument(
        "invalid model version format - Expected: a number, a label of the model ({}), or nothing for the default version; "
        "Actual: {}",
        labels, Quote(label.name));
  }
  return Error(StatusCode::kNotFound,
               "Model with requested version label is not found - Name: {}; Label: {}; the model's labels: {}", name,
               Quote(label.name), labels);
}

StatusOr<Handle> Manager::Acquire(std::string_view name, std::optional<int64_t> version, const VersionLabel& label) const {
  while (true) {
    const Snapshot& snapshot = snapshot_.Current();
    const uint64_t asked = snapshot.id;
    // Of the same map: a label that moves leads to a version that serves.
    if (!label.name.empty()) {
      SY_ASSIGN_OR_RETURN(version, VersionIn(snapshot, name, label));
    }
    const auto model = snapshot.models.find(name);
    if (model == snapshot.models.end()) {
      return Error(StatusCode::kNotFound, "Model with requested name is not found - Name: {}", name);
    }
    const std::shared_ptr<VersionSlot>* slot = &model->second.serving;
    if (version) {
      const auto row = model->second.versions.find(*version);
      if (row == model->second.versions.end()) {
        if (model->second.versions.empty()) return model->second.status;
        return Error(StatusCode::kNotFound, "Model with requested version is not found - Name: {}; Version: {}", name,
                     *version);
      }
      slot = &row->second.slot;
      if (*slot == nullptr) return row->second.status;
    }
    if (*slot == nullptr) return model->second.status;
    if ((*slot)->Acquire()) return Handle(*slot);
    // It was closed since: what took its place is in the next map, which is there before anything is closed.
    if (snapshot_.Current().id == asked) return Error(StatusCode::kUnavailable, "Model {} is being unloaded", name);
  }
}

StatusOr<PlacementReport> Manager::Placement(std::string_view name, std::optional<int64_t> version,
                                             const VersionLabel& label) const {
  SY_ASSIGN_OR_RETURN(const Handle handle, Acquire(name, version, label));
  PlacementReport report = handle->placer()->Report();
  if (handle->batcher() != nullptr) report.batching = handle->batcher()->Report();
  return report;
}

bool Manager::Ready() const { return ready_.load(); }

bool Manager::ModelReady(std::string_view model, std::optional<int64_t> version, const VersionLabel& label) const {
  const StatusOr<Handle> handle = Acquire(model, version, label);
  return handle.ok() && (*handle)->executor().serving();
}

void Manager::OnReadinessChange(absl::AnyInvocable<void(bool)> listener) {
  MutexLock lock(&listener_mutex_);
  readiness_listener_ = std::move(listener);
}

void Manager::TellReadiness() {
  MutexLock lock(&listener_mutex_);
  const bool ready = ready_.load();
  if (ready == told_ready_) return;
  told_ready_ = ready;
  if (readiness_listener_) readiness_listener_(ready);
}

void Manager::Shutdown() {
  {
    MutexLock lock(&mutex_);
    shutting_down_ = true;
    Publish();
  }
  TellReadiness();
}

bool Manager::Drain(TimePoint deadline) {
  sequences_->CloseAll();
  {
    MutexLock lock(&mutex_);
    for (auto& [name, model] : models_) {
      for (auto& [number, entry] : model->entries) Retire(entry);
    }
    Publish();
  }
  CloseRetired();
  constexpr Duration kLook = std::chrono::milliseconds(20);
  MutexLock lock(&mutex_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return retired_.empty() && draining_.empty() && drained_.empty();
  };
  Duration left = std::max(Duration::zero(), deadline - timer_.Now());
  // Seen twice: a call that is given up is nowhere for a moment, before it runs elsewhere.
  for (int held = 0; !mutex_.AwaitFor(std::min(left, kLook), idle); left -= kLook) {
    held = HeldByDevices() ? held + 1 : 0;
    if (left <= kLook || held == 2) return false;
  }
  return true;
}

// Whether nothing keeps the versions that go but inferences that were given up, which may never end.
bool Manager::HeldByDevices() const {
  return retired_.empty() && drained_.empty() && !draining_.empty() &&
         std::all_of(draining_.begin(), draining_.end(), [](const auto& slot) { return slot->get()->only_given_up(); });
}

}  // namespace switchyard
