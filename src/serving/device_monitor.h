// Watches the devices that models run on: hears of errors, finds hangs, asks idle devices by a canary, and brings lost ones
// back.
#pragma once

#include <absl/base/thread_annotations.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/timer.h"
#include "device/health.h"
#include "device/inventory.h"
#include "runtime/runtime.h"
#include "serving/device_thread.h"
#include "serving/lane.h"

namespace switchyard {

// A device as the ledger tells it.
struct DeviceReport {
  DeviceInfo info;
  DeviceState state = DeviceState::kWell;
  TimePoint since{};
  std::string reason;  // empty when well
  std::string remedy;
  std::vector<std::string> models;  // whose lanes are there, sorted
};

// A device that the runtime does not find, and why.
struct AbsentDevice {
  std::string name;
  std::string reason;
  std::string remedy;
};

// Thread-safe. Names are canonical. The CPU is this process: it is never asked, and never lost. Another device is asked by a
// canary inference when it has been idle for `canary_every`; a busy one proves itself by its calls. Everything that may block
// on a device runs on a thread of that device's own, which is abandoned when the device is lost while it is in there. A lost
// device is tried again for ever, but hardly ever where the tries themselves do not come back.
class DeviceMonitor {
 public:
  struct Options {
    Duration tick = std::chrono::milliseconds(50);
    Duration idle_tick = std::chrono::milliseconds(500);  // while no device but the CPU is in use
    Duration canary_every = std::chrono::seconds(1);
    Duration canary_timeout = Lane::kShortestTimeout;
    // After an inference that did not end: shorter, since all that is on the device waits for the verdict.
    Duration verdict_timeout = std::chrono::milliseconds(700);
    // The first canary of a generation is compiled too; so is a probation's.
    Duration compile_timeout = std::chrono::seconds(60);
    // A device's state has changed. Any thread; must not block.
    std::function<void()> on_change;
  };

  // `runtime` and `timer` must outlive it.
  DeviceMonitor(Runtime& runtime, Timer& timer, Options options);
  // Waits for tasks that run, but not for those of lost devices.
  ~DeviceMonitor();

  // Once, before anything else is asked: what is there, and what is not.
  void SetDevices(Inventory inventory, std::vector<AbsentDevice> absent);
  Inventory inventory() const;

  // May calls be sent to all of them? Unknown devices count as there.
  bool Usable(const std::vector<std::string>& devices) const;
  // Each one's generation; it rises when the device is made anew.
  std::vector<uint64_t> Generations(const std::vector<std::string>& devices) const;
  // Why one of them is not usable: DeadlineExceeded when it hangs, else Unavailable; OK when all are.
  Status WhyNot(const std::vector<std::string>& devices) const;

  // What a call or a load told of a device's health, in its generation (of that device alone or of a lane's devices).
  void Report(const std::string& device, HealthEvent::Kind kind, const std::string& reason);
  // The lane runs calls from now on: its device is asked, and its inferences are timed, until it is closed. `model` for the
  // ledger.
  void Watch(const std::shared_ptr<Lane>& lane, const std::string& model);
  // DeadlineExceeded when an inference of a watched lane did not end in time. That makes its devices suspect: one that answers
  // its canary, or ends an inference of another lane, is well, and so are the other lanes there.
  Status WhyHung(const Lane& lane) const;

  // A task's time on the device's thread, from its beginning on; zero: no limit. A task that takes longer is left behind with
  // its thread, the others go on with a new one, and `on_late` runs: any thread, must not block.
  struct Limit {
    Duration time{0};
    std::function<void()> on_late;
  };
  // Runs `task` on the device's own thread; it is dropped when the device is lost before.
  void Post(const std::string& device, DeviceThread::Task task, Limit limit);
  // Frees what belongs to a device, on a thread for that: it may block, and is left behind when the device is lost meanwhile;
  // what waits for that thread goes on with a new one.
  void Discard(const std::string& device, DeviceThread::Task destroy);

  std::vector<DeviceReport> Reports() const;
  // Threads were left inside a device that was lost, or in a task that took too long: a process that ends must not run
  // destructors under them.
  bool LeftThreads() const;

 private:
  struct Canary;
  struct Device;
  struct Shared;
  struct Timed;

  Device& At(const std::string& device) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ScheduleTick(Duration after);
  void Tick();
  bool LookForHangs(Device& device, TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool AskCanary(Device& device, TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LookForLateTasks(Device& device, TimePoint now, std::vector<std::function<void()>>& late)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool TryProbation(Device& device, TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CanaryDone(const std::string& device, uint64_t generation, const Status& status, bool probation);
  bool Apply(Device& device, HealthEvent::Kind kind, const std::string& reason, TimePoint now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Runtime& runtime_;
  Timer& timer_;
  const Options options_;
  // Tasks on abandoned threads outlive this object; through here they find out.
  const std::shared_ptr<Shared> shared_;

  mutable Mutex mutex_;
  Inventory inventory_ ABSL_GUARDED_BY(mutex_);
  std::vector<AbsentDevice> absent_ ABSL_GUARDED_BY(mutex_);
  TimePoint started_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::unique_ptr<Device>> devices_ ABSL_GUARDED_BY(mutex_);
  Timer::Id tick_id_ ABSL_GUARDED_BY(mutex_) = 0;
  bool left_threads_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace switchyard
