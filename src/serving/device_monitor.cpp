#include "serving/device_monitor.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <set>
#include <utility>

#include "base/log.h"
#include "device/fault.h"

namespace switchyard {
namespace {

using Kind = HealthEvent::Kind;

bool IsAsked(const std::string& device) { return device != "CPU"; }

double Milliseconds(Duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

// How long after one probation begins the next at the earliest, where so many have not come back: each keeps a thread and a
// core, for ever if need be.
Duration PauseBehind(int stuck) {
  constexpr int kMost = 2;
  constexpr int kMostDoublings = 10;
  if (stuck < kMost) return Duration::zero();
  return std::chrono::hours(1 << std::min(stuck - kMost, kMostDoublings));
}

}  // namespace

// A model of one operation on one generation of a device. Made and used on the canary's thread alone.
struct DeviceMonitor::Canary {
  std::shared_ptr<CompiledModel> model;
  std::unique_ptr<InferRequest> request;

  // What the device answers; made at the first time.
  Status Ask(Runtime& runtime, const std::string& device) {
    if (request == nullptr) {
      SY_ASSIGN_OR_RETURN(model, runtime.LoadCanary(device));
      SY_ASSIGN_OR_RETURN(request, model->CreateInferRequest());
    }
    std::vector<std::array<float, 16>> memory(model->signature().inputs.size());
    std::vector<TensorView> inputs;
    for (size_t i = 0; i < memory.size(); ++i) {
      TensorView view{ElementType::kFp32, model->signature().inputs[i].shape.ToShape(),
                      reinterpret_cast<const std::byte*>(memory[i].data())};
      view.bytes = ByteCount(view.shape, sizeof(float)).value_or(0);
      if (view.bytes > sizeof(memory[i])) return Error(StatusCode::kInternal, "The canary's input is larger than expected");
      inputs.push_back(view);
    }
    SY_RETURN_IF_ERROR(request->Bind(inputs));
    return request->Infer();
  }
};

// A task with a limit, and how far it is.
struct DeviceMonitor::Timed {
  enum class Stage { kWaiting, kRuns, kDone };
  Limit limit;
  std::atomic<Stage> stage = Stage::kWaiting;
  std::atomic<TimePoint> begun{TimePoint{}};
};

struct DeviceMonitor::Device {
  struct Watched {
    std::shared_ptr<Lane> lane;
    std::string model;
    Status hung;  // not OK: an inference did not end
  };

  std::string name;
  DeviceInfo info;
  DeviceHealth health;
  bool hangs = false;
  std::string lost_because;
  std::vector<Watched> lanes;
  std::unique_ptr<DeviceThread> worker;
  std::vector<std::shared_ptr<Timed>> timed;  // the worker's
  std::unique_ptr<DeviceThread> reaper;
  std::unique_ptr<DeviceThread> asker;
  std::shared_ptr<Canary> canary;
  bool canary_works = true;  // false: the device cannot run it, for reasons of its own
  bool asking = false;
  TimePoint asked_at{};
  TimePoint answered_at{};
  bool asked_before = false;  // in this generation: the next canary need not be compiled
  TimePoint hung_at{};        // suspect since then, for an inference that did not end; zero: it is not
  std::string hung_because;
  const std::shared_ptr<std::atomic<int>> in_probation = std::make_shared<std::atomic<int>>(0);  // that have not come back

  bool suspect_of_hang() const { return hung_at != TimePoint{}; }

  void Free(DeviceThread::Task destroy) {
    if (reaper == nullptr) reaper = std::make_unique<DeviceThread>();
    reaper->Post(std::move(destroy));
  }

