#include "serving/manager.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "serving/executor.h"
#include "tensor/buffer.h"

namespace switchyard {

struct Manager::Entry {
  int64_t version = 0;
  std::string path;  // empty: the version's folder has no complete set of files
  VersionState state = VersionState::kWanted;
  Status error;
  std::shared_ptr<VersionSlot> slot;  // of the Version that serves
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

// One step towards what is wanted.
struct Manager::Job {
  enum class Kind { kNone, kLook, kLoad } kind = Kind::kNone;
  ModelSettings settings;
  int64_t version = 0;
  std::string path;
};

namespace {

std::atomic<uint64_t> last_snapshot_id{0};

Status NotLoadedYet(const std::string& model) {
  return Error(StatusCode::kUnavailable, "Model is not loaded yet - Name: {}; try again", model);
}

// Inputs of zeros that fit a static signature, for measuring.
struct ZeroInputs {
  explicit ZeroInputs(const Signature& signature) {
    for (const TensorSpec& spec : signature.inputs) {
      TensorView view{spec.type, spec.shape.ToShape()};
      view.bytes = *ByteCount(view.shape, ElementSize(spec.type));
      memory.push_back(Buffer::Allocate(view.bytes));
      std::fill_n(memory.back().data(), view.bytes, std::byte{0});
      view.data = memory.back().data();
      views.push_back(view);
    }
  }
  std::vector<Buffer> memory;
  std::vector<TensorView> views;
};

// With more than one stream, OpenVINO's infer() hands the work to a stream's thread and waits for it.
bool MayRunInline(const CompiledModel& model) {
  return model.facts().cpu_only && model.facts().num_streams == 1 && model.facts().steady_cost &&
         std::all_of(model.signature().inputs.begin(), model.signature().inputs.end(),
                     [](const TensorSpec& spec) { return spec.shape.is_static() && spec.type != ElementType::kBytes; });
}

}  // namespace

Manager::Manager(Runtime& runtime, Timer& timer, Options options)
    : runtime_(runtime), timer_(timer), options_(std::move(options)) {
  {
    MutexLock lock(&mutex_);
    Publish();
  }
  loader_ = std::thread([this] { LoaderLoop(); });
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
  loader_.join();
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
  loads_pending_ = true;
  Publish();
}

void Manager::WaitForLoads() {
  {
    MutexLock lock(&mutex_);
    mutex_.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !loads_pending_ || shutting_down_; });
  }
  TellReadiness();  // the loader's thread may not have come to it yet
}

void Manager::LoaderLoop() {
  while (true) {
    CloseRetired();
    DestroyDrained();
    Job job;
    {
      MutexLock lock(&mutex_);
      const auto wake = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return !retired_.empty() || !drained_.empty() || (loads_pending_ && !shutting_down_) ||
               (stopping_ && draining_.empty());
      };
      mutex_.Await(wake);
      if (!retired_.empty() || !drained_.empty()) continue;
      if (stopping_ && draining_.empty()) return;
      job = NextJob();
      loading_ = job.kind != Job::Kind::kNone;
      Publish();
    }
    if (job.kind == Job::Kind::kLook) {
      const StatusOr<std::vector<VersionFiles>> found = ListVersions(job.settings.base_path);
      MutexLock lock(&mutex_);
      loading_ = false;
      const auto model = models_.find(job.settings.name);
      // If it was left out or changed meanwhile, that change asked for another look.
      if (model != models_.end() && model->second->wanted && model->second->settings == job.settings) {
        Reconcile(*model->second, found);
      }
      Publish();
    } else if (job.kind == Job::Kind::kLoad) {
      LogInfo("Loading model {} version {} from {}", job.settings.name, job.version, job.path);
      StatusOr<std::unique_ptr<Version>> loaded = LoadVersion(job.settings, job.version, job.path);
      MutexLock lock(&mutex_);
      loading_ = false;
      Install(job.settings, job.version, std::move(loaded));
      Publish();
    }
    TellReadiness();
  }
}

Manager::Job Manager::NextJob() {
  for (const auto& [name, model] : models_) {
    if (!model->wanted) continue;
    if (std::exchange(model->look, false)) return Job{Job::Kind::kLook, model->settings};
    for (auto& [number, entry] : model->entries) {
      if (entry.state != VersionState::kWanted) continue;
      entry.state = VersionState::kLoading;
      return Job{Job::Kind::kLoad, model->settings, number, entry.path};
    }
  }
  loads_pending_ = false;
  first_loads_tried_ = true;
  return Job{};
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
    LogError("Model {} version {} cannot be loaded: {}", model.settings.name, files.version, Message(entry.error));
  }
}

