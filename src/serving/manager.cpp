#include "serving/manager.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "device/placement.h"
#include "serving/absent_devices.h"
#include "serving/batcher.h"
#include "serving/executor.h"

namespace switchyard {

struct Manager::Entry {
  int64_t version = 0;
  std::string path;  // empty: the version's folder has no complete set of files
  VersionState state = VersionState::kWanted;
  Status error;
  std::shared_ptr<VersionSlot> slot;  // of the Version that serves
  std::shared_ptr<Placer> placer;     // kLoading: of the Version to come
};

struct Manager::Model {
  ModelSettings settings;
  Status fault;  // why none of its versions could be tried
  bool wanted = true;
  bool look = true;  // its folder has to be looked at
  std::map<int64_t, Entry> entries;
};

struct Manager::Snapshot {
  struct VersionRow {
    std::shared_ptr<VersionSlot> slot;  // null: not available, because of `status`
    Status status;
  };
  struct ModelRow {
    std::map<int64_t, VersionRow> versions;
    std::shared_ptr<VersionSlot> serving;  // the highest available version
    Status status;                         // why there is none
  };
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
                  .inline_threads = 2 * std::max(1u, std::thread::hardware_concurrency()),
                  .strict = settings.strict,
                  .explain_absent = FindAbsentDevices,
                  .max_image_pixels = settings.max_image_pixels,
                  .sequence_idle = std::chrono::minutes(settings.sequence_cleaner_poll_wait_minutes)};
  for (const auto& [name, library] : settings.device_plugins) options.device_plugins.push_back(name);
  return options;
}

Manager::Manager(Runtime& runtime, Timer& timer, Options options)
    : runtime_(runtime),
      timer_(timer),
      options_(std::move(options)),
      own_metrics_(options_.metrics == nullptr ? std::make_unique<MetricsRegistry>() : nullptr),
      metrics_(own_metrics_ != nullptr ? *own_metrics_ : *options_.metrics),
      decode_pool_(std::max(1u, std::thread::hardware_concurrency())) {
  DeviceMonitor::Options devices = options_.devices;
  devices.on_change = [this] { Wake(); };
  monitor_ = std::make_unique<DeviceMonitor>(runtime_, timer_, std::move(devices));
  {
    MutexLock lock(&mutex_);
    Publish();
  }
  thread_ = std::thread([this] { Run(); });
}

Manager::~Manager() {
  Shutdown();
  {
    MutexLock lock(&mutex_);
    for (auto& [name, model] : models_) {
      for (auto& [number, entry] : model->entries) Retire(entry);
    }
    stopping_ = true;
  }
  thread_.join();
  // Before the rest of this object: compilations that still run wake it when they end.
  std::vector<std::shared_ptr<Placer>> discarded;
  {
    MutexLock lock(&mutex_);
    discarded.swap(discarded_);
  }
  discarded.clear();
  monitor_.reset();
}

void Manager::Wake() {
  MutexLock lock(&mutex_);
  woken_ = true;
}

void Manager::SetWanted(std::vector<ModelSettings> models, std::vector<FaultyModel> faulty) {
  MutexLock lock(&mutex_);
  for (auto& [name, model] : models_) model->wanted = false;
  const auto model_of = [&](const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) -> Model& {
    std::unique_ptr<Model>& model = models_[name];
    if (model == nullptr) model = std::make_unique<Model>();
    model->wanted = true;
    model->look = true;
    return *model;
  };
  for (ModelSettings& settings : models) {
    Model& model = model_of(settings.name);
    model.fault = absl::OkStatus();
    model.settings = std::move(settings);
  }
  for (FaultyModel& faulty_model : faulty) {
    Model& model = model_of(faulty_model.name);
    model.look = false;
    LogError("Model {} cannot be served: {}", faulty_model.name, faulty_model.reason);
    model.fault = Status(StatusCode::kInvalidArgument, faulty_model.reason);
  }
  for (auto& [name, model] : models_) {
    if (model->wanted) continue;
    for (auto& [number, entry] : model->entries) Retire(entry);
  }
  loads_pending_ = woken_ = true;
  Publish();
}

void Manager::WaitForLoads() {
  {
    MutexLock lock(&mutex_);
    mutex_.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !loads_pending_ || shutting_down_; });
  }
  TellReadiness();  // the Manager's thread may not have come to it yet
}