  // A lost device keeps the threads that are inside of it, and what they work on. What it is asked to free, it may hang on too:
  // what waits behind that is freed by a new thread.
  void LeaveThreads() {
    for (const auto& thread : {worker.get(), asker.get()}) {
      if (thread != nullptr) thread->Abandon();
    }
    worker.reset();
    timed.clear();
    asker.reset();
    std::deque<DeviceThread::Task> frees;
    if (reaper != nullptr) frees = reaper->Abandon();
    reaper.reset();
    for (DeviceThread::Task& destroy : frees) Free(std::move(destroy));
    if (canary != nullptr) Free([freed = std::move(canary)]() mutable { freed.reset(); });
    canary.reset();
    asking = asked_before = false;
    canary_works = true;
  }
};

struct DeviceMonitor::Shared {
  Mutex mutex;
  DeviceMonitor* monitor ABSL_GUARDED_BY(mutex) = nullptr;

  void CanaryDone(const std::string& device, uint64_t generation, const Status& status, bool probation) {
    MutexLock lock(&mutex);
    if (monitor != nullptr) monitor->CanaryDone(device, generation, status, probation);
  }
};

DeviceMonitor::DeviceMonitor(Runtime& runtime, Timer& timer, Options options)
    : runtime_(runtime), timer_(timer), options_(std::move(options)), shared_(std::make_shared<Shared>()) {
  {
    MutexLock lock(&shared_->mutex);
    shared_->monitor = this;
  }
  {
    MutexLock lock(&mutex_);
    started_ = timer_.Now();
  }
  ScheduleTick(options_.tick);
}

DeviceMonitor::~DeviceMonitor() {
  {
    MutexLock lock(&shared_->mutex);
    shared_->monitor = nullptr;
  }
  Timer::Id tick = 0;
  std::map<std::string, std::unique_ptr<Device>> devices;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    tick = tick_id_;
    devices.swap(devices_);
  }
  timer_.Cancel(tick);
  for (auto& [name, device] : devices) {
    if (device->health.usable()) continue;
    // What it did not come to free is dropped, not handed to a thread that would be left at once.
    if (device->reaper != nullptr) device->reaper->Abandon();
    device->reaper.reset();
    device->LeaveThreads();
    if (device->reaper != nullptr) device->reaper->Abandon();
  }
}

DeviceMonitor::Device& DeviceMonitor::At(const std::string& name) {
  std::unique_ptr<Device>& device = devices_[name];
  if (device == nullptr) {
    device = std::make_unique<Device>();
    device->name = name;
    device->health = DeviceHealth(DeviceState::kWell, started_);
    const DeviceInfo* info = Find(inventory_, name);
    device->info = info != nullptr ? *info : DeviceInfo{.name = name};
  }
  return *device;
}

void DeviceMonitor::SetDevices(Inventory inventory, std::vector<AbsentDevice> absent) {
  MutexLock lock(&mutex_);
  inventory_ = std::move(inventory);
  absent_ = std::move(absent);
  for (const DeviceInfo& info : inventory_) At(info.name).info = info;
}

Inventory DeviceMonitor::inventory() const {
  MutexLock lock(&mutex_);
  return inventory_;
}

bool DeviceMonitor::Usable(const std::vector<std::string>& devices) const {
  MutexLock lock(&mutex_);
  return std::all_of(devices.begin(), devices.end(), [&](const std::string& name) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const auto found = devices_.find(name);
    return found == devices_.end() || found->second->health.usable();
  });
}

std::vector<uint64_t> DeviceMonitor::Generations(const std::vector<std::string>& devices) const {
  MutexLock lock(&mutex_);
  std::vector<uint64_t> generations;
  for (const std::string& name : devices) {
    const auto found = devices_.find(name);
    generations.push_back(found == devices_.end() ? 0 : found->second->health.generation());
  }
  return generations;
}

Status DeviceMonitor::WhyNot(const std::vector<std::string>& devices) const {
  MutexLock lock(&mutex_);
  for (const std::string& name : devices) {
    const auto found = devices_.find(name);
    if (found == devices_.end() || found->second->health.usable()) continue;
    return Error(found->second->hangs ? StatusCode::kDeadlineExceeded : StatusCode::kUnavailable, "device {} is {}: {}", name,
                 Name(found->second->health.state()), found->second->lost_because);
  }
  return absl::OkStatus();
}

