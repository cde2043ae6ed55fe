#include "serving/shape_instances.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "serving/executor.h"
#include "serving/infer_call.h"
#include "serving/placer.h"

namespace switchyard {

// Who uses an instance. Outlives it, since the last call may go on any thread.
struct ShapeInstances::Use {
  std::atomic<size_t> calls{0};
  std::atomic<bool> retired{false};
};

struct ShapeInstances::Instance {
  std::string shape;
  std::shared_ptr<Placer> placer;  // freed on the Manager's thread alone
  std::shared_ptr<Use> use = std::make_shared<Use>();
  uint64_t last_use = 0;  // the order
  TimePoint used_at{};    // an Executor's is coarser
  // What Step found last.
  bool loading = true;
  bool failed = false;
  bool refused = false;  // by the model: no use to try again
  Status why;
  TimePoint failed_at{};
  Duration retry_after = kRetryAfter;
  bool admitted = false;  // there was memory for it
  uint64_t bytes = 0;     // of that

  // Its lane may serve before the Step that made it so has ended.
  bool compiling() const { return loading && !placer->executor()->serving(); }
};

namespace {

// "image (1,3,300,400), mask (1,300,400)".
std::string ShapesText(const Signature& signature, const std::vector<size_t>& inputs, const InferCall& call) {
  std::string text;
  for (const size_t input : inputs) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", signature.inputs[input].name,
                        ToString(call.bound_inputs[input].shape));
  }
  return text;
}

}  // namespace

ShapeInstances::ShapeInstances(ModelSettings settings, const Timer& timer, std::shared_ptr<Executor> own, Hooks hooks)
    : settings_(std::move(settings)), timer_(timer), own_(std::move(own)), hooks_(std::move(hooks)) {}

ShapeInstances::~ShapeInstances() = default;

Signature ShapeInstances::Open(const Signature& own) {
  signature_ = own;
  has_own_key_ = true;
  for (size_t i = 0; i < own.inputs.size(); ++i) {
    TensorSpec& spec = signature_.inputs[i];
    std::vector<Dimension>& dims = spec.shape.dims;
    if (settings_.batch_auto) {
      if (!spec.batch_dim) continue;
      const Dimension batch = std::exchange(dims[*spec.batch_dim], Dimension::Dynamic());
      if (auto_inputs_.empty()) own_key_ = {batch.min};
      has_own_key_ = has_own_key_ && batch.is_static() && own_key_.front() == batch.min;
    } else if (settings_.auto_shapes.count("") != 0 || settings_.auto_shapes.count(spec.name) != 0) {
      has_own_key_ = has_own_key_ && spec.shape.is_static();
      own_key_.push_back(static_cast<int64_t>(dims.size()));
      for (Dimension& dim : dims) own_key_.push_back(std::exchange(dim, Dimension::Dynamic()).min);
    } else {
      continue;
    }
    auto_inputs_.push_back(i);
  }
  for (TensorSpec& output : signature_.outputs) {
    std::vector<Dimension>& dims = output.shape.dims;
    if (!settings_.batch_auto) {
      std::fill(dims.begin(), dims.end(), Dimension::Dynamic());
    } else if (output.batch_dim && *output.batch_dim < dims.size()) {
      dims[*output.batch_dim] = Dimension::Dynamic();
    }
  }
  return signature_;
}

StatusOr<ShapeInstances::Key> ShapeInstances::KeyOf(const InferCall& call) const {
  Key key;
  for (const size_t input : auto_inputs_) {
    const TensorSpec& spec = signature_.inputs[input];
    const Shape& shape = call.bound_inputs[input].shape;
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) {
      return InvalidArgument("Invalid input shape - Negative or zero dimension size is not acceptable: {}; input name: {}",
                             ToString(shape), spec.name);
    }
    if (!settings_.batch_auto) {
      key.push_back(static_cast<int64_t>(shape.size()));
      key.insert(key.end(), shape.begin(), shape.end());
      continue;
    }
    const int64_t batch = shape[*spec.batch_dim];
    if (key.empty()) key.push_back(batch);
    if (key.front() != batch) {
      return InvalidArgument("Invalid input batch size - Expected: {}, as of input {}; Actual: {}; input name: {}", key.front(),
                             signature_.inputs[auto_inputs_.front()].name, batch, spec.name);
    }
  }
  return key;
}

std::shared_ptr<ShapeInstances::Instance> ShapeInstances::MakeInstance(const InferCall& call) const {
  ModelSettings settings = settings_;
  settings.batch_auto = false;
  settings.auto_shapes.clear();
  auto instance = std::make_shared<Instance>();
  instance->shape = ShapesText(signature_, auto_inputs_, call);
  for (const size_t input : auto_inputs_) {
    const TensorSpec& spec = signature_.inputs[input];
    const Shape& shape = call.bound_inputs[input].shape;
    if (settings_.batch_auto) {
      settings.batch_size = Dimension::Fixed(shape[*spec.batch_dim]);
      continue;
    }
    PartialShape& fixed = settings.shapes[spec.name];
    fixed = PartialShape();
    for (const int64_t dim : shape) fixed.dims.push_back(Dimension::Fixed(dim));
  }
  LogInfo("Model {}: compiling an instance for {}", settings_.name, instance->shape);
  instance->placer = hooks_.make(std::move(settings), instance->shape);
  return instance;
}

