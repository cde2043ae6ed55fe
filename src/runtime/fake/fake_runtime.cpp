#include "runtime/fake/fake_runtime.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "device/target.h"
#include "tensor/buffer.h"

namespace switchyard {

namespace {
class FakeRequest;
constexpr std::chrono::seconds kPatience(10);
}  // namespace

struct FakeRuntime::State {
  mutable Mutex mutex;
  std::map<std::string, Script> scripts ABSL_GUARDED_BY(mutex);
  Inventory devices ABSL_GUARDED_BY(mutex) = {{.name = "CPU", .full_name = "Fake CPU", .type = DeviceInfo::Type::kCpu}};
  std::deque<FakeRequest*> held ABSL_GUARDED_BY(mutex);
  std::deque<FakeRequest*> threaded ABSL_GUARDED_BY(mutex);
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::vector<LoadRequest> load_requests ABSL_GUARDED_BY(mutex);
  std::vector<std::string> renewals ABSL_GUARDED_BY(mutex);
  Status renew_error ABSL_GUARDED_BY(mutex);
  std::vector<std::string> violations ABSL_GUARDED_BY(mutex);
  size_t running ABSL_GUARDED_BY(mutex) = 0;
  size_t max_running ABSL_GUARDED_BY(mutex) = 0;
  std::atomic<size_t> live_models{0};
  std::atomic<size_t> live_requests{0};
  std::atomic<size_t> infers{0};
  std::atomic<size_t> async_starts{0};
  std::thread thread;

  Script& ScriptOf(const std::string& name, int64_t version, const std::string& target) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const auto there = scripts.find(fmt::format("{}@{}", name, target));
    if (there != scripts.end()) return there->second;
    const auto specific = scripts.find(fmt::format("{}/{}", name, version));
    return specific != scripts.end() ? specific->second : scripts[name];
  }
  Script CopyOf(const std::string& name, int64_t version, const std::string& target) {
    MutexLock lock(&mutex);
    return ScriptOf(name, version, target);
  }
  void Violation(std::string text) {
    MutexLock lock(&mutex);
    violations.push_back(std::move(text));
  }
  void Begin() {
    MutexLock lock(&mutex);
    max_running = std::max(max_running, ++running);
  }
  void End() {
    MutexLock lock(&mutex);
    --running;
  }
  void ThreadLoop();
};

namespace {

using Script = FakeRuntime::Script;
using State = FakeRuntime::State;

OutputTensor Answer(const TensorSpec& spec, const TensorView& input) {
  OutputTensor output{.type = spec.type, .shape = input.shape};
  if (spec.type == ElementType::kBytes) {
    for (const std::string_view element : input.strings) output.strings.emplace_back(element);
    output.strings.resize(ElementCount(input.shape).value_or(0));
    return output;
  }
  output.bytes = ByteCount(input.shape, ElementSize(spec.type)).value_or(0);
  auto memory = std::make_shared<Buffer>(Buffer::Allocate(output.bytes));
  if (input.type != spec.type) {
    std::memset(memory->data(), 0, output.bytes);
  } else if (spec.type == ElementType::kFp32) {
    for (size_t at = 0; at + sizeof(float) <= output.bytes; at += sizeof(float)) {
      float value;
      std::memcpy(&value, input.data + at, sizeof(value));
      value += 1.0f;
      std::memcpy(memory->data() + at, &value, sizeof(value));
    }
  } else if (output.bytes > 0) {
    std::memcpy(memory->data(), input.data, output.bytes);
  }
  output.data = memory->data();
  output.owner = std::move(memory);
  return output;
}

class FakeModel final : public CompiledModel, public std::enable_shared_from_this<FakeModel> {
 public:
  FakeModel(std::shared_ptr<State> state, std::string name, int64_t version, std::string target, Script script)
      : state_(std::move(state)),
        name_(std::move(name)),
        version_(version),
        target_(std::move(target)),
        signature_(std::move(script.signature)),
        facts_(std::move(script.facts)) {
    if (!target_.empty() && target_ != "CPU") {
      facts_.device = target_;
      const bool divided = target_.starts_with("HETERO:") && facts_.execution_devices != Script().facts.execution_devices;
      if (!divided) facts_.execution_devices = {target_};
      facts_.cpu_only = false;
    }
    ++state_->live_models;
  }
  ~FakeModel() override { --state_->live_models; }

  const Signature& signature() const override { return signature_; }
  const LoadFacts& facts() const override { return facts_; }
  StatusOr<std::unique_ptr<InferRequest>> CreateInferRequest() override;

  State& state() { return *state_; }
  Script script() { return state_->CopyOf(name_, version_, target_); }