bool DeviceMonitor::Apply(Device& device, Kind kind, const std::string& reason, TimePoint now) {
  const DeviceState before = device.health.state();
  if (!device.health.Apply(HealthEvent{kind, device.health.generation(), reason}, now)) return false;
  const DeviceState after = device.health.state();
  if (after != DeviceState::kSuspect) device.hung_at = TimePoint{};
  if (after == DeviceState::kWell) {
    LogInfo("Device {}: {} -> {}", device.name, Name(before), Name(after));
  } else {
    LogWarning("Device {}: {} -> {}: {}", device.name, Name(before), Name(after), reason);
  }
  if (after == DeviceState::kLost) {
    device.LeaveThreads();
    left_threads_ = true;
    // Of the loss itself, not of what probations find later.
    if (before != DeviceState::kProbation) {
      device.hangs = kind == Kind::kHang;
      device.lost_because = reason;
    }
  }
  return true;
}

void DeviceMonitor::Report(const std::string& name, Kind kind, const std::string& reason) {
  if (!IsAsked(name)) return;
  bool changed = false;
  {
    MutexLock lock(&mutex_);
    if (stopping_) return;
    changed = Apply(At(name), kind, reason, timer_.Now());
  }
  if (changed && options_.on_change) options_.on_change();
}

void DeviceMonitor::Watch(const std::shared_ptr<Lane>& lane, const std::string& model) {
  MutexLock lock(&mutex_);
  for (const std::string& name : lane->options().devices) At(name).lanes.push_back({lane, model, absl::OkStatus()});
}

Status DeviceMonitor::WhyHung(const Lane& lane) const {
  MutexLock lock(&mutex_);
  for (const std::string& name : lane.options().devices) {
    const auto device = devices_.find(name);
    if (device == devices_.end()) continue;
    for (const Device::Watched& watched : device->second->lanes) {
      if (watched.lane.get() == &lane && !watched.hung.ok()) return watched.hung;
    }
  }
  return absl::OkStatus();
}

void DeviceMonitor::Post(const std::string& name, DeviceThread::Task task, Limit limit) {
  MutexLock lock(&mutex_);
  if (stopping_) return;
  Device& device = At(name);
  if (device.worker == nullptr) device.worker = std::make_unique<DeviceThread>();
  if (limit.time == Duration::zero()) return device.worker->Post(std::move(task));
  auto timed = std::make_shared<Timed>();
  timed->limit = std::move(limit);
  device.timed.push_back(timed);
  device.worker->Post([timed = std::move(timed), &timer = timer_, task = std::move(task)]() mutable {
    timed->begun = timer.Now();
    timed->stage = Timed::Stage::kRuns;
    task();
    timed->stage = Timed::Stage::kDone;
  });
}

void DeviceMonitor::LookForLateTasks(Device& device, TimePoint now, std::vector<std::function<void()>>& late) {
  std::erase_if(device.timed, [](const auto& timed) { return timed->stage == Timed::Stage::kDone; });
  const auto found = std::find_if(device.timed.begin(), device.timed.end(), [&](const auto& timed) {
    return timed->stage == Timed::Stage::kRuns && now - timed->begun.load() > timed->limit.time;
  });
  if (found == device.timed.end()) return;
  late.push_back((*found)->limit.on_late);
  device.timed.erase(found);
  auto others = device.worker->Abandon();
  left_threads_ = true;
  device.worker = std::make_unique<DeviceThread>();
  for (DeviceThread::Task& task : others) device.worker->Post(std::move(task));
}

void DeviceMonitor::Discard(const std::string& name, DeviceThread::Task destroy) {
  MutexLock lock(&mutex_);
  if (stopping_) return;
  At(name).Free(std::move(destroy));
}