void ShapeInstances::Retire(const Key& key) {
  const auto found = instances_.find(key);
  found->second->use->retired.store(true);
  retired_.push_back(std::move(found->second));
  instances_.erase(found);
}

Status ShapeInstances::MakeRoom() {
  if (instances_.size() < settings_.auto_shape_limit) return absl::OkStatus();
  auto oldest = instances_.end();
  for (auto it = instances_.begin(); it != instances_.end(); ++it) {
    if (it->second->compiling()) continue;
    if (oldest == instances_.end() || it->second->last_use < oldest->second->last_use) oldest = it;
  }
  if (oldest == instances_.end()) {
    return Error(StatusCode::kResourceExhausted,
                 "Model {} is being compiled for {} new shapes already (auto_shape_limit); try again later", settings_.name,
                 instances_.size());
  }
  LogInfo("Model {}: the instance for {} goes to make room", settings_.name, oldest->second->shape);
  Retire(Key(oldest->first));
  return absl::OkStatus();
}

StatusOr<std::shared_ptr<ShapeInstances::Instance>> ShapeInstances::Find(const Key& key, const InferCall& call) {
  const auto found = instances_.find(key);
  if (found != instances_.end()) {
    const Instance& instance = *found->second;
    if (!instance.failed || instance.refused || timer_.Now() < instance.failed_at + instance.retry_after) return found->second;
    Retire(key);
  }
  SY_RETURN_IF_ERROR(MakeRoom());
  return instances_[key] = MakeInstance(call);
}

void ShapeInstances::Submit(std::shared_ptr<InferCall> call) {
  // Held to the end: the call holds the Version, and with it this object.
  const std::shared_ptr<InferCall> held = call;
  const StatusOr<Key> key = KeyOf(*call);
  if (!key.ok()) return own_->Answer(*call, key.status());
  if (has_own_key_ && *key == own_key_) return own_->Submit(std::move(call));
  std::shared_ptr<Executor> executor;
  Status refused;
  bool made = false;
  {
    MutexLock lock(&mutex_);
    const auto found = Find(*key, *call);
    refused = found.status();
    if (found.ok()) {
      Instance& instance = **found;
      made = instance.last_use == 0;
      instance.last_use = ++clock_;
      instance.used_at = timer_.Now();
      if (instance.failed) refused = instance.why;
      if (!instance.failed) {
        // Counted until the call is gone: the device may be at work for it long after it was answered.
        instance.use->calls.fetch_add(1);
        call->instance = std::shared_ptr<void>(nullptr, [use = instance.use, wake = hooks_.wake](void*) {
          if (use->calls.fetch_sub(1) == 1 && use->retired.load()) wake();
        });
        executor = instance.placer->executor();
      }
    }
  }
  if (!refused.ok()) return own_->Answer(*call, refused);
  executor->Submit(std::move(call));
  // Without the mutex: whoever is woken may hold a lock of its own around Report.
  if (made) hooks_.wake();
}

// Whether it may be compiled.
bool ShapeInstances::Admit(Instance& instance) {
  {
    MutexLock lock(&mutex_);
    if (instance.admitted || instance.failed) return instance.admitted;
  }
  const uint64_t need = hooks_.reckon();
  if (hooks_.find_room) {
    if (const Status room = hooks_.find_room(need, instance.shape); !room.ok()) {
      Refuse(instance, room, kRoomAfter);
      return false;
    }
  }
  MutexLock lock(&mutex_);
  instance.bytes = need;
  return instance.admitted = true;
}

// What it took turns out when it serves, and may grow with a further device.
void ShapeInstances::SetMemory(Instance& instance) {
  if (instance.placer->phase() != Placer::Phase::kServing) return;
  const uint64_t taken = instance.placer->memory_bytes();
  uint64_t before = 0;
  {
    MutexLock lock(&mutex_);
    if (instance.failed || instance.use->retired.load()) return;
    before = std::exchange(instance.bytes, taken <= instance.bytes ? taken : 0);
  }
  if (taken <= before) return;
  const Status room = hooks_.find_room ? hooks_.find_room(taken, instance.shape) : absl::OkStatus();
  if (!room.ok()) {
    LogWarning("Model {}: the instance for {} goes again: {}", settings_.name, instance.shape, Message(room));
    instance.placer->Sleep();
    return Refuse(instance, room, kRetryAfter);
  }
  MutexLock lock(&mutex_);
  instance.bytes = taken;
}

