#include "runtime/openvino/openvino_runtime.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <openvino/core/version.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>
#include <utility>

#include "base/mutex.h"
#include "device/cpu_facts.h"
#include "device/fault.h"
#include "device/target.h"
#include "runtime/openvino/canary.h"
#include "runtime/openvino/convert.h"
#include "runtime/openvino/graph.h"
#include "runtime/openvino/isolated_compile.h"
#include "runtime/openvino/list_devices.h"
#include "runtime/openvino/load_facts.h"
#include "runtime/openvino/load_inspection.h"
#include "runtime/openvino/load_priority.h"
#include "runtime/openvino/load_threads.h"
#include "runtime/openvino/make_core.h"
#include "runtime/openvino/model_cache.h"
#include "runtime/openvino/model_setup.h"
#include "runtime/openvino/openvino_model.h"
#include "runtime/openvino/port_order.h"
#include "runtime/openvino/properties.h"
#include "runtime/openvino/property_check.h"

namespace switchyard {
namespace {

// As OVMS: beyond this a number of infer requests is a typing error.
constexpr uint32_t kMaxRequests = 100000;

std::vector<std::optional<size_t>> PassedThrough(const ov::Model& model) {
  std::vector<std::optional<size_t>> result;
  for (const auto& output : model.outputs()) {
    const auto source = output.get_node()->input_value(0).get_node_shared_ptr();
    const auto parameter = ov::as_type_ptr<const ov::op::v0::Parameter>(source);
    const int64_t index = parameter ? model.get_parameter_index(std::const_pointer_cast<ov::op::v0::Parameter>(parameter)) : -1;
    result.push_back(index < 0 ? std::nullopt : std::optional<size_t>(static_cast<size_t>(index)));
  }
  return result;
}

// A device's generation is a core of its own: compiling again in the same core makes no new contexts of the driver.
class OpenVinoRuntime final : public Runtime {
 public:
  OpenVinoRuntime(OpenVinoOptions options, std::shared_ptr<ov::Core> core)
      : options_(std::move(options)), core_(std::move(core)), checker_(options_) {}

  StatusOr<std::vector<std::string>> CheckProperties(const std::string& target, const std::vector<std::string>& devices,
                                                     const PropertyMap& plugin_config) override;
  StatusOr<std::shared_ptr<CompiledModel>> Load(const LoadRequest& request) override;
  StatusOr<ModelGraph> Graph(const LoadRequest& request) override;
  Status Renew(const std::string& device) override;
  StatusOr<std::shared_ptr<CompiledModel>> LoadCanary(const std::string& device) override;
  DeviceList Devices(std::chrono::milliseconds limit) override { return ListDevices(options_, *core_, limit); }
  std::string Version() const override { return OpenVinoVersion(); }

 private:
  // The core of the newest generation among the target's devices.
  std::shared_ptr<ov::Core> CoreOf(const std::string& target) const;
  // Of every generation that is still in use.
  std::vector<std::shared_ptr<ov::Core>> LiveCores() const;

  const OpenVinoOptions options_;
  const std::shared_ptr<ov::Core> core_;  // of every device that was never renewed
  PropertyChecker checker_;

  struct Generation {
    uint64_t number = 0;
    std::shared_ptr<ov::Core> core;
  };
  StatusOr<std::shared_ptr<CompiledModel>> LoadHere(const LoadRequest& request);
  // How many threads a load may have: half of the processors, when a model that was loaded before may be serving.
  int LoadThreads();