void DeviceMonitor::ScheduleTick(Duration after) {
  MutexLock lock(&mutex_);
  if (stopping_) return;
  tick_id_ = timer_.Schedule(timer_.Now() + after, [weak = std::weak_ptr<Shared>(shared_)] {
    const std::shared_ptr<Shared> shared = weak.lock();
    if (shared == nullptr) return;
    MutexLock lock(&shared->mutex);
    if (shared->monitor != nullptr) shared->monitor->Tick();
  });
}

void DeviceMonitor::Tick() {
  bool changed = false;
  bool in_use = false;
  std::vector<std::function<void()>> late;
  {
    MutexLock lock(&mutex_);
    const TimePoint now = timer_.Now();
    for (auto& [name, device] : devices_) {
      LookForLateTasks(*device, now, late);
      std::erase_if(device->lanes, [](const Device::Watched& watched) { return watched.lane->closed(); });
      if (!IsAsked(name)) continue;
      in_use = in_use || !device->lanes.empty() || device->health.state() != DeviceState::kWell;
      changed |= LookForHangs(*device, now);
      changed |= AskCanary(*device, now);
      changed |= TryProbation(*device, now);
    }
  }
  for (const auto& on_late : late) on_late();
  if (changed && options_.on_change) options_.on_change();
  ScheduleTick(in_use ? options_.tick : options_.idle_tick);
}

bool DeviceMonitor::LookForHangs(Device& device, TimePoint now) {
  if (!device.health.usable()) return false;
  bool changed = false;
  for (Device::Watched& watched : device.lanes) {
    const Duration timeout = watched.lane->Timeout();
    if (!watched.hung.ok() || watched.lane->OldestAge(now) <= timeout) continue;
    const bool collects = watched.lane->options().collecting > Duration::zero();
    watched.hung =
        Error(StatusCode::kDeadlineExceeded, "an inference of model {} did not end within {:.0f} ms (device_timeout_ms{})",
              watched.model, Milliseconds(timeout), collects ? " and AUTO_BATCH_TIMEOUT" : "");
    changed = true;
    const std::string reason(Message(watched.hung));
    if (!device.canary_works) return Apply(device, Kind::kHang, reason, now);  // it cannot be asked
    Apply(device, Kind::kUnclearError, reason, now);
    if (device.suspect_of_hang()) continue;
    device.hung_at = now;
    device.hung_because = reason;
  }
  return changed;
}

bool DeviceMonitor::AskCanary(Device& device, TimePoint now) {
  if (!device.health.usable()) return false;
  const bool suspect = device.health.state() == DeviceState::kSuspect;
  bool runs = false;
  TimePoint last = device.answered_at;
  for (const Device::Watched& watched : device.lanes) {
    runs = runs || watched.lane->OldestAge(now) > Duration::zero();
    last = std::max(last, watched.lane->last_success());
    const bool alive = device.suspect_of_hang() && watched.lane->last_success() > device.hung_at;
    if (alive) return Apply(device, Kind::kCanaryPassed, "", now);
  }
  if (device.asking) {
    Duration limit = device.asked_before ? options_.canary_timeout : options_.compile_timeout;
    if (device.suspect_of_hang()) limit = std::min(limit, options_.verdict_timeout);
    if (now - std::max(device.asked_at, device.hung_at) <= limit) return false;
    std::string reason = fmt::format("a canary inference did not end within {:.0f} ms", Milliseconds(limit));
    if (device.suspect_of_hang()) reason = fmt::format("{}, and {}", device.hung_because, reason);
    return Apply(device, Kind::kHang, reason, now);
  }
  if (!device.canary_works) {
    if (device.suspect_of_hang()) return Apply(device, Kind::kHang, device.hung_because, now);
    return suspect && Apply(device, Kind::kCanaryPassed, "", now);
  }
  if (device.lanes.empty() && !suspect) return false;
  // A running inference is timed. The first canary does not wait for that: when one is needed, it shall be compiled.
  if (!suspect && device.asked_before && (runs || now - last < options_.canary_every)) return false;
  device.asking = true;
  device.asked_at = now;
  if (device.asker == nullptr) device.asker = std::make_unique<DeviceThread>();
  if (device.canary == nullptr) device.canary = std::make_shared<Canary>();
  device.asker->Post(
      [shared = shared_, canary = device.canary, &runtime = runtime_, name = device.name,
       generation = device.health.generation()] { shared->CanaryDone(name, generation, canary->Ask(runtime, name), false); });
  return false;
}

