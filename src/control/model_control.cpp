#include "control/model_control.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/log.h"
#include "base/thread_name.h"
#include "config/config_file.h"
#include "config/config_reading.h"
#include "config/model_values.h"
#include "config/text.h"
#include "control/config_check.h"
#include "control/control_internal.h"
#include "repository/cloud/mirror.h"
#include "repository/files_state.h"

namespace switchyard {

namespace {

// How often the Manager is asked whether loads were tried, while somebody waits for that.
constexpr Duration kLoadPoll = std::chrono::milliseconds(10);

Status NotKnown(const std::string& model) {
  return Error(StatusCode::kNotFound,
               "Model with requested name is not found - Name: {}; the server knows no settings for it: give them as the "
               "parameter config, or name the model in config.json",
               model);
}

// What serves: each Version is an object of its own, whose address tells it from the one that takes its place.
std::string Served(const Manager& manager) {
  std::string text;
  for (const ModelStatus& model : manager.Statuses()) {
    for (const VersionStatus& version : model.versions) {
      const auto handle = manager.Acquire(model.name, version.version);
      if (handle.ok()) text += fmt::format("{}/{}@{};", model.name, version.version, fmt::ptr(&**handle));
    }
  }
  return text;
}

std::string_view StateName(VersionState state) {
  switch (state) {
    case VersionState::kAvailable:
      return "READY";
    case VersionState::kWanted:
    case VersionState::kLoading:
      return "LOADING";
    case VersionState::kUnloading:
      return "UNLOADING";
    case VersionState::kGone:
    case VersionState::kFailed:
      break;
  }
  return "UNAVAILABLE";
}

}  // namespace

ModelControl::ModelControl(Manager& manager, Runtime& runtime, Options options)
    : manager_(manager),
      runtime_(runtime),
      options_(std::move(options)),
      wanted_(options_.mode == ModelControlMode::kExplicit),
      watch_(options_.poll),
      last_server_(options_.server) {
  if (!options_.config_path.empty()) {
    // Before the text: a change that comes in between is seen at the next look.
    const ConfigStamp stamp = ConfigStamp::Of(options_.config_path);
    // Where it changed since the start read it, the first look finds that out. A pipe can be read but once.
    std::error_code error;
    const bool file = std::filesystem::is_regular_file(options_.config_path, error);
    const auto text = file ? ReadConfigText(options_.config_path) : StatusOr<std::string>(options_.config_text);
    if (text.ok() && *text == options_.config_text) watch_.Read(stamp, false, std::chrono::steady_clock::now());
  }
  wanted_.SetFile(options_.models, options_.faulty);
  {
    MutexLock lock(&mutex_);
    names_ = wanted_.Names();
  }
}

void ModelControl::Start() {
  manager_.SetWanted(wanted_.Models(), wanted_.FaultyModels());
  if (options_.mode == ModelControlMode::kPoll && options_.poll > Duration::zero() && !options_.config_path.empty()) {
    watcher_ = std::make_unique<FolderWatcher>(options_.poll, FolderWatcher::Means::kNotify, [this](const std::string&) {
      MutexLock lock(&mutex_);
      file_changed_ = true;
    });
    WatchFile();
  }
  thread_ = std::thread([this] { Run(); });
}

ModelControl::~ModelControl() { Finish(); }

void ModelControl::Finish() {
  Stop();
  if (thread_.joinable()) {
    thread_.join();
  } else {
    AnswerStopped();
  }
  watcher_.reset();
}

void ModelControl::Stop() {
  stop_check_.store(true);
  MutexLock lock(&mutex_);
  stopping_ = true;
}

void ModelControl::Run() {
  NameThread("sy-control");
  const bool watches = watcher_ != nullptr;
  for (;;) {
    std::optional<Job> job;
    {
      MutexLock lock(&mutex_);
      const auto wake = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || file_changed_ || !jobs_.empty(); };
      if (!waiting_.empty()) {
        mutex_.AwaitFor(kLoadPoll, wake);
      } else if (watches) {
        mutex_.AwaitFor(std::max(Duration::zero(), watch_.next_look() - std::chrono::steady_clock::now()), wake);
      } else {
        mutex_.Await(wake);
      }
      if (stopping_) break;
      if (std::exchange(file_changed_, false)) watch_.Hint(std::chrono::steady_clock::now());
      if (!jobs_.empty()) {
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
    }
    if (job) job->run(std::move(job->done));
    AnswerWaiting();
    if (watches && std::chrono::steady_clock::now() >= watch_.next_look()) LookAtFile();
  }
  AnswerStopped();
}

ControlOutcome ModelControl::Stopped() { return Fault(Error(StatusCode::kUnavailable, "The server is shutting down")); }

void ModelControl::AnswerStopped() {
  const ControlOutcome stopped = Stopped();
  for (Waiting& waiting : waiting_) waiting.done(stopped);
  waiting_.clear();
  for (Done& done : joined_) done(stopped);
  joined_.clear();
  std::deque<Job> jobs;
  {
    MutexLock lock(&mutex_);
    jobs.swap(jobs_);
  }
  for (Job& job : jobs) job.done(stopped);
}

void ModelControl::AnswerWaiting() {
  std::list<std::pair<Waiting, ControlOutcome>> ended;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    const bool pending = std::any_of(it->models.begin(), it->models.end(),
                                     [this](const std::string& model) { return manager_.LoadPending(model); });
    if (pending) {
      ++it;
      continue;
    }
    ControlOutcome outcome = OutcomeOf(*it);
    ended.emplace_back(std::move(*it), std::move(outcome));
    it = waiting_.erase(it);
  }
  if (ended.empty()) return;
  // The latest first: each restores what was before it.
  WantedSet wanted = wanted_;
  std::set<std::string> restored;
  for (auto it = ended.rbegin(); it != ended.rend(); ++it) {
    if (it->second.status.ok()) continue;
    for (const std::string& name : it->first.changed) {
      const auto words = it->first.words.find(name);
      // A later call has the last word.
      if (words == it->first.words.end() || wanted.LastWord(name) != words->second.second || FailureOf(name).ok()) continue;
      if (words->second.first == words->second.second) continue;
      wanted.Restore(name, words->second.first);
      restored.insert(name);
    }
  }
  if (!restored.empty()) {
    wanted_ = std::move(wanted);
    TellManager(restored);
  }
  for (auto& [waiting, outcome] : ended) waiting.done(outcome);
}

