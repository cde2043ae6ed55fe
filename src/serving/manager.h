// Brings what is loaded to what is wanted, and finds the Version for a request. The one API that protocols see.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/functional/any_invocable.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/published.h"
#include "base/status.h"
#include "base/timer.h"
#include "config/settings.h"
#include "repository/cloud/mirror.h"
#include "repository/files_state.h"
#include "repository/folder_watcher.h"
#include "repository/source.h"
#include "runtime/runtime.h"
#include "serving/device_monitor.h"
#include "serving/placement_report.h"
#include "serving/placer.h"
#include "serving/shared_regions.h"
#include "serving/version.h"
#include "serving/version_label.h"
#include "serving/work_pool.h"
#include "telemetry/call_journal.h"
#include "telemetry/metrics_registry.h"

namespace switchyard {

struct LoadSource;

// The one state machine of a Version, owned by the Manager:
//   wanted -> loading -> available -> unloading -> gone
//                     -> failed (the reason is kept)
enum class VersionState { kWanted, kLoading, kAvailable, kUnloading, kGone, kFailed };

struct VersionStatus {
  int64_t version = 0;
  VersionState state = VersionState::kWanted;
  Status error;  // kFailed: why
  // Its folder holds no complete set of files, which `error` says, or they still change: the versions before it serve.
  bool untaken = false;
};

// A model's versions, ascending. A model without a version that could be tried has one entry, version 0: kWanted until its
// folder was looked at, kFailed when that is missing or the settings are faulty.
struct ModelStatus {
  std::string name;
  std::vector<VersionStatus> versions;
  std::map<std::string, int64_t> labels;
  std::vector<std::string> aliases;
  VersionPolicy version_policy;  // as it holds now: a Version has the one that it was loaded under
};
// A Version that was loaded but that no device serves at the moment is kLoading, with the reason.

class Manager {
 public:
  struct Options {
    uint32_t max_queue = 1024;     // calls waiting for one Version
    std::string cache_dir;         // empty: no cache
    uint64_t cache_max_bytes = 0;  // of all that is in it; 0: any
    bool ready_needs_all = false;  // Ready() asks for all models, not for one
    // Listeners' threads that may run a cheap model themselves at the same time.
    uint32_t inline_threads = 1;
    bool strict = false;                      // every warning about settings is an error
    std::vector<std::string> device_plugins;  // names of registered ones
    DeviceMonitor::Options devices;           // its on_change is the Manager's own
    // For a device that is not there: why, and what to do. May be empty.
    std::function<std::vector<AbsentDevice>(const DeviceList&)> explain_absent;
    uint64_t max_image_pixels = uint64_t{1} << 26;  // of one encoded picture
    // See Placer::Environment. May be empty.
    std::function<void(const std::string& model, const std::string& from, const std::string& to, const std::string& reason)>
        on_failover;
    std::function<void(const std::string& model, const std::string& device)> on_retry;
    Duration sequence_idle{0};  // a sequence without a call for so long has ended; zero: never
    // Time between two looks at model folders that the kernel does not tell of (repository/folder_watcher.h); 0: changes are
    // noticed at SetWanted alone.
    Duration watch_poll{0};
    CloudMirror::Options cloud;  // of models whose base path is in cloud storage
    // A version is taken when its files have been quiet for so long, or a marker says that they are whole; see
    // repository/files_state.h.
    Duration settle{0};
    // Bytes that all models may take together; 0: no limit. A model's are reckoned from its files before it is loaded, and as
    // its LoadFacts say then; an instance for a shape that is auto counts as one more. What does not fit, before a load or as
    // it turns out, has idle models and instances give theirs back, the least recently used first, until a call comes for them;
    // is that not enough, it is refused with the figures.
    uint64_t memory_budget = 0;
    ReadRecorded read_recorded;  // see Placer::Environment
    // Where versions count; must outlive the Manager. Null: in one of its own.
    MetricsRegistry* metrics = nullptr;
    // Memory that clients share; must outlive the Manager. Null: off.
    SharedRegions* shared_memory = nullptr;
    // Who is told of requests; must outlive the Manager. Null: nobody.
    const CallJournal* journal = nullptr;
  };
  // What the command line says of all models; who is told, and where is counted, is the caller's.
  static Options FromSettings(const ServerSettings& settings);

  // What is wanted is brought about on one thread of the Manager's own, which never waits for a device; each device has a
  // thread for loading. `runtime` and `timer` must outlive it.
  Manager(Runtime& runtime, Timer& timer, Options options);
  // Drops everything that is loaded; every handle must be gone (see Drain).
  ~Manager();