bool DeviceMonitor::TryProbation(Device& device, TimePoint now) {
  if (device.health.state() == DeviceState::kProbation) {
    if (now - device.asked_at <= options_.compile_timeout) return false;
    return Apply(device, Kind::kProbationFailed,
                 fmt::format("no answer within {:.0f} ms", Milliseconds(options_.compile_timeout)), now);
  }
  if (device.health.state() != DeviceState::kLost || now < device.health.next_try()) return false;
  if (now - device.asked_at < PauseBehind(device.in_probation->load())) return false;
  if (!Apply(device, Kind::kProbationBegun, "a new generation is being made and asked", now)) return false;
  device.asked_at = now;
  device.asking = device.asked_before = false;
  device.canary_works = true;
  device.asker = std::make_unique<DeviceThread>();
  device.canary = std::make_shared<Canary>();
  ++*device.in_probation;
  // Until the task is gone, whether it ran or not.
  const std::shared_ptr<void> counted(nullptr, [count = device.in_probation](void*) { --*count; });
  device.asker->Post([shared = shared_, canary = device.canary, &runtime = runtime_, name = device.name,
                      generation = device.health.generation(), counted] {
    Status status = runtime.Renew(name);
    if (status.ok()) status = canary->Ask(runtime, name);
    shared->CanaryDone(name, generation, status, true);
  });
  return true;
}

void DeviceMonitor::CanaryDone(const std::string& name, uint64_t generation, const Status& status, bool probation) {
  bool changed = false;
  {
    MutexLock lock(&mutex_);
    Device& device = At(name);
    if (stopping_ || device.health.generation() != generation) return;
    // Of one that was lost meanwhile: it says nothing of the generation to come.
    if (!probation && !device.health.usable()) return;
    const TimePoint now = timer_.Now();
    device.asking = false;
    device.answered_at = now;
    const bool first = !std::exchange(device.asked_before, true);
    if (probation) {
      changed = Apply(device, status.ok() ? Kind::kProbationPassed : Kind::kProbationFailed, std::string(Message(status)), now);
    } else if (!status.ok() && first && FaultOf(status) != Fault::kDevice) {
      // It never ran here: a device that lacks the operation is not lost.
      LogDebug("Device {} has no canary: {}", name, Message(status));
      device.canary_works = false;
    } else {
      changed = Apply(device, status.ok() ? Kind::kCanaryPassed : Kind::kCanaryFailed, std::string(Message(status)), now);
    }
  }
  if (changed && options_.on_change) options_.on_change();
}

bool DeviceMonitor::LeftThreads() const {
  MutexLock lock(&mutex_);
  return left_threads_;
}

std::vector<DeviceReport> DeviceMonitor::Reports() const {
  MutexLock lock(&mutex_);
  std::vector<DeviceReport> reports;
  for (const auto& [name, device] : devices_) {
    DeviceReport report{device->info, device->health.state(), device->health.since(), device->health.reason(), "", {}};
    if (!device->health.usable()) report.remedy = "none needed: it is asked again by itself, with growing pauses";
    std::set<std::string> models;
    for (const Device::Watched& watched : device->lanes) {
      if (!watched.lane->closed()) models.insert(watched.model);
    }
    report.models.assign(models.begin(), models.end());
    reports.push_back(std::move(report));
  }
  for (const AbsentDevice& absent : absent_) {
    reports.push_back(
        DeviceReport{DeviceInfo{.name = absent.name}, DeviceState::kAbsent, started_, absent.reason, absent.remedy, {}});
  }
  return reports;
}

}  // namespace switchyard