 private:
  const std::shared_ptr<State> state_;
  const std::string name_;
  const int64_t version_;
  const std::string target_;
  const Signature signature_;
  LoadFacts facts_;
};

class FakeRequest final : public InferRequest {
 public:
  explicit FakeRequest(std::shared_ptr<FakeModel> model) : model_(std::move(model)) { ++state().live_requests; }
  ~FakeRequest() override {
    // As the real ones do: a callback that still runs on another thread is waited for.
    if (callback_thread_.load() != std::this_thread::get_id()) const std::lock_guard wait(*in_callback_);
    if (running_) state().Violation("InferRequest destroyed while its inference runs");
    if (callback_thread_.load() == std::this_thread::get_id()) state().Violation("InferRequest destroyed in its own callback");
    {
      MutexLock lock(&state().mutex);
      std::erase(state().held, this);
      std::erase(state().threaded, this);
      if (running_) --state().running;
    }
    --state().live_requests;
    if (destroyed_ != nullptr) *destroyed_ = true;
  }

  using InferRequest::Bind;
  Status Bind(absl::Span<const TensorView> inputs, absl::Span<const OutputPlace> places) override {
    if (running_) state().Violation("Bind while an inference runs");
    inputs_.assign(inputs.begin(), inputs.end());
    places_.assign(places.begin(), places.end());
    outputs_.clear();
    return model_->script().bind_error;
  }

  Status Infer() override {
    ++state().infers;
    if (!Start()) return Error(StatusCode::kInternal, "an inference runs already");
    const Status status = Run(absl::OkStatus());
    Finish();
    return status;
  }

  void StartAsync(Done done) override {
    ++state().async_starts;
    if (!Start()) return done(Error(StatusCode::kInternal, "an inference runs already"));
    done_ = std::move(done);
    const FakeRuntime::Async async = model_->script().async;
    if (async == FakeRuntime::Async::kInline) return Complete(absl::OkStatus());
    MutexLock lock(&state().mutex);
    (async == FakeRuntime::Async::kHeld ? state().held : state().threaded).push_back(this);
  }

  StatusOr<OutputTensor> TakeOutput(size_t index) override {
    if (running_ || index >= outputs_.size()) {
      state().Violation("TakeOutput without a successful inference");
      return Error(StatusCode::kInternal, "output {} is not there", index);
    }
    WriteInPlace(index);
    return std::move(outputs_[index]);
  }

  Status ResetState() override {
    if (running_) state().Violation("ResetState while an inference runs");
    sums_.clear();
    return absl::OkStatus();
  }

  // Ends the inference and runs the callback; only for one that StartAsync began.
  void Complete(const Status& status) {
    const Status result = Run(status);
    Done done = std::move(done_);
    const std::shared_ptr<FakeModel> keep = model_;
    const std::shared_ptr<std::recursive_mutex> in_callback = in_callback_;
    // Before the members below: the callback that started this inference may still run, on another thread.
    const std::lock_guard inside(*in_callback);
    // The callback may start the next inference on this very request, so that it must look ended before; and what outlives a
    // wrong destruction within the callback must not be touched after it.
    bool destroyed = false;
    bool* const destroyed_outside = std::exchange(destroyed_, &destroyed);
    const auto outer = callback_thread_.exchange(std::this_thread::get_id());
    Finish();
    done(result);
    if (destroyed) {
      if (destroyed_outside != nullptr) *destroyed_outside = true;
      return;
    }
    callback_thread_ = outer;
    destroyed_ = destroyed_outside;
  }

 private:
  State& state() { return model_->state(); }

  // Held while the callback runs, by the thread that runs it; it may start the next inference, and so the next callback.
  const std::shared_ptr<std::recursive_mutex> in_callback_ = std::make_shared<std::recursive_mutex>();

  bool Start() {
    if (running_.exchange(true)) {
      state().Violation("a second inference started while one runs");
      return false;
    }
    state().Begin();
    return true;
  }
  void Finish() {
    state().End();
    running_ = false;
  }

  void WriteInPlace(size_t index) {
    OutputTensor& output = outputs_[index];
    const OutputPlace place = index < places_.size() ? places_[index] : OutputPlace();
    if (place.data == nullptr || place.bytes < output.bytes || output.type == ElementType::kBytes) return;
    if (output.data != place.data && output.bytes > 0) std::memcpy(place.data, output.data, output.bytes);
    output.data = place.data;
    output.owner = nullptr;
  }