void Manager::Run() {
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
    }
    discarded.clear();
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
    if (asks == models_.end() || shutting_down_) return false;
    asks->second->look = false;
    settings = asks->second->settings;
  }
  const StatusOr<std::vector<VersionFiles>> found = ListVersions(settings.base_path);
  MutexLock lock(&mutex_);
  const auto model = models_.find(settings.name);
  // If it was left out or changed meanwhile, that change asked for another look.
  if (model != models_.end() && model->second->wanted && model->second->settings == settings) {
    Reconcile(*model->second, found);
  }
  return true;
}

void Manager::StepPlacers() {
  std::vector<std::shared_ptr<Placer>> placers;
  {
    MutexLock lock(&mutex_);
    StartLoads();
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
      if (entry.placer != nullptr) TakeLoad(name, entry);
    }
  }
  loads_pending_ = LoadsPending();
  first_loads_tried_ = first_loads_tried_ || !loads_pending_;
  Publish();
}

bool Manager::LoadsPending() const {
  for (const auto& [name, model] : models_) {
    if (!model->wanted) continue;
    if (model->look) return true;
    for (const auto& [number, entry] : model->entries) {
      if (entry.state == VersionState::kWanted) return true;
      if (entry.placer != nullptr && entry.placer->phase() == Placer::Phase::kLoading) return true;
    }
  }
  return false;
}

void Manager::StartLoads() {
  if (shutting_down_) return;
  for (const auto& [name, model] : models_) {
    if (!model->wanted) continue;
    for (auto& [number, entry] : model->entries) {
      if (entry.state != VersionState::kWanted) continue;
      entry.state = VersionState::kLoading;
      if (entry.placer != nullptr) discarded_.push_back(std::exchange(entry.placer, nullptr));
      LogInfo("Loading model {} version {} from {}", name, number, entry.path);
      auto placer = MakePlacer(model->settings, number, entry.path);
      if (placer.ok()) {
        entry.placer = *std::move(placer);
      } else {
        Fail(name, entry, placer.status());
      }
    }
  }
}

void Manager::Reconcile(Model& model, const StatusOr<std::vector<VersionFiles>>& found) {
  std::vector<int64_t> available;
  if (found.ok()) {
    for (const VersionFiles& files : *found) available.push_back(files.version);
  }
  const std::vector<int64_t> wanted = WantedVersions(model.settings.version_policy, available);
  model.fault = found.status();
  if (found.ok() && wanted.empty()) {
    model.fault = Error(StatusCode::kNotFound,
                        "no version is there: expected {}/<number>/ with a model's files, or a model file itself as base path",
                        model.settings.base_path);
  }
  if (!model.fault.ok()) LogError("Model {} cannot be served: {}", model.settings.name, Message(model.fault));
  for (auto& [number, entry] : model.entries) {
    if (std::find(wanted.begin(), wanted.end(), number) == wanted.end()) Retire(entry);
  }
  if (!found.ok()) return;
  for (const VersionFiles& files : *found) {
    if (std::find(wanted.begin(), wanted.end(), files.version) == wanted.end()) continue;
    Entry& entry = model.entries[files.version];
    const bool serves =
        entry.slot != nullptr && entry.path == files.model_path && entry.slot->get()->settings() == model.settings;
    if (serves) continue;
    entry.version = files.version;
    entry.path = files.model_path;
    entry.state = VersionState::kWanted;  // a Version that serves goes on until the new one is there
    entry.error = absl::OkStatus();
    if (!entry.path.empty()) continue;
    entry.state = VersionState::kFailed;
    entry.error = Error(StatusCode::kNotFound, "the folder of version {} under {} holds no complete set of model files",
                        files.version, model.settings.base_path);
    metrics_.CountLoad(model.settings.name, entry.error);
    LogError("Model {} version {} cannot be loaded: {}", model.settings.name, files.version, Message(entry.error));
  }
}

