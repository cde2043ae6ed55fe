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
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/timer.h"
#include "config/settings.h"
#include "repository/source.h"
#include "runtime/runtime.h"
#include "serving/device_monitor.h"
#include "serving/placement_report.h"
#include "serving/placer.h"
#include "serving/version.h"
#include "serving/work_pool.h"
#include "telemetry/call_journal.h"
#include "telemetry/metrics_registry.h"

namespace switchyard {

// The one state machine of a Version, owned by the Manager:
//   wanted -> loading -> available -> unloading -> gone
//                     -> failed (the reason is kept)
enum class VersionState { kWanted, kLoading, kAvailable, kUnloading, kGone, kFailed };

struct VersionStatus {
  int64_t version = 0;
  VersionState state = VersionState::kWanted;
  Status error;  // kFailed: why
};

// A model's versions, ascending. A model without a version that could be tried has one entry, version 0: kWanted until its
// folder was looked at, kFailed when that is missing or the settings are faulty.
struct ModelStatus {
  std::string name;
  std::vector<VersionStatus> versions;
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
    // Where versions count; must outlive the Manager. Null: in one of its own.
    MetricsRegistry* metrics = nullptr;
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

  // The whole wanted set: what is left out is unloaded. Returns at once. `faulty` models are listed as failed.
  void SetWanted(std::vector<ModelSettings> models, std::vector<FaultyModel> faulty);
  // Until every load that the last SetWanted asked for was tried, or Shutdown was called.
  void WaitForLoads();

  // Without a lock. NotFound: no such model or version. Unavailable: it is loading, or it failed (with the reason).
  StatusOr<Handle> Acquire(std::string_view model, std::optional<int64_t> version) const;

  // What every version of every model is, by name.
  std::vector<ModelStatus> Statuses() const;
  StatusOr<ModelStatus> StatusOf(std::string_view model) const;

  // The first load of every model was tried and at least one serves (or all of them, if the options say so; with no model
  // wanted there is nothing to wait for), and Shutdown was not called.
  bool Ready() const;
  bool ModelReady(std::string_view model, std::optional<int64_t> version) const;
  // What is placed where. NotFound, Unavailable as for Acquire, but also told while no device serves.
  StatusOr<PlacementReport> Placement(std::string_view model, std::optional<int64_t> version) const;
  std::vector<DeviceReport> Devices() const { return monitor_->Reports(); }
  // A thread was left inside a device that was lost: end the process without destructors.
  bool LeftThreads() const { return monitor_->LeftThreads(); }
  // `listener` runs at each change of Ready(), on the thread that changed it. Set before SetWanted.
  void OnReadinessChange(absl::AnyInvocable<void(bool)> listener);

  // Ready() is false from now on; loading stops after the model at hand; requests are still served.
  void Shutdown();
  // After Shutdown: no new handles; waits until no request holds a Version and nothing is being loaded, at most until
  // `deadline` (of the timer's clock). False if the time was up: then this object can't be destroyed without waiting for the
  // device.
  bool Drain(TimePoint deadline);

  const Runtime& runtime() const { return runtime_; }
  MetricsRegistry& metrics() const { return metrics_; }
  const CallJournal& journal() const { return options_.journal != nullptr ? *options_.journal : no_journal_; }

 private:
  struct Entry;     // one version and its state
  struct Model;     // one model and its entries
  struct Snapshot;  // the immutable map that Acquire reads

  void Run();
  void FindDevices();
  bool LookAtFolders();
  void StepPlacers();
  void StartLoads() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Wake();
  void Reconcile(Model& model, const StatusOr<std::vector<VersionFiles>>& found) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StatusOr<std::shared_ptr<Placer>> MakePlacer(const ModelSettings& settings, int64_t version, const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeLoad(const std::string& name, Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Fail(const std::string& name, Entry& entry, const Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool LoadsPending() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Retire(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CloseRetired() ABSL_LOCKS_EXCLUDED(mutex_);
  void DestroyDrained() ABSL_LOCKS_EXCLUDED(mutex_);
  void Publish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TellReadiness() ABSL_LOCKS_EXCLUDED(mutex_);
  ModelStatus StatusOf(const std::string& name, const Model& model) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  const Snapshot& CurrentSnapshot() const;

  Runtime& runtime_;
  Timer& timer_;
  const Options options_;
  const std::unique_ptr<MetricsRegistry> own_metrics_;
  MetricsRegistry& metrics_;
  const CallJournal no_journal_;
  WorkPool decode_pool_;
  std::atomic<bool> ready_{false};
  // Names the current snapshot, uniquely in the process; a thread that has this one cached takes no lock.
  std::atomic<uint64_t> snapshot_id_{0};
  std::unique_ptr<DeviceMonitor> monitor_;
  const std::shared_ptr<SequenceDirectory> sequences_ = std::make_shared<SequenceDirectory>();

  mutable Mutex mutex_;
  std::map<std::string, std::unique_ptr<Model>, std::less<>> models_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Snapshot> snapshot_ ABSL_GUARDED_BY(mutex_);
  // The way out of a Version: retired_ (to be closed, outside the mutex, since closing may call back) -> draining_ (in use) ->
  // drained_ (to be destroyed by the loader's thread, never by a callback of the device).
  std::vector<std::shared_ptr<VersionSlot>> retired_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<VersionSlot>> draining_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<VersionSlot>> drained_ ABSL_GUARDED_BY(mutex_);
  // Placers of versions that left before they served. They are freed on the Manager's thread.
  std::vector<std::shared_ptr<Placer>> discarded_ ABSL_GUARDED_BY(mutex_);
  std::vector<AbsentDevice> absent_ ABSL_GUARDED_BY(mutex_);
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool loads_pending_ ABSL_GUARDED_BY(mutex_) = false;
  bool first_loads_tried_ ABSL_GUARDED_BY(mutex_) = false;
  bool shutting_down_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  Mutex listener_mutex_;
  bool told_ready_ ABSL_GUARDED_BY(listener_mutex_) = false;
  absl::AnyInvocable<void(bool)> readiness_listener_ ABSL_GUARDED_BY(listener_mutex_);
  std::thread thread_;
};

}  // namespace switchyard