StatusOr<std::unique_ptr<Version>> Manager::LoadVersion(const ModelSettings& settings, int64_t number,
                                                        const std::string& path) {
  SY_ASSIGN_OR_RETURN(
      std::shared_ptr<CompiledModel> model,
      runtime_.Load(LoadRequest{settings, number, path, options_.cache_dir,
                                settings.target_device.empty() ? RecommendDevice(runtime_.Devices()) : settings.target_device,
                                settings.plugin_config}));
  std::vector<std::unique_ptr<InferRequest>> requests;
  for (int i = 0; i < std::max(1, model->facts().optimal_requests); ++i) {
    SY_ASSIGN_OR_RETURN(std::unique_ptr<InferRequest> request, model->CreateInferRequest());
    requests.push_back(std::move(request));
  }
  Executor::Options options{settings.name, options_.max_queue};
  if (MayRunInline(*model)) {
    const ZeroInputs zeros(model->signature());
    const StatusOr<Duration> cost = MeasureCost(*requests.front(), zeros.views, timer_);
    if (cost.ok()) {
      options.inline_cost = *cost;
    } else {
      // A model that refuses zeros (an index out of range, say) is not broken: it only stays on the asynchronous path.
      LogDebug("Model {} version {}: no inference on zeros: {}", settings.name, number, Message(cost.status()));
    }
    // A cheap model takes as many requests as there are threads that may run it, so that none has to wait for another.
    const size_t threads = options_.inline_threads;
    while (cost.ok() && *cost < Executor::kInlineCost && settings.nireq == 0 && requests.size() < threads) {
      SY_ASSIGN_OR_RETURN(std::unique_ptr<InferRequest> request, model->CreateInferRequest());
      requests.push_back(std::move(request));
    }
  }
  auto executor = std::make_unique<Executor>(std::move(requests), timer_, std::move(options));
  return std::make_unique<Version>(settings, number, std::move(model), std::move(executor));
}

void Manager::Install(const ModelSettings& settings, int64_t number, StatusOr<std::unique_ptr<Version>> loaded) {
  const auto model = models_.find(settings.name);
  if (model == models_.end() || !model->second->wanted || shutting_down_) return;
  const auto found = model->second->entries.find(number);
  if (found == model->second->entries.end() || found->second.state != VersionState::kLoading) return;
  Entry& entry = found->second;
  if (!loaded.ok()) {
    entry.error = loaded.status();
    entry.state = VersionState::kFailed;
    LogError("Model {} version {} failed to load: {}", settings.name, number, Message(entry.error));
    return;
  }
  if (entry.slot != nullptr) retired_.push_back(std::move(entry.slot));
  entry.slot = std::make_shared<VersionSlot>(*std::move(loaded), [this](VersionSlot& slot) {
    MutexLock lock(&mutex_);
    const auto it = std::find_if(draining_.begin(), draining_.end(), [&](const auto& s) { return s.get() == &slot; });
    drained_.push_back(std::move(*it));
    draining_.erase(it);
  });
  entry.state = VersionState::kAvailable;
  const LoadFacts& facts = entry.slot->get()->facts();
  LogInfo("Model {} version {} is available on {}, loaded in {:.0f} ms", settings.name, number, facts.device, facts.load_ms);
}

void Manager::Retire(Entry& entry) {
  if (entry.slot != nullptr) {
    retired_.push_back(std::move(entry.slot));
    entry.slot = nullptr;
  }
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
    any = any || row.serving != nullptr;
    all = all && row.serving != nullptr;
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
    // A version that is loaded anew after a change goes on serving.
    const VersionState state = entry.slot != nullptr ? VersionState::kAvailable : entry.state;
    status.versions.push_back(VersionStatus{number, state, entry.error});
  }
  if (status.versions.empty()) {
    status.versions.push_back(VersionStatus{0, model.fault.ok() ? VersionState::kWanted : VersionState::kFailed, model.fault});
  }
  return status;
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

bool Manager::ModelReady(std::string_view model, std::optional<int64_t> version) const { return Acquire(model, version).ok(); }

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
  {
    MutexLock lock(&mutex_);
    for (auto& [name, model] : models_) {
      for (auto& [number, entry] : model->entries) Retire(entry);
    }
    Publish();
  }
  CloseRetired();
  MutexLock lock(&mutex_);
  const auto idle = [this]()
                        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return retired_.empty() && draining_.empty() && !loading_; };
  const Duration left = std::max(Duration::zero(), deadline - timer_.Now());
  return mutex_.AwaitFor(left, idle);
}

}  // namespace switchyard
