// Brings one Version's lanes to what its plan and the devices' health ask for: compiles, hands over, fails over, goes home.
#pragma once

#include <absl/base/thread_annotations.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "device/placement.h"
#include "runtime/runtime.h"
#include "serving/device_monitor.h"
#include "serving/executor.h"
#include "serving/files_guard.h"
#include "serving/lane_maker.h"
#include "serving/placement_report.h"
#include "serving/sequences.h"
#include "serving/shape_instances.h"

namespace switchyard {

// A reconciler. Step looks at what came of compilations and at the devices, asks Decide (device/placement.h), and starts what
// is to be done; it never blocks on a device. All of it on the Manager's thread, except Report.
// With a shape that is auto, its lanes are for the shape that the model has by itself, and shapes() has the others.
class Placer : public std::enable_shared_from_this<Placer> {
 public:
  struct Environment {
    Runtime& runtime;
    Timer& timer;
    DeviceMonitor& monitor;
    uint32_t max_queue = 1024;
    // Listeners' threads that may run a cheap model themselves at the same time.
    size_t inline_threads = 1;
    // Every warning about settings is an error.
    bool strict = false;
    // Of the Version, for all lanes that are ever made for it. May be null.
    std::shared_ptr<FilesGuard> files;
    ReadRecorded read_recorded;
    // Whether there is memory for an instance of the Version for one shape. Called by Step, without a lock. Empty: there is.
    ShapeInstances::FindRoom find_room;
    // Step has something to do. Any thread; must not block.
    std::function<void()> wake;
    // Calls moved for good (`from`, `to`: targets' first devices), and one call was repeated. Any thread. May be empty.
    std::function<void(const std::string& model, const std::string& from, const std::string& to, const std::string& reason)>
        on_failover;
    std::function<void(const std::string& model, const std::string& device)> on_retry;
    // An instance for a shape that came could not be loaded. On the Manager's thread. May be empty.
    std::function<void(const std::string& model, const Status& why)> on_shape_failed;
    // Where sequences of other Versions are found, and how long they may be idle; zero: for ever.
    std::shared_ptr<SequenceDirectory> sequences;
    Duration sequence_idle{0};
  };
  enum class Phase {
    kLoading,  // nothing has served yet
    kServing,
    kWaiting,  // nothing serves, but a lane is being made: calls wait
    kDown,     // nothing serves, and nothing will before a device comes back: calls are refused
    kFailed,   // no candidate could be loaded; final
  };

  // `base` says what to load; its target and properties are the plan's.
  Placer(Environment environment, LoadRequest base, PlacementPlan plan);
  // Lanes are freed on their devices' own threads. No call may be running, except on lanes that were given up.
  ~Placer();

  void Step();

  // Gives all lanes back, since nobody calls; calls that run are finished. The phase stays kServing. Calls that come wait,
  // within their deadlines, until Rouse makes lanes again, or Refuse answers them. Only if CanSleep: models with instances by
  // shape, or with variables, cannot.
  void Sleep();
  bool CanSleep() const;
  bool asleep() const { return asleep_; }
  void Rouse();
  void Refuse(const Status& why);
  // Nothing has come of Rouse yet.
  bool rousing() const { return rousing_; }
  // Rouse has led to nothing: calls are refused until Sleep is called again.
  bool rouse_failed() const { return rouse_failed_; }
  // Rouse has found other files than the Version was made of: calls go on waiting, for Sleep to be called again and the changed
  // Version, or Refuse.
  bool rouse_stale() const { return rouse_stale_; }
  FilesGuard* files() const { return env_.files.get(); }
  // What its lanes take of their devices' memory, as far as is known, and no less than the files have; what they took, while
  // asleep. With what the instances for other shapes take.
  uint64_t memory_bytes() const;

  Phase phase() const { return phase_; }
  // kFailed, kDown: why.
  const Status& why() const { return why_; }
  // The same for other threads: why nothing serves now; OK when something does.
  Status Why() const;
  const ModelSettings& settings() const { return base_.settings; }
  // Of the first lane that was made, all others have the same; open where a shape is auto.
  const Signature& signature() const { return shapes_ != nullptr ? open_signature_ : signature_; }
  // Null when no shape is auto.
  ShapeInstances* shapes() const { return shapes_.get(); }
  // Null when the model keeps no state, or its settings say that calls do not share it.
  Sequences* sequences() const { return sequences_.get(); }
  // What calls are answered with when there is nothing to wait for.
  Status Refusal() const;
  const std::shared_ptr<Executor>& executor() const { return executor_; }
  const PlacementPlan& plan() const { return plan_; }
  // Thread-safe.
  PlacementReport Report() const;