// Why a load of the model that was tried has failed: the first version that did, or that there is none whose files are whole.
Status ModelControl::FailureOf(const std::string& model) const {
  const auto status = manager_.StatusOf(model);
  if (!status.ok()) return absl::OkStatus();
  const std::vector<VersionStatus>& versions = status->versions;
  const bool serves = std::any_of(versions.begin(), versions.end(),
                                  [](const VersionStatus& version) { return version.state == VersionState::kAvailable; });
  std::vector<int64_t> unfinished;
  for (const VersionStatus& version : versions) {
    // As at a start: what is not whole keeps no other from being served.
    if (version.state == VersionState::kGone || (version.untaken && serves)) continue;
    if (version.untaken && version.error.ok()) unfinished.push_back(version.version);
    if (version.error.ok()) continue;
    const bool goes_on = version.state == VersionState::kAvailable;
    return Error(version.error.code(), "Model {} version {} could not be loaded{}: {}", model, version.version,
                 goes_on ? "; what was loaded before goes on serving" : "", Message(version.error));
  }
  if (serves || unfinished.empty()) return absl::OkStatus();
  return Error(StatusCode::kUnavailable,
               "Model {} could not be loaded: the files of version {} are not whole, since they still change or are marked {}; "
               "load it again when they are, or mark them {}",
               model, fmt::join(unfinished, ", "), kIncompleteMark, kCompleteMark);
}

ControlOutcome ModelControl::OutcomeOf(const Waiting& waiting) const {
  ControlOutcome outcome;
  outcome.changed = !waiting.changed.empty() || Served(manager_) != waiting.before;
  if (!waiting.failures_are_errors) return outcome;
  for (const std::string& name : waiting.changed) {
    outcome.status = FailureOf(name);
    if (!outcome.status.ok()) break;
  }
  return outcome;
}

// Answers a call that --model_control or the end of the server forbids.
bool ModelControl::Refused(Done& done) const {
  if (options_.mode == ModelControlMode::kNone) {
    done(Fault(Error(StatusCode::kPermissionDenied,
                     "What is served is fixed at the start, because of --model_control none; start the server with poll or "
                     "explicit to change it")));
    return true;
  }
  return false;
}