  // The whole wanted set: what is left out is unloaded. Returns at once. `faulty` models are listed as failed; what serves of
  // them goes on. What is changed is loaded beside the old one, and takes its place when it is there. The folders of models
  // that are new or have other settings, and of those that `asked` names (all, if it is not given), are looked at, and what
  // failed of them before is tried again at once; else it is by itself, after a while (base/backoff.h). An alias that is a
  // model's name, or another's alias before it, is not heeded. A label that is given to another version moves when that serves,
  // and so does an alias that is given to another model: what it led to goes on serving it, wanted or not. What of the models
  // `on_trial` cannot be loaded is not tried again before a call of this that is about it: the caller decides what becomes of
  // them when their loads were tried.
  void SetWanted(std::vector<ModelSettings> models, std::vector<FaultyModel> faulty, const std::set<std::string>& on_trial = {},
                 const std::optional<std::set<std::string>>& asked = std::nullopt);
  // Until every load that the last SetWanted asked for was tried, or Shutdown was called. Files that go on changing are not
  // waited for longer than a few times Options::settle.
  void WaitForLoads();

  // Whether the model has a folder to be looked at, or a load that was not tried, since the last SetWanted.
  bool LoadPending(std::string_view model) const;

  // Without a lock. `model` may be an alias. NotFound: no such model, version or label. Unavailable: it is loading, or it
  // failed (with the reason).
  StatusOr<Handle> Acquire(std::string_view model, std::optional<int64_t> version, const VersionLabel& label = {}) const;
  // The version that the label names, whether it serves or not; nothing without a label. Without a lock. NotFound: no such
  // model or label; InvalidArgument: neither a label nor the number that it might have been.
  StatusOr<std::optional<int64_t>> VersionOf(std::string_view model, const VersionLabel& label) const;

  // The name of the model that `model`, which may be an alias, leads to; `model` itself where it leads to none. Without a lock.
  std::string OwnName(std::string_view model) const;

  // What every version of every model is, by name: also of those that are not wanted any more, but not under a name that leads
  // to another model now.
  std::vector<ModelStatus> Statuses() const;
  // `model` may be an alias, and is one before it is the name of a model that is not wanted any more.
  StatusOr<ModelStatus> StatusOf(std::string_view model) const;

  // The first load of every model was tried and at least one serves (or all of them, if the options say so; with no model
  // wanted there is nothing to wait for), and Shutdown was not called.
  bool Ready() const;
  bool ModelReady(std::string_view model, std::optional<int64_t> version, const VersionLabel& label = {}) const;
  // What is placed where. NotFound, Unavailable as for Acquire, but also told while no device serves.
  StatusOr<PlacementReport> Placement(std::string_view model, std::optional<int64_t> version,
                                      const VersionLabel& label = {}) const;
  std::vector<DeviceReport> Devices() const { return monitor_->Reports(); }
  // A thread was left inside a device that was lost: end the process without destructors.
  bool LeftThreads() const { return monitor_->LeftThreads(); }
  // `listener` runs at each change of Ready(), on the thread that changed it. Set before SetWanted.
  void OnReadinessChange(absl::AnyInvocable<void(bool)> listener);

  // Ready() is false from now on; loading stops after the model at hand; requests are still served.
  void Shutdown();
  // After Shutdown: no new handles; waits until no request holds a Version and nothing is being loaded, at most until
  // `deadline` (of the timer's clock). False if the time was up, or if all that is left are inferences that were given up: then
  // this object can't be destroyed without waiting for the device.
  bool Drain(TimePoint deadline);

  const Runtime& runtime() const { return runtime_; }
  MetricsRegistry& metrics() const { return metrics_; }
  // Null: clients may share no memory.
  SharedRegions* shared_memory() const { return options_.shared_memory; }
  const CallJournal& journal() const { return options_.journal != nullptr ? *options_.journal : no_journal_; }

 private:
  struct Entry;     // one version and its state (serving/model_map.h)
  struct Model;     // one model and its entries
  struct Snapshot;  // the immutable map that Acquire reads
  struct Waker;     // through which timers and loads find this object, as long as it is there
  struct FoundVersion {
    std::string folder;  // the base path, or its copy
    VersionFiles files;
    FilesState state;
  };