// Calls that wait for it are answered; those that run are finished.
void ShapeInstances::Refuse(Instance& instance, const Status& why, Duration again) {
  {
    MutexLock lock(&mutex_);
    instance.failed = true;
    instance.failed_at = timer_.Now();
    instance.retry_after = again;
    instance.why = why;
    instance.bytes = 0;
  }
  instance.placer->executor()->SetRoute({.closed = why});
}

uint64_t ShapeInstances::memory_bytes() const {
  MutexLock lock(&mutex_);
  uint64_t bytes = 0;
  for (const auto& [key, instance] : instances_) bytes += instance->bytes;
  for (const auto& instance : retired_) bytes += instance->use->calls.load() == 0 ? 0 : instance->bytes;
  return bytes;
}

std::vector<ShapeInstances::Idle> ShapeInstances::IdleOnes() const {
  MutexLock lock(&mutex_);
  std::map<uint64_t, Idle> by_use;
  for (const auto& [key, instance] : instances_) {
    if (instance->bytes == 0 || instance->loading || instance->use->calls.load() != 0) continue;
    by_use[instance->last_use] = {key, instance->used_at, instance->bytes};
  }
  std::vector<Idle> idle;
  for (auto& [use, one] : by_use) idle.push_back(std::move(one));
  return idle;
}

void ShapeInstances::GiveBack(const Key& key, const std::string& why) {
  MutexLock lock(&mutex_);
  const auto found = instances_.find(key);
  if (found == instances_.end()) return;
  LogInfo("Model {}: the instance for {} goes, since {}", settings_.name, found->second->shape, why);
  Retire(Key(key));
}

void ShapeInstances::Step() {
  std::vector<std::shared_ptr<Instance>> step, gone;
  {
    MutexLock lock(&mutex_);
    std::erase_if(retired_, [&](std::shared_ptr<Instance>& instance) {
      if (instance->use->calls.load() != 0) return false;
      gone.push_back(std::move(instance));
      return true;
    });
    step = retired_;
    for (const auto& [key, instance] : instances_) step.push_back(instance);
  }
  gone.clear();
  for (const auto& instance : step) {
    if (!Admit(*instance)) continue;
    instance->placer->Step();
    SetMemory(*instance);
  }
  MutexLock lock(&mutex_);
  for (const auto& [key, instance] : instances_) {
    if (instance->failed) continue;
    const Placer::Phase phase = instance->placer->phase();
    instance->loading = phase == Placer::Phase::kLoading;
    if (phase != Placer::Phase::kFailed) continue;
    instance->failed = true;
    instance->failed_at = timer_.Now();
    instance->bytes = 0;
    instance->why = instance->placer->Refusal();
    instance->refused = instance->why.code() == StatusCode::kInvalidArgument;
    hooks_.failed(instance->placer->why());
  }
}

template <typename Look>
void ShapeInstances::ForEachExecutor(Look look) const {
  MutexLock lock(&mutex_);
  for (const auto& [key, instance] : instances_) look(*instance->placer->executor());
  for (const auto& instance : retired_) look(*instance->placer->executor());
}

size_t ShapeInstances::queued() const {
  size_t count = 0;
  ForEachExecutor([&count](const Executor& executor) { count += executor.queued(); });
  return count;
}

size_t ShapeInstances::active() const {
  size_t count = 0;
  ForEachExecutor([&count](const Executor& executor) { count += executor.active(); });
  return count;
}

size_t ShapeInstances::given_up() const {
  size_t count = 0;
  ForEachExecutor([&count](const Executor& executor) { count += executor.given_up(); });
  return count;
}

std::optional<TimePoint> ShapeInstances::oldest_queued() const {
  std::optional<TimePoint> oldest;
  ForEachExecutor([&oldest](const Executor& executor) {
    const std::optional<TimePoint> one = executor.oldest_queued();
    if (one && (!oldest || *one < *oldest)) oldest = one;
  });
  return oldest;
}

std::vector<ShapePlacement> ShapeInstances::Report() const {
  MutexLock lock(&mutex_);
  std::vector<const Instance*> rows;
  for (const auto& [key, instance] : instances_) rows.push_back(instance.get());
  std::sort(rows.begin(), rows.end(), [](const Instance* a, const Instance* b) { return a->last_use > b->last_use; });
  std::vector<ShapePlacement> report;
  for (const Instance* instance : rows) {
    ShapePlacement row{.shape = instance->shape, .state = {}, .reason = {}};
    const PlacementReport placement = instance->placer->Report();
    for (const TargetPlacement& target : placement.targets) {
      row.requests_served += target.requests_served;
      if (target.facts) row.memory_bytes += target.facts->memory_bytes.value_or(0);
    }
    row.state = instance->failed ? "failed" : instance->compiling() ? "compiling" : "serving";
    row.reason = std::string(Message(instance->why));
    report.push_back(std::move(row));
  }
  return report;
}

}  // namespace switchyard