void ModelControl::Enqueue(absl::AnyInvocable<void(Done)> run, Done done) {
  {
    MutexLock lock(&mutex_);
    if (!stopping_) {
      jobs_.push_back(Job{std::move(run), std::move(done)});
      return;
    }
  }
  done(Stopped());
}

void ModelControl::Load(std::string model, std::optional<std::string> entry, Done done) {
  if (Refused(done)) return;
  Enqueue([this, model = std::move(model), entry = std::move(entry)](Done answer) { RunLoad(model, entry, std::move(answer)); },
          std::move(done));
}

void ModelControl::Unload(std::string model, Done done) {
  if (Refused(done)) return;
  Enqueue([this, model = std::move(model)](Done answer) { RunUnload(model, std::move(answer)); }, std::move(done));
}

void ModelControl::Replace(std::vector<ListedModel> models, Done done) {
  if (Refused(done)) return;
  Enqueue([this, models = std::move(models)](Done answer) { RunReplace(models, std::move(answer)); }, std::move(done));
}

std::string ModelControl::BaseDir() const {
  if (options_.config_path.empty()) return {};
  return std::filesystem::path(options_.config_path).parent_path().string();
}

Inventory ModelControl::Devices() {
  Inventory devices;
  for (const DeviceReport& report : manager_.Devices()) {
    if (report.state != DeviceState::kAbsent) devices.push_back(report.info);
  }
  // The Manager may not have looked yet.
  return devices.empty() ? runtime_.Devices(kListLimit).found : devices;
}

// Whether these models, and all that would be served with them, can be taken.
std::vector<ConfigFault> ModelControl::Check(const std::vector<CheckedModel>& models, const WantedSet* before) {
  CheckEnvironment environment{.runtime = runtime_,
                               .inventory = Devices(),
                               .device_plugins = options_.device_plugins,
                               .strict = options_.strict,
                               .read_models = false,
                               .cancelled = &stop_check_,
                               .storage_deadline = std::chrono::steady_clock::now() + kLongestListing};
  std::vector<ConfigFault> faults;
  for (const CheckedModel& model : models) {
    if (stop_check_.load()) break;
    environment.as_before = before != nullptr && before->HasEntry(model.settings);
    CheckModel(model, environment, &faults);
  }
  return faults;
}

void ModelControl::Apply(WantedSet wanted, Waiting waiting) {
  for (const std::string& name : waiting.changed) {
    waiting.words[name] = {wanted_.LastWord(name), wanted.LastWord(name)};
  }
  wanted_ = std::move(wanted);
  waiting.before = Served(manager_);
  std::optional<std::set<std::string>> asked;
  if (!waiting.looks_at_all) asked = waiting.changed;
  waiting_.push_back(std::move(waiting));
  TellManager(asked);
}

// What is wanted by now; nothing is tried anew of models that are not asked for. Loads that are to be taken back if they fail
// are on trial.
void ModelControl::TellManager(const std::optional<std::set<std::string>>& asked) {
  {
    MutexLock lock(&mutex_);
    names_ = wanted_.Names();
  }
  std::set<std::string> on_trial;
  for (const Waiting& waiting : waiting_) {
    if (!waiting.failures_are_errors) continue;
    for (const auto& [name, words] : waiting.words) {
      if (words.first != words.second) on_trial.insert(name);
    }
  }
  manager_.SetWanted(wanted_.Models(), wanted_.FaultyModels(), on_trial, asked);
}

void ModelControl::RunLoad(const std::string& called, const std::optional<std::string>& entry, Done done) {
  WantedSet wanted = wanted_;
  const std::string own = wanted.OwnName(called);
  // Settings are of a model by its own name: there may be a new one.
  const std::string model = entry ? called : own;
  const ModelSettings* const known = wanted.Known(model);
  CheckedModel checked;
  if (entry) {
    EntryReading reading = ReadModelEntry(*entry, model, known != nullptr ? known->base_path : "", BaseDir(), options_.strict);
    if (!reading.faults.empty()) return done(Refuse("The config of model " + model, std::move(reading.faults)));
    checked = std::move(reading.model);
    wanted.Load(checked.settings);
  } else if (known != nullptr) {
    checked.settings = *known;
    wanted.LoadKnown(model);
  } else if (const FaultyModel* const faulty = wanted.Faulty(model)) {
    return done(Fault(InvalidArgument("Model {} cannot be served: {}", model, faulty->reason)));
  } else {
    return done(Fault(NotKnown(model)));
  }
  std::vector<ConfigFault> faults = Check({checked});
  if (stop_check_.load()) return done(Stopped());
  if (auto conflict = wanted.Conflict({checked}, "/aliases")) faults.push_back(*std::move(conflict));
  if (!faults.empty()) return done(Refuse("Loading model " + model, std::move(faults)));
  LogInfo("Model {} is to be loaded, as a call asks", model);
  Apply(std::move(wanted),
        Waiting{.models = {model}, .changed = {model}, .failures_are_errors = true, .before = {}, .done = std::move(done)});
}