  mutable Mutex mutex_;
  std::vector<std::weak_ptr<CompiledModel>> loaded_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, Generation> renewed_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<ov::Core>> made_ ABSL_GUARDED_BY(mutex_);  // beside core_
};

std::shared_ptr<ov::Core> OpenVinoRuntime::CoreOf(const std::string& target) const {
  MutexLock lock(&mutex_);
  Generation newest{0, core_};
  for (const std::string& device : DevicesOf(target)) {
    const auto found = renewed_.find(device);
    if (found != renewed_.end() && found->second.number > newest.number) newest = found->second;
  }
  return newest.core;
}

std::vector<std::shared_ptr<ov::Core>> OpenVinoRuntime::LiveCores() const {
  std::vector<std::shared_ptr<ov::Core>> cores = {core_};
  MutexLock lock(&mutex_);
  for (const auto& made : made_) {
    if (auto core = made.lock()) cores.push_back(std::move(core));
  }
  return cores;
}

StatusOr<std::shared_ptr<ov::Model>> ReadModelFile(ov::Core& core, const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return Error(StatusCode::kNotFound, "Model {} is not there{}", path, error ? " (" + error.message() + ")" : "");
  }
  return Guarded(StatusCode::kInternal, fmt::format("Cannot read model {}", path),
                 [&]() -> StatusOr<std::shared_ptr<ov::Model>> { return core.read_model(path); });
}

// The faulty property, where one of `asked` is to blame for the failure.
StatusOr<ov::CompiledModel> Compile(const OpenVinoOptions& options, ov::Core& core, const std::shared_ptr<ov::Model>& model,
                                    const LoadRequest& request, const ov::AnyMap& properties) {
  const std::string& target = request.target;
  auto compiled = Guarded(StatusCode::kInternal, fmt::format("Cannot compile the model for {}", target),
                          [&]() -> StatusOr<ov::CompiledModel> { return core.compile_model(model, target, properties); });
  if (compiled.ok()) return compiled;
  const Fault fault = ClassifyFault(FaultyDevice(target), Message(compiled.status()));
  if (fault == Fault::kDevice) return MarkFault(compiled.status(), fault);
  SY_RETURN_IF_ERROR(FindFaultyProperty(options, target, request.properties));
  return compiled;
}

// The cache for this load. With isolated_compile it holds the model then, if need be by a child's work.
StatusOr<ModelCache> OpenCache(const OpenVinoOptions& options, const LoadRequest& request, ov::AnyMap& properties) {
  LoadRequest in_child = request;
  in_child.settings.isolated_compile = false;
  const auto named = properties.find(ov::cache_dir.name());
  if (named != properties.end()) in_child.cache_dir = named->second.as<std::string>();
  properties.erase(ov::cache_dir.name());
  const bool isolated = request.settings.isolated_compile;
  ModelCache cache;
  if (!in_child.cache_dir.empty()) {
    const std::string identity = CacheIdentity(request, ov::Any(properties).as<std::string>());
    cache = ModelCache(in_child.cache_dir, identity, request.cache_max_bytes);
    if (!isolated || cache.ready()) return cache;
    SY_RETURN_IF_ERROR(CompileInChild(options, in_child));
    cache = ModelCache(in_child.cache_dir, identity, request.cache_max_bytes);
    if (cache.ready()) return cache;
    return Error(StatusCode::kInternal, "isolated_compile: what the child compiled is not in the cache folder {}",
                 in_child.cache_dir);
  }
  if (isolated) SY_RETURN_IF_ERROR(CompileInChild(options, in_child));
  return cache;
}

// What was compiled, and how.
struct Compiled {
  ov::CompiledModel model;
  std::vector<std::string> reasons;
  bool cached = false;
  double compile_ms = 0;
};

StatusOr<Compiled> CompileCached(const OpenVinoOptions& options, ov::Core& core, const std::shared_ptr<ov::Model>& model,
                                 const LoadRequest& request, ov::AnyMap properties, ModelCache cache) {
  const auto begin = std::chrono::steady_clock::now();
  // Given with each compilation: set on the core, it would be every model's.
  if (!cache.directory().empty()) properties[ov::cache_dir.name()] = cache.directory();
  auto compiled = Compile(options, core, model, request, properties);
  Compiled result{.reasons = cache.reasons(), .cached = !cache.directory().empty()};
  if (!compiled.ok() && result.cached && compiled.status().code() != StatusCode::kInvalidArgument &&
      FaultOf(compiled.status()) != Fault::kDevice && !request.settings.isolated_compile) {
    // A folder that OpenVINO cannot work with must not cost the model.
    properties.erase(ov::cache_dir.name());
    auto without = Compile(options, core, model, request, properties);
    if (!without.ok()) return compiled.status();
    result.reasons.push_back(fmt::format("compiled without the cache, with which it fails: {}", Message(compiled.status())));
    result.cached = false;
    compiled = std::move(without);
  }
  SY_RETURN_IF_ERROR(compiled.status());
  result.model = *std::move(compiled);
  result.compile_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  if (result.cached) {
    const size_t told = cache.reasons().size();
    cache.Finish(FromCache(result.model));
    result.reasons.insert(result.reasons.end(), cache.reasons().begin() + static_cast<ptrdiff_t>(told), cache.reasons().end());
  }
  return result;
}

int OpenVinoRuntime::LoadThreads() {
  MutexLock lock(&mutex_);
  std::erase_if(loaded_, [](const auto& model) { return model.expired(); });
  return loaded_.empty() ? 0 : std::max(1, static_cast<int>(UsableProcessors()) / 2);
}

StatusOr<std::shared_ptr<CompiledModel>> OpenVinoRuntime::Load(const LoadRequest& request) {
  StatusOr<std::shared_ptr<CompiledModel>> loaded;
  RunOnThreads(LoadThreads(), [&] {
    loaded = Guarded(StatusCode::kInternal, fmt::format("Cannot load model {}", request.model_path),
                     [&] { return LoadHere(request); });
  });
  if (loaded.ok()) {
    MutexLock lock(&mutex_);
    loaded_.push_back(*loaded);
  }
  return loaded;
}

StatusOr<std::shared_ptr<CompiledModel>> OpenVinoRuntime::LoadHere(const LoadRequest& request) {
  const auto begin = std::chrono::steady_clock::now();
  const LoadPriority gives_way;
  const ModelSettings& settings = request.settings;
  if (settings.nireq > kMaxRequests) {
    return InvalidArgument("nireq is {}; expected at most {}", settings.nireq, kMaxRequests);
  }
  const std::string& target = request.target;
  const std::shared_ptr<ov::Core> core = CoreOf(target);
  SY_RETURN_IF_ERROR(CheckTarget(*core, target));
  ov::AnyMap properties = MakeProperties(*core, target, request.properties);
  if (!request.cache_dir.empty()) properties.try_emplace(ov::cache_dir.name(), request.cache_dir);

  SY_ASSIGN_OR_RETURN(const NameMapping mapping, ReadNameMapping(request.model_path));
  SY_ASSIGN_OR_RETURN(std::shared_ptr<ov::Model> model, ReadModelFile(*core, request.model_path));
  SY_ASSIGN_OR_RETURN(const PortNames names, ApplySettings(model, settings, mapping));
  SY_ASSIGN_OR_RETURN(Signature signature, MakeSignature(*model, names));
  LoadInspection inspection(request, LiveCores(), core, model, properties);
  // Asking the plugins, as HETERO's inspection does, may crash as compiling does: the child did it, and kept what it was told.
  const bool isolated = settings.isolated_compile;
  if (!isolated) SY_RETURN_IF_ERROR(inspection.Before());
  SY_ASSIGN_OR_RETURN(ModelCache cache, OpenCache(options_, request, properties));
  if (isolated) SY_RETURN_IF_ERROR(inspection.Before());
  auto made = CompileCached(options_, *core, model, request, properties, std::move(cache));
  if (!made.ok()) return inspection.Explain(made.status());
  Compiled compiled = *std::move(made);
  return Guarded(StatusCode::kInternal, "The compiled model does not answer",
                 [&]() -> StatusOr<std::shared_ptr<CompiledModel>> {
                   SY_ASSIGN_OR_RETURN(PortOrder order, FindPortOrder(*model, compiled.model, names, target));
                   LoadFacts facts = MakeFacts(*model, compiled.model, target, settings.nireq, compiled.cached);
                   inspection.After(compiled.model, facts);
                   facts.compile_ms = compiled.compile_ms;
                   facts.load_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
                   facts.reasons.insert(facts.reasons.end(), compiled.reasons.begin(), compiled.reasons.end());
                   return std::make_shared<OpenVinoModel>(core, std::move(compiled.model), std::move(order),
                                                          std::move(signature), std::move(facts), PassedThrough(*model));
                 });
}

StatusOr<ModelGraph> OpenVinoRuntime::Graph(const LoadRequest& request) {
  const std::shared_ptr<ov::Core> core = CoreOf(request.target);
  SY_RETURN_IF_ERROR(CheckTarget(*core, request.target));
  SY_ASSIGN_OR_RETURN(std::shared_ptr<ov::Model> model, ReadModelFile(*core, request.model_path));
  SY_ASSIGN_OR_RETURN(const NameMapping mapping, ReadNameMapping(request.model_path));
  SY_ASSIGN_OR_RETURN(const PortNames names, ApplySettings(model, request.settings, mapping));
  SY_ASSIGN_OR_RETURN(Signature signature, MakeSignature(*model, names));
  SY_RETURN_IF_ERROR(CheckShapes(*model, request.target));
  ov::AnyMap properties = MakeProperties(*core, request.target, request.properties);
  properties.erase(ov::cache_dir.name());
  SY_ASSIGN_OR_RETURN(ModelGraph graph, ReadGraph(*core, model, request.target, properties));
  graph.signature = std::move(signature);
  graph.load_refusal = LoadInspection(request, LiveCores(), core, model, std::move(properties)).Refusal();
  return graph;
}

StatusOr<std::vector<std::string>> OpenVinoRuntime::CheckProperties(const std::string& target,
                                                                    const std::vector<std::string>& devices,
                                                                    const PropertyMap& plugin_config) {
  return Guarded(StatusCode::kInternal, "Cannot check plugin_config", [&]() -> StatusOr<std::vector<std::string>> {
    return checker_.Check(*core_, target, devices, plugin_config);
  });
}

Status OpenVinoRuntime::Renew(const std::string& device) {
  SY_ASSIGN_OR_RETURN(std::shared_ptr<ov::Core> core, MakeCore(options_));
  // Makes the device's plugin, and with it the driver's contexts, now.
  SY_RETURN_IF_ERROR(Guarded(StatusCode::kUnavailable, fmt::format("Device {} does not come back", device), [&]() -> Status {
    core->get_property(device, ov::supported_properties);
    return absl::OkStatus();
  }));
  Generation before;  // let go of without the lock: the core of a broken device may not come back from that
  MutexLock lock(&mutex_);
  std::erase_if(made_, [](const auto& made) { return made.expired(); });
  made_.push_back(core);
  before = std::exchange(renewed_[CanonicalDevice(device)], Generation{++last_generation_, std::move(core)});
  return absl::OkStatus();
}

StatusOr<std::shared_ptr<CompiledModel>> OpenVinoRuntime::LoadCanary(const std::string& device) {
  const std::shared_ptr<ov::Core> core = CoreOf(device);
  const std::shared_ptr<ov::Model> model = OneOperation();
  const PortNames names = PublicNames(*model);
  SY_ASSIGN_OR_RETURN(Signature signature, MakeSignature(*model, names));
  auto compiled = Guarded(StatusCode::kUnavailable, fmt::format("Cannot compile a canary for {}", device),
                          [&]() -> StatusOr<ov::CompiledModel> { return core->compile_model(model, device); });
  if (!compiled.ok()) return MarkFault(compiled.status(), ClassifyFault(device, Message(compiled.status())));
  SY_ASSIGN_OR_RETURN(PortOrder order, FindPortOrder(*model, *compiled, names, device));
  LoadFacts facts{.device = device};
  return std::make_shared<OpenVinoModel>(core, *std::move(compiled), std::move(order), std::move(signature), std::move(facts),
                                         std::vector<std::optional<size_t>>{std::nullopt});
}

}  // namespace

StatusOr<std::unique_ptr<Runtime>> MakeOpenVinoRuntime(const OpenVinoOptions& options) {
  SY_ASSIGN_OR_RETURN(std::shared_ptr<ov::Core> core, MakeCore(options));
  return std::make_unique<OpenVinoRuntime>(options, std::move(core));
}

std::string OpenVinoVersion() { return ov::get_openvino_version().buildNumber; }

}  // namespace switchyard