  // The inference itself, and what only the CPU does: its outputs lie in their places when it ends.
  Status Run(const Status& forced) {
    const Status status = Compute(forced);
    for (size_t i = 0; status.ok() && model_->facts().cpu_only && i < outputs_.size(); ++i) WriteInPlace(i);
    return status;
  }

  Status Compute(const Status& forced) {
    const Script script = model_->script();
    if (script.on_infer) script.on_infer();
    if (script.cost.count() > 0) {
      const auto end = std::chrono::steady_clock::now() + script.cost;
      while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
    }
    if (!forced.ok()) return forced;
    if (!script.infer_error.ok()) return script.infer_error;
    if (script.compute) {
      auto outputs = script.compute(inputs_);
      if (!outputs.ok()) return outputs.status();
      outputs_ = *std::move(outputs);
      return absl::OkStatus();
    }
    outputs_.clear();
    const auto& specs = model_->signature().outputs;
    for (size_t i = 0; i < specs.size() && !inputs_.empty(); ++i)
      outputs_.push_back(Answer(specs[i], inputs_[i % inputs_.size()]));
    if (model_->facts().stateful) AddUp();
    return absl::OkStatus();
  }

  void AddUp() {
    sums_.resize(outputs_.size());
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const TensorView& input = inputs_[i % inputs_.size()];
      if (outputs_[i].type != ElementType::kFp32 || input.type != ElementType::kFp32) continue;
      std::vector<float>& sum = sums_[i];
      sum.resize(outputs_[i].bytes / sizeof(float));
      for (size_t k = 0; k < sum.size(); ++k) {
        float value;
        std::memcpy(&value, input.data + k * sizeof(float), sizeof(value));
        sum[k] += value;
      }
      std::memcpy(const_cast<std::byte*>(outputs_[i].data), sum.data(), outputs_[i].bytes);
    }
  }

  const std::shared_ptr<FakeModel> model_;
  std::vector<TensorView> inputs_;
  std::vector<OutputPlace> places_;
  std::vector<OutputTensor> outputs_;
  std::vector<std::vector<float>> sums_;  // the state: by output
  Done done_;
  std::atomic<bool> running_{false};
  std::atomic<std::thread::id> callback_thread_{};
  bool* destroyed_ = nullptr;
};

StatusOr<std::unique_ptr<InferRequest>> FakeModel::CreateInferRequest() {
  const Script script = this->script();
  if (!script.create_request_error.ok()) return script.create_request_error;
  return std::make_unique<FakeRequest>(shared_from_this());
}

}  // namespace

void FakeRuntime::State::ThreadLoop() {
  for (;;) {
    FakeRequest* request = nullptr;
    {
      MutexLock lock(&mutex);
      mutex.Await([this] { return stopping || !threaded.empty(); });
      if (threaded.empty()) return;
      request = threaded.front();
      threaded.pop_front();
    }
    request->Complete(absl::OkStatus());
  }
}

Signature DummySignature() {
  const PartialShape shape = {.dims = {Dimension::Fixed(1), Dimension::Fixed(10)}};
  return {.inputs = {{.name = "b", .type = ElementType::kFp32, .shape = shape, .batch_dim = 0}},
          .outputs = {{.name = "a", .type = ElementType::kFp32, .shape = shape, .batch_dim = 0}}};
}

FakeRuntime::FakeRuntime() : state_(std::make_shared<State>()) {
  state_->thread = std::thread([state = state_.get()] { state->ThreadLoop(); });
}

FakeRuntime::~FakeRuntime() {
  {
    MutexLock lock(&state_->mutex);
    state_->stopping = true;
  }
  state_->thread.join();
}

void FakeRuntime::Set(const std::string& name, Script script) {
  MutexLock lock(&state_->mutex);
  state_->scripts[name] = std::move(script);
}

void FakeRuntime::Update(const std::string& name, const std::function<void(Script&)>& change) {
  MutexLock lock(&state_->mutex);
  change(state_->scripts[name]);
}

void FakeRuntime::SetDevices(Inventory devices) {
  MutexLock lock(&state_->mutex);
  state_->devices = std::move(devices);
}

bool FakeRuntime::CompleteNext(const Status& status) {
  FakeRequest* request = nullptr;
  {
    MutexLock lock(&state_->mutex);
    if (state_->held.empty()) return false;
    request = state_->held.front();
    state_->held.pop_front();
  }
  request->Complete(status);
  return true;
}

size_t FakeRuntime::CompleteAll(const Status& status) {
  size_t count = 0;
  while (CompleteNext(status)) ++count;
  return count;
}

bool FakeRuntime::WaitForHeld(size_t count) {
  MutexLock lock(&state_->mutex);
  const auto enough = [this, count]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return state_->held.size() >= count; };
  return state_->mutex.AwaitFor(kPatience, enough);
}