void ModelControl::RunUnload(const std::string& called, Done done) {
  const std::string model = wanted_.OwnName(called);
  if (wanted_.Names().count(model) == 0) {
    return done(Fault(Error(StatusCode::kNotFound, "Model with requested name is not found - Name: {}", model)));
  }
  WantedSet wanted = wanted_;
  wanted.Unload(model);
  LogInfo("Model {} is to be unloaded, as a call asks", model);
  Apply(std::move(wanted), Waiting{.models = {}, .changed = {model}, .before = {}, .done = std::move(done)});
}

void ModelControl::RunReplace(const std::vector<ListedModel>& models, Done done) {
  WantedSet wanted = wanted_;
  std::set<std::string> names;
  std::vector<CheckedModel> checked;
  std::vector<ConfigFault> faults;
  for (const std::string& name : wanted.Names()) wanted.Unload(name);
  for (size_t i = 0; i < models.size(); ++i) {
    const ListedModel& listed = models[i];
    CheckedModel model{.settings = {}, .pointer = fmt::format("/model_config_list/config/{}", i), .faulty_keys = {}};
    if (const ModelSettings* known = wanted.Known(listed.name)) model.settings = *known;
    model.settings.name = listed.name;
    model.settings.version_policy = listed.version_policy;
    model.settings.labels = listed.labels;
    const auto refuse = [&](const char* key, std::string expected, std::string got) {
      faults.push_back({model.pointer + key, std::move(expected), std::move(got)});
    };
    if (!CheckModelName(listed.name).ok()) refuse("/name", "a name without control characters", Quote(listed.name));
    if (!names.insert(listed.name).second) refuse("/name", "a name that no other model has", Quote(listed.name));
    const auto path = ResolveBasePath(listed.base_path, BaseDir());
    if (!path.ok() || listed.base_path.empty()) {
      refuse("/base_path", "a folder of version folders, or a model file", Quote(listed.base_path));
      continue;
    }
    model.settings.base_path = *path;
    wanted.Load(model.settings);
    checked.push_back(std::move(model));
  }
  for (ConfigFault& fault : Check(checked)) faults.push_back(std::move(fault));
  if (stop_check_.load()) return done(Stopped());
  if (auto conflict = wanted.Conflict(checked, "/model_config_list")) faults.push_back(*std::move(conflict));
  if (!faults.empty()) return done(Refuse("The list of models", std::move(faults)));
  LogInfo("{} models are to be served and no others, as a call asks", models.size());
  Apply(std::move(wanted),
        Waiting{.models = names, .changed = names, .failures_are_errors = true, .before = {}, .done = std::move(done)});
}

std::vector<IndexedModel> ModelControl::Index() const {
  std::set<std::string> names;
  {
    MutexLock lock(&mutex_);
    names = names_;
  }
  std::vector<IndexedModel> index;
  for (const ModelStatus& model : manager_.Statuses()) {
    names.erase(model.name);
    for (const VersionStatus& version : model.versions) {
      IndexedModel row{.name = model.name,
                       .version = version.version == 0 ? "" : std::to_string(version.version),
                       .state = std::string(StateName(version.state)),
                       .reason = std::string(Message(version.error))};
      if (version.state == VersionState::kGone && row.reason.empty()) row.reason = "unloaded";
      index.push_back(std::move(row));
    }
  }
  for (const std::string& name : names) index.push_back({name, "", "UNAVAILABLE", "not loaded"});
  // Versions stay in order.
  std::stable_sort(index.begin(), index.end(), [](const IndexedModel& a, const IndexedModel& b) { return a.name < b.name; });
  return index;
}

}  // namespace switchyard
