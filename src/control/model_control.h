// The control plane: decides what is served, from config.json and from calls of the API, and gives it to the Manager.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/functional/any_invocable.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/timer.h"
#include "config/config_fault.h"
#include "config/config_reading.h"
#include "config/settings.h"
#include "control/config_watch.h"
#include "control/wanted_set.h"
#include "repository/folder_watcher.h"
#include "runtime/runtime.h"
#include "serving/manager.h"

namespace switchyard {

// What became of one change.
struct ControlOutcome {
  Status status;                    // InvalidArgument: refused, and nothing was changed
  std::vector<ConfigFault> faults;  // of a refused one, all of them
  bool changed = false;             // something is served otherwise than before
};

// What the last reload of config.json said.
struct ReloadReport {
  int code = 200;  // HTTP's, as a client of the call gets it
  bool by_call = false;
  std::chrono::system_clock::time_point at;
  std::string error;
  std::vector<ConfigFault> faults;
};

// A model as KServe's repository index has it.
struct IndexedModel {
  std::string name;
  std::string version;  // empty: of a model without any
  std::string state;    // READY, LOADING, UNLOADING, UNAVAILABLE
  std::string reason;   // of one that is not ready
};

// Every change is made on one thread of this object's own, one after another; it waits for no load, so that a device that hangs
// stops no other model's changes. A change is checked whole before anything moves (CheckModel says for how long that may
// block).
class ModelControl {
 public:
  struct Options {
    ModelControlMode mode = ModelControlMode::kPoll;
    std::string config_path;  // absolute; empty: there is none
    std::string config_text;  // what `models`, `faulty` and `server` were read from
    Duration poll{};          // between two looks at it, beside what the kernel tells; 0: it is not watched
    bool strict = false;      // a warning about settings is a fault
    std::vector<std::string> device_plugins;
    // Of the start.
    std::vector<ModelSettings> models;
    std::vector<FaultyModel> faulty;
    ServerConfig server;
  };
  // Once, on any thread; may run before the call returns.
  using Done = absl::AnyInvocable<void(const ControlOutcome&)>;

  // `manager` and `runtime` must outlive it.
  ModelControl(Manager& manager, Runtime& runtime, Options options);
  // Tells the Manager at once what the start wants, and begins to make changes. Once; calls that came before wait for it.
  void Start();
  // Finishes.
  ~ModelControl();

  // All of these return at once and are thread-safe. `done` comes when the loads that the change asks for were tried. Errors:
  // InvalidArgument for what is refused, NotFound for an unknown model, PermissionDenied where --model_control forbids it,
  // Unavailable when the server stops, and a load's own.

  // config.json anew; without one, a look at the models' folders. Aborted: a reload that a call asked for is running. One that
  // the watching began is joined instead.
  void Reload(Done done);
  // Loads the model, anew when it serves: with `entry` (the JSON text of its "config") or else with what is known of it. Of a
  // load that is answered with an error nothing is kept: what was known of the model, and served, stays that. An alias stands
  // for the model that has it, but for a load with `entry`, whose model it would have to be the name of.
  void Load(std::string model, std::optional<std::string> entry, Done done);
  void Unload(std::string model, Done done);
  // What TensorFlow Serving's ReloadConfigRequest says of one model.
  struct ListedModel {
    std::string name;
    std::string base_path;
    VersionPolicy version_policy;
    std::map<std::string, int64_t> labels;
  };
  // These models and no others. Of a model that is known, the other settings stay.
  void Replace(std::vector<ListedModel> models, Done done);

  // Nothing before the first reload.
  std::optional<ReloadReport> LastReload() const;
  // Every model that is served, was, or could be, by name and version.
  std::vector<IndexedModel> Index() const;
  const Manager& manager() const { return manager_; }

  // Every call that waits is answered Unavailable; later ones are at once. Does not wait.
  void Stop();
  // Stop, and waits until the change at hand has ended: no answer comes from this object's thread afterwards. Cloud storage is
  // not waited for.
  void Finish();

 private:
  struct Job;
  struct Waiting;

  void Run();
  void Enqueue(absl::AnyInvocable<void(Done)> run, Done done) ABSL_LOCKS_EXCLUDED(mutex_);
  void AnswerWaiting();
  void AnswerStopped();
  bool Refused(Done& done) const;
  static ControlOutcome Stopped();

  void RunLoad(const std::string& called, const std::optional<std::string>& entry, Done done);
  void RunUnload(const std::string& called, Done done);
  void RunReplace(const std::vector<ListedModel>& models, Done done);
  // `before`: an entry that it has already is judged as_before. Not of all when the server stops meanwhile: nothing is to be
  // made of it then.
  std::vector<ConfigFault> Check(const std::vector<CheckedModel>& models, const WantedSet* before = nullptr);
  Inventory Devices();
  std::string BaseDir() const;
  void Apply(WantedSet wanted, Waiting waiting);
  void TellManager(const std::optional<std::set<std::string>>& asked);
  Status FailureOf(const std::string& model) const;
  ControlOutcome OutcomeOf(const Waiting& waiting) const;

  // config_reload.cpp
  void WatchFile();
  void LookAtFile();
  void StartCalledReload(bool joins, Done done);
  void RunReload(bool by_call, Done done);
  ControlOutcome JudgeFile(const std::string& text, WantedSet* wanted, std::set<std::string>* changed);
  void TellOfServer(ServerConfig server);
  void LookAtFolders(Done done);
  void EndReload(bool by_call, const ControlOutcome& outcome);

  Manager& manager_;
  Runtime& runtime_;
  const Options options_;

  // Of the thread alone.
  WantedSet wanted_;
  ConfigWatch watch_;
  std::string last_text_;        // of config.json, when it was judged last
  ServerConfig last_server_;     // what it said of the server then
  ControlOutcome last_outcome_;  // what came of that
  std::vector<Done> joined_;     // calls that wait for what the watching began
  std::list<Waiting> waiting_;

  std::atomic<bool> stop_check_{false};  // as stopping_, for what is checked at the moment

  mutable Mutex mutex_;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> names_ ABSL_GUARDED_BY(mutex_);
  std::optional<ReloadReport> last_reload_ ABSL_GUARDED_BY(mutex_);
  bool call_reloads_ ABSL_GUARDED_BY(mutex_) = false;  // a reload that was called for is running
  int watch_reloads_ ABSL_GUARDED_BY(mutex_) = 0;      // reloads that the watching began are running
  bool file_changed_ ABSL_GUARDED_BY(mutex_) = false;  // so the kernel says
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::unique_ptr<FolderWatcher> watcher_;  // null: the file is not watched
  std::thread thread_;
};

}  // namespace switchyard