  void Run();
  void FindDevices();
  void OnFolderChange(const std::string& path);
  std::set<int64_t> VersionsInUse(const std::string& base_path) const;
  void WatchFolders();
  bool LookAtFolders();
  void StepPlacers();
  void Wake();
  std::function<void()> WakeOfLoads() const;
  void OnDue();
  void ArmTimer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // version_lifecycle.cpp
  // Nothing: they are being copied from cloud storage.
  std::optional<StatusOr<std::vector<FoundVersion>>> FindVersions(const std::string& base_path) const;
  void Reconcile(Model& model, const StatusOr<std::vector<FoundVersion>>& found) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void TellIdleLabels(Model& model, const std::vector<int64_t>& served);
  void FolderFailed(Model& model, const Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Settled(Model& model, const FoundVersion& found) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static bool IsBeingLoaded(const Model& model, const FoundVersion& found);
  bool StillCounts(Model& model, Entry& entry, bool there) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static bool GivesWay(const Model& model, const Entry& entry);
  void Want(const Model& model, Entry& entry, const FoundVersion& found, bool retry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ListUntaken(Model& model, const FoundVersion& found, bool settled) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  struct RoomRequest;
  Status FindRoom(const RoomRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Status MakeRoom(uint64_t need, const Entry& for_entry, const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Status CheckRoom(Entry& entry, const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Status MakeRoomForShape(const std::string& name, int64_t version, uint64_t need, const std::string& shape)
      ABSL_LOCKS_EXCLUDED(mutex_);
  uint64_t NeedOf(const Entry& entry) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  TimePoint IdleAt(const Model& model, const Entry& entry) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SleepAndRouse() ABSL_LOCKS_EXCLUDED(mutex_);
  void LookForRouse(Model& model, Entry& entry, const FoundVersion* found, bool settled) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DecideRouse(const std::string& name, Model& model, Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountRouse(const std::string& name, Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DecideSleep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StartLoads() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StatusOr<std::shared_ptr<Placer>> MakePlacer(const ModelSettings& settings, int64_t version, const LoadSource& source)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LoadAnew(Model& model, Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeLoad(const std::string& name, Model& model, Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // `again`: it is tried again by itself, after a pause.
  void Fail(Model& model, Entry& entry, const std::string& name, const Status& why, bool again = true)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool LoadsPending() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HeldByDevices() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool LoadPending(const Model& model, TimePoint now) const;
  // version_retirement.cpp
  static bool Replaced(const Model& model);
  static bool KeptByLabel(const Model& model, int64_t number);
  void RetireSuperseded(Model& model) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetGone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Retire(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CloseRetired() ABSL_LOCKS_EXCLUDED(mutex_);
  void DestroyDrained() ABSL_LOCKS_EXCLUDED(mutex_);
  static int64_t LeadOf(Model& model, const std::string& label, int64_t named);
  static StatusOr<std::optional<int64_t>> VersionIn(const Snapshot& snapshot, std::string_view name, const VersionLabel& label);
  void Publish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whose versions serve the alias that is `owner`'s.
  std::string AliasLeadsTo(const std::string& alias, const std::string& owner) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RetireUnwanted() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TellReadiness() ABSL_LOCKS_EXCLUDED(mutex_);
  ModelStatus StatusOf(const std::string& name, const Model& model) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Runtime& runtime_;
  Timer& timer_;
  const Options options_;
  const std::unique_ptr<MetricsRegistry> own_metrics_;
  MetricsRegistry& metrics_;
  const CallJournal no_journal_;
  WorkPool decode_pool_;
  std::atomic<bool> ready_{false};
  Published<Snapshot> snapshot_;
  std::unique_ptr<DeviceMonitor> monitor_;
  const std::shared_ptr<SequenceDirectory> sequences_ = std::make_shared<SequenceDirectory>();

  mutable Mutex mutex_;
  std::map<std::string, std::unique_ptr<Model>, std::less<>> models_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string, std::less<>> alias_led_to_ ABSL_GUARDED_BY(mutex_);  // when the map was published last
  // The way out of a Version: retired_ (to be closed, outside the mutex, since closing may call back) -> draining_ (in use) ->
  // drained_ (to be destroyed by the loader's thread, never by a callback of the device).
  std::vector<std::shared_ptr<VersionSlot>> retired_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<VersionSlot>> draining_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<VersionSlot>> drained_ ABSL_GUARDED_BY(mutex_);
  // Who takes the waiting calls of one of retired_ that sleeps.
  std::map<const VersionSlot*, std::shared_ptr<VersionSlot>> successors_ ABSL_GUARDED_BY(mutex_);
  // Placers of versions that left before they served. They are freed on the Manager's thread.
  std::vector<std::shared_ptr<Placer>> discarded_ ABSL_GUARDED_BY(mutex_);
  // What SleepAndRouse is to do, without the mutex.
  std::vector<std::shared_ptr<Placer>> to_sleep_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Placer>> to_rouse_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::pair<std::shared_ptr<Placer>, Status>> to_refuse_ ABSL_GUARDED_BY(mutex_);
  std::vector<AbsentDevice> absent_ ABSL_GUARDED_BY(mutex_);
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool loads_pending_ ABSL_GUARDED_BY(mutex_) = false;
  bool due_ ABSL_GUARDED_BY(mutex_) = false;  // the timer has told of something that was not taken up yet
  bool first_loads_tried_ ABSL_GUARDED_BY(mutex_) = false;
  bool shutting_down_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool watch_changed_ ABSL_GUARDED_BY(mutex_) = false;
  const std::shared_ptr<Waker> waker_;
  const std::shared_ptr<Waker> loads_waker_;  // the same for loads, which may outlive this object when they hang
  Timer::Id timer_id_ ABSL_GUARDED_BY(mutex_) = 0;
  TimePoint timer_at_ ABSL_GUARDED_BY(mutex_) = kNoDeadline;
  std::unique_ptr<FolderWatcher> watcher_;
  std::unique_ptr<CloudMirror> mirror_;

  Mutex listener_mutex_;
  bool told_ready_ ABSL_GUARDED_BY(listener_mutex_) = false;
  absl::AnyInvocable<void(bool)> readiness_listener_ ABSL_GUARDED_BY(listener_mutex_);
  std::thread thread_;
};

}  // namespace switchyard