StatusOr<std::shared_ptr<Placer>> Manager::MakePlacer(const ModelSettings& settings, int64_t number, const std::string& path) {
  auto plan = MakePlan(settings, monitor_->inventory(), options_.device_plugins);
  if (plan.status().code() == StatusCode::kNotFound) {
    return Error(StatusCode::kNotFound, "{}{}", Message(plan.status()), ExplainAbsent(absent_, settings.target_device));
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
  Placer::Environment environment{.runtime = runtime_,
                                  .timer = timer_,
                                  .monitor = *monitor_,
                                  .max_queue = options_.max_queue,
                                  .inline_threads = options_.inline_threads,
                                  .strict = options_.strict,
                                  .wake = [this] { Wake(); },
                                  .on_failover = options_.on_failover,
                                  .on_retry = options_.on_retry,
                                  .sequences = sequences_,
                                  .sequence_idle = options_.sequence_idle};
  LoadRequest base{.settings = settings, .version = number, .model_path = path, .cache_dir = options_.cache_dir,
                   .cache_max_bytes = options_.cache_max_bytes};
  woken_ = true;
  return std::make_shared<Placer>(std::move(environment), std::move(base), *std::move(plan));
}

void Manager::Fail(const std::string& name, Entry& entry, const Status& why) {
  entry.error = why;
  entry.state = VersionState::kFailed;
  if (entry.placer != nullptr) discarded_.push_back(std::exchange(entry.placer, nullptr));
  metrics_.CountLoad(name, why);
  LogError("Model {} version {} failed to load: {}", name, entry.version, Message(why));
}

// What became of a load since the last look.
void Manager::TakeLoad(const std::string& name, Entry& entry) {
  const Placer::Phase phase = entry.placer->phase();
  if (phase == Placer::Phase::kFailed) return Fail(name, entry, entry.placer->why());
  entry.error = phase == Placer::Phase::kDown ? entry.placer->why() : absl::OkStatus();
  if (phase != Placer::Phase::kServing || shutting_down_) return;
  if (entry.slot != nullptr) retired_.push_back(std::move(entry.slot));
  const std::shared_ptr<Placer> placer = std::exchange(entry.placer, nullptr);
  auto version = std::make_unique<Version>(
      placer->settings(), entry.version, placer->signature(), placer->executor(), placer,
      metrics_.ForModel(name, entry.version),
      DecodeOptions{.pool = &decode_pool_,
                    // A pool that is free takes work also where nothing may queue.
                    .max_waiting = std::max<size_t>(options_.max_queue, std::max(1u, std::thread::hardware_concurrency())),
                    .max_image_pixels = options_.max_image_pixels});
  entry.slot = std::make_shared<VersionSlot>(std::move(version), [this](VersionSlot& slot) {
    MutexLock lock(&mutex_);
    const auto it = std::find_if(draining_.begin(), draining_.end(), [&](const auto& s) { return s.get() == &slot; });
    drained_.push_back(std::move(*it));
    draining_.erase(it);
  });
  entry.state = VersionState::kAvailable;
  metrics_.CountLoad(name, absl::OkStatus());
  LogInfo("Model {} version {} is available", name, entry.version);
}

void Manager::Retire(Entry& entry) {
  if (entry.slot != nullptr) {
    retired_.push_back(std::move(entry.slot));
    entry.slot = nullptr;
  }
  if (entry.placer != nullptr) discarded_.push_back(std::exchange(entry.placer, nullptr));
  entry.state = VersionState::kGone;
}

void Manager::CloseRetired() {
  std::vector<std::shared_ptr<VersionSlot>> closing;
  {
    MutexLock lock(&mutex_);
    closing.swap(retired_);
    draining_.insert(draining_.end(), closing.begin(), closing.end());
  }
  for (const auto& slot : closing) slot->Close();
}

void Manager::DestroyDrained() {
  std::vector<std::shared_ptr<VersionSlot>> drained;
  {
    MutexLock lock(&mutex_);
    drained.swap(drained_);
  }
  for (const auto& slot : drained) {
    const std::string name = slot->get()->model_name();
    const int64_t number = slot->get()->number();
    slot->Destroy();
    LogInfo("Model {} version {} is unloaded", name, number);
  }
}

void Manager::Publish() {
  auto next = std::make_shared<Snapshot>();
  bool any = false;
  bool all = true;
  for (const auto& [name, model] : models_) {
    if (!model->wanted) continue;
    Snapshot::ModelRow& row = next->models[name];
    row.status = model->fault;
    if (!row.status.ok())
      row.status = Error(StatusCode::kUnavailable, "Model {} cannot be served: {}", name, Message(model->fault));
    for (const auto& [number, entry] : model->entries) {
      Snapshot::VersionRow& version = row.versions[number];
      if (entry.slot != nullptr) {
        version.slot = row.serving = entry.slot;
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
    const bool serves = row.serving != nullptr && row.serving->get()->executor().serving();
    any = any || serves;
    all = all && serves;
  }
  const bool enough = next->models.empty() || (options_.ready_needs_all ? all : any);
  ready_.store(first_loads_tried_ && !shutting_down_ && enough);
  snapshot_ = std::move(next);
  snapshot_id_.store(++last_snapshot_id, std::memory_order_release);
}

const Manager::Snapshot& Manager::CurrentSnapshot() const {
  struct Cache {
    uint64_t id = 0;
    std::shared_ptr<const Snapshot> snapshot;
  };
  thread_local Cache cache;
  if (cache.id != snapshot_id_.load(std::memory_order_acquire)) {
    MutexLock lock(&mutex_);
    cache.snapshot = snapshot_;
    cache.id = snapshot_id_.load(std::memory_order_relaxed);
  }
  return *cache.snapshot;
}

StatusOr<Handle> Manager::Acquire(std::string_view name, std::optional<int64_t> version) const {
  const Snapshot& snapshot = CurrentSnapshot();
  const auto model = snapshot.models.find(name);
  if (model == snapshot.models.end()) {
    return Error(StatusCode::kNotFound, "Model with requested name is not found - Name: {}", name);
  }
  const std::shared_ptr<VersionSlot>* slot = &model->second.serving;
  if (version) {
    const auto row = model->second.versions.find(*version);
    if (row == model->second.versions.end()) {
      if (model->second.versions.empty()) return model->second.status;
      return Error(StatusCode::kNotFound, "Model with requested version is not found - Name: {}; Version: {}", name, *version);
    }
    slot = &row->second.slot;
    if (*slot == nullptr) return row->second.status;
  }
  if (*slot == nullptr) return model->second.status;
  if (!(*slot)->Acquire()) return Error(StatusCode::kUnavailable, "Model {} is being unloaded", name);
  return Handle(*slot);
}

ModelStatus Manager::StatusOf(const std::string& name, const Model& model) const {
  ModelStatus status{name, {}};
  for (const auto& [number, entry] : model.entries) {
    VersionStatus version{number, entry.state, entry.error};
    if (entry.slot != nullptr) {
      // A version that is loaded anew after a change goes on serving; one that no device serves does not.
      const Version& loaded = *entry.slot->get();
      version.state = loaded.executor().serving() ? VersionState::kAvailable : VersionState::kLoading;
      if (version.state == VersionState::kLoading) version.error = loaded.placer()->Why();
    }
    status.versions.push_back(version);
  }
  if (status.versions.empty()) {
    status.versions.push_back(VersionStatus{0, model.fault.ok() ? VersionState::kWanted : VersionState::kFailed, model.fault});
  }
  return status;
}

StatusOr<PlacementReport> Manager::Placement(std::string_view name, std::optional<int64_t> version) const {
  SY_ASSIGN_OR_RETURN(const Handle handle, Acquire(name, version));
  PlacementReport report = handle->placer()->Report();
  if (handle->batcher() != nullptr) report.batching = handle->batcher()->Report();
  return report;
}

std::vector<ModelStatus> Manager::Statuses() const {
  MutexLock lock(&mutex_);
  std::vector<ModelStatus> statuses;
  for (const auto& [name, model] : models_) statuses.push_back(StatusOf(name, *model));
  return statuses;
}

StatusOr<ModelStatus> Manager::StatusOf(std::string_view name) const {
  MutexLock lock(&mutex_);
  const auto model = models_.find(name);
  if (model == models_.end()) return Error(StatusCode::kNotFound, "Model with requested name is not found - Name: {}", name);
  return StatusOf(model->first, *model->second);
}

bool Manager::Ready() const { return ready_.load(); }

bool Manager::ModelReady(std::string_view model, std::optional<int64_t> version) const {
  const StatusOr<Handle> handle = Acquire(model, version);
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
  MutexLock lock(&mutex_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return retired_.empty() && draining_.empty() && drained_.empty();
  };
  const Duration left = std::max(Duration::zero(), deadline - timer_.Now());
  return mutex_.AwaitFor(left, idle);
}

}  // namespace switchyard