 private:
  struct Compilation;
  struct Row;  // one candidate

  uint64_t LaneBytes() const;
  std::shared_ptr<Placer> MakeInstance(ModelSettings settings, const std::string& shape) const;
  DeviceMonitor::Limit LimitOf(const std::shared_ptr<Compilation>& task, const std::string& target) const;
  bool StartCheck();
  bool CheckIsLost() const;
  bool TakeCheck();
  void TakeCompilation(size_t index);
  void LookAtDevices(size_t index);
  bool KeepsDevices(const Lane& lane) const;
  bool IsLost(const Lane& lane) const;
  void StartCompiling(size_t index);
  bool FilesHaveChanged() const;
  void Accept(size_t index, std::shared_ptr<Lane> lane);
  // The candidate cannot be had now: it is tried again after a while (base/backoff.h), while others serve, unless the model
  // itself is the cause.
  enum class Again { kYes, kNo };
  void Fail(Row& row, const Status& why, std::vector<uint64_t> generations, Again again);
  void FailRunning(Row& row, const Status& why, std::vector<uint64_t> generations);
  void ArmRetry();
  void MakeSequences();
  void Drop(Row& row);
  void Release(Row& row);
  void LookAtRetiring();
  void GiveUp(const std::shared_ptr<Lane>& lane, const Status& why);
  void FreeDrained();
  void StepAsleep();
  void SetRoute(const PlacementDecision& decision);
  void TellMoves(const PlacementDecision& decision);
  std::string NextFor(size_t lost, const PlacementDecision& decision) const;
  void SetPhase(const PlacementDecision& decision);
  Status WhyNone() const;
  void Blame(const std::vector<std::string>& devices, const Status& status, bool fatal) const;
  void OnFault(const Lane& lane, const Status& status);
  void Remember(const PlacementDecision& decision);

  const Environment env_;
  const LoadRequest base_;
  PlacementPlan plan_;
  const std::shared_ptr<Executor> executor_;
  std::vector<std::unique_ptr<Row>> rows_;
  std::vector<std::shared_ptr<std::atomic<uint64_t>>> served_;  // calls, by candidate: over all of its lanes; set once
  std::shared_ptr<Compilation> check_;
  std::vector<std::string> check_asks_;  // those devices
  bool checked_ = false;
  Phase phase_ = Phase::kLoading;
  Status why_;
  Signature signature_;
  bool has_signature_ = false;
  Signature open_signature_;
  std::string shape_;  // of an instance for one shape
  std::vector<std::shared_ptr<Lane>> routed_;
  size_t standby_ = 0;  // of those
  bool asleep_ = false;
  bool rousing_ = false;  // until something serves again
  bool rouse_failed_ = false;
  bool rouse_stale_ = false;
  uint64_t slept_bytes_ = 0;
  bool refuses_ = false;              // the route says that there is nothing to wait for
  TimePoint retry_at_ = kNoDeadline;  // what failed to load is tried again, as soon as the timer wakes the Manager
  Timer::Id retry_timer_ = 0;
  // Candidates that were lost, or failed to load, in this step, and why.
  std::vector<std::pair<size_t, Status>> lost_;
  std::string served_by_;                        // the target that served first; what served last when nothing does
  std::vector<std::shared_ptr<Lane>> dropped_;   // closed; freed when they are drained
  std::vector<std::shared_ptr<Lane>> retiring_;  // not in the route; open until the sequences there have ended
  std::shared_ptr<Sequences> sequences_;

  mutable Mutex mutex_;
  Status told_why_ ABSL_GUARDED_BY(mutex_);
  PlacementReport report_ ABSL_GUARDED_BY(mutex_);  // without the counters
  std::unique_ptr<ShapeInstances> shapes_;          // goes first: its instances use what is above
};

}  // namespace switchyard