bool FakeRuntime::WaitForLoads(size_t count) {
  MutexLock lock(&state_->mutex);
  const auto enough = [this, count]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return state_->load_requests.size() >= count; };
  return state_->mutex.AwaitFor(kPatience, enough);
}

size_t FakeRuntime::held() const {
  MutexLock lock(&state_->mutex);
  return state_->held.size();
}
size_t FakeRuntime::loads() const {
  MutexLock lock(&state_->mutex);
  return state_->load_requests.size();
}
size_t FakeRuntime::live_models() const { return state_->live_models; }
size_t FakeRuntime::live_requests() const { return state_->live_requests; }
size_t FakeRuntime::infers() const { return state_->infers; }
size_t FakeRuntime::async_starts() const { return state_->async_starts; }
size_t FakeRuntime::running() const {
  MutexLock lock(&state_->mutex);
  return state_->running;
}
size_t FakeRuntime::max_running() const {
  MutexLock lock(&state_->mutex);
  return state_->max_running;
}
std::vector<LoadRequest> FakeRuntime::load_requests() const {
  MutexLock lock(&state_->mutex);
  return state_->load_requests;
}
std::vector<std::string> FakeRuntime::violations() const {
  MutexLock lock(&state_->mutex);
  return state_->violations;
}

StatusOr<std::shared_ptr<CompiledModel>> FakeRuntime::Load(const LoadRequest& request) {
  const std::shared_ptr<State> state = state_;
  const std::string& name = request.settings.name;
  Script script;
  {
    MutexLock lock(&state->mutex);
    state->load_requests.push_back(request);
    state->mutex.Await(
        [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !state->ScriptOf(name, request.version, request.target).hold_load; });
    script = state->ScriptOf(name, request.version, request.target);
  }
  if (!script.load_error.ok()) return script.load_error;
  return std::make_shared<FakeModel>(state, name, request.version, request.target, std::move(script));
}

StatusOr<std::vector<std::string>> FakeRuntime::CheckProperties(const std::string&, const std::vector<std::string>&,
                                                                const PropertyMap&) {
  return std::vector<std::string>{};
}

StatusOr<ModelGraph> FakeRuntime::Graph(const LoadRequest& request) {
  const Script script = state_->CopyOf(request.settings.name, request.version, request.target);
  if (!script.load_error.ok()) return script.load_error;
  const std::vector<std::string> devices = DevicesOf(request.target);
  const std::string first = devices.empty() ? "CPU" : devices.front();
  const std::string last = devices.empty() ? "CPU" : devices.back();
  return ModelGraph{.nodes = {{.name = "b", .type = "Parameter", .device = first, .shape = "(1,10)", .inputs = {}},
                              {.name = "add", .type = "Add", .device = first, .shape = "(1,10)", .inputs = {0}},
                              {.name = "a", .type = "Result", .device = last, .shape = "(1,10)", .inputs = {1}}},
                    .left_out = 1,
                    .signature = script.signature,
                    .load_refusal = script.load_refusal};
}

Status FakeRuntime::Renew(const std::string& device) {
  MutexLock lock(&state_->mutex);
  state_->renewals.push_back(device);
  return state_->renew_error;
}

void FakeRuntime::SetRenewError(const Status& error) {
  MutexLock lock(&state_->mutex);
  state_->renew_error = error;
}

std::vector<std::string> FakeRuntime::renewals() const {
  MutexLock lock(&state_->mutex);
  return state_->renewals;
}

void FakeRuntime::SetDeviceNames(const std::vector<std::string>& names) {
  Inventory inventory;
  for (const std::string& name : names) {
    const DeviceInfo::Type type = name == "CPU"              ? DeviceInfo::Type::kCpu
                                  : name.starts_with("GPU.") ? DeviceInfo::Type::kDiscreteGpu
                                  : name == "NPU"            ? DeviceInfo::Type::kNpu
                                                             : DeviceInfo::Type::kOther;
    inventory.push_back({.name = name, .full_name = "Fake " + name, .type = type});
  }
  SetDevices(std::move(inventory));
}

StatusOr<std::shared_ptr<CompiledModel>> FakeRuntime::LoadCanary(const std::string& device) {
  Script script = state_->CopyOf("canary", 1, device);
  if (!script.load_error.ok()) return script.load_error;
  return std::make_shared<FakeModel>(state_, "canary", 1, device, std::move(script));
}

DeviceList FakeRuntime::Devices(std::chrono::milliseconds) {
  MutexLock lock(&state_->mutex);
  return {state_->devices, {}};
}

}  // namespace switchyard
