#include "runtime/openvino/openvino_runtime.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <openvino/core/version.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/intel_gpu/properties.hpp>
#include <openvino/runtime/properties.hpp>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "device/fault.h"
#include "device/target.h"
#include "runtime/openvino/canary.h"
#include "runtime/openvino/convert.h"
#include "runtime/openvino/load_facts.h"
#include "runtime/openvino/load_inspection.h"
#include "runtime/openvino/model_setup.h"
#include "runtime/openvino/openvino_model.h"
#include "runtime/openvino/properties.h"

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

// An ov::Core with everything that the user added.
StatusOr<std::shared_ptr<ov::Core>> MakeCore(const OpenVinoOptions& options) {
  std::shared_ptr<ov::Core> core;
  SY_RETURN_IF_ERROR(Guarded(StatusCode::kInternal, "OpenVINO does not start", [&]() -> Status {
    core = std::make_shared<ov::Core>();
    return absl::OkStatus();
  }));
  for (const auto& [name, library] : options.device_plugins) {
    SY_RETURN_IF_ERROR(
        Guarded(StatusCode::kInvalidArgument, fmt::format("--device_plugin {}={}", name, library), [&]() -> Status {
          core->register_plugin(library, name);
          return absl::OkStatus();
        }));
  }
  if (!options.cpu_extension.empty()) {
    SY_RETURN_IF_ERROR(Guarded(StatusCode::kInvalidArgument, fmt::format("Cannot load cpu_extension {}", options.cpu_extension),
                               [&]() -> Status {
                                 core->add_extension(options.cpu_extension);
                                 return absl::OkStatus();
                               }));
  }
  return core;
}

// A device's generation is a core of its own: compiling again in the same core makes no new contexts of the driver.
class OpenVinoRuntime final : public Runtime {
 public:
  OpenVinoRuntime(OpenVinoOptions options, std::shared_ptr<ov::Core> core)
      : options_(std::move(options)), core_(std::move(core)) {}

  StatusOr<std::vector<std::string>> CheckProperties(const std::string& target, const std::vector<std::string>& devices,
                                                     const PropertyMap& plugin_config) override;
  StatusOr<std::shared_ptr<CompiledModel>> Load(const LoadRequest& request) override;
  Status Renew(const std::string& device) override;
  StatusOr<std::shared_ptr<CompiledModel>> LoadCanary(const std::string& device) override;
  Inventory Devices() override;
  std::string Version() const override { return OpenVinoVersion(); }

 private:
  // The core of the newest generation among the target's devices.
  std::shared_ptr<ov::Core> CoreOf(const std::string& target) const;
  // Of every generation that is still in use.
  std::vector<std::shared_ptr<ov::Core>> LiveCores() const;

  const OpenVinoOptions options_;
  const std::shared_ptr<ov::Core> core_;  // of every device that was never renewed

  struct Generation {
    uint64_t number = 0;
    std::shared_ptr<ov::Core> core;
  };
  mutable Mutex mutex_;
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

StatusOr<std::shared_ptr<ov::Model>> Read(ov::Core& core, const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return Error(StatusCode::kNotFound, "Model {} is not there{}", path, error ? " (" + error.message() + ")" : "");
  }
  return Guarded(StatusCode::kInternal, fmt::format("Cannot read model {}", path),
                 [&]() -> StatusOr<std::shared_ptr<ov::Model>> { return core.read_model(path); });
}

StatusOr<ov::CompiledModel> Compile(ov::Core& core, const std::shared_ptr<ov::Model>& model, const std::string& target,
                                    const ov::AnyMap& properties) {
  auto compiled = Guarded(StatusCode::kInternal, fmt::format("Cannot compile the model for {}", target),
                          [&]() -> StatusOr<ov::CompiledModel> { return core.compile_model(model, target, properties); });
  if (compiled.ok()) return compiled;
  const Fault fault = ClassifyFault(FaultyDevice(target), Message(compiled.status()));
  if (fault == Fault::kDevice) return MarkFault(compiled.status(), fault);
  SY_RETURN_IF_ERROR(FindFaultyProperty(core, target, properties));
  return compiled;
}

StatusOr<std::shared_ptr<CompiledModel>> OpenVinoRuntime::Load(const LoadRequest& request) {
  const auto begin = std::chrono::steady_clock::now();
  const ModelSettings& settings = request.settings;
  if (settings.nireq > kMaxRequests) {
    return InvalidArgument("nireq is {}; expected at most {}", settings.nireq, kMaxRequests);
  }
  const std::string& target = request.target;
  const std::shared_ptr<ov::Core> core = CoreOf(target);
  SY_RETURN_IF_ERROR(CheckTarget(*core, target));
  SY_ASSIGN_OR_RETURN(ov::AnyMap properties, MakeProperties(*core, target, request.properties));
  // Given with each compilation: set on the core, it would be every model's.
  if (!request.cache_dir.empty()) properties.try_emplace(ov::cache_dir.name(), request.cache_dir);
  const auto cache = properties.find(ov::cache_dir.name());
  const bool cached = cache != properties.end() && !cache->second.as<std::string>().empty();

  SY_ASSIGN_OR_RETURN(std::shared_ptr<ov::Model> model, Read(*core, request.model_path));
  SY_RETURN_IF_ERROR(ApplySettings(model, settings));
  SY_ASSIGN_OR_RETURN(Signature signature, MakeSignature(*model));
  LoadInspection inspection(request, LiveCores(), core, model, properties);
  SY_RETURN_IF_ERROR(inspection.Before());
  const auto compile_begin = std::chrono::steady_clock::now();
  auto made = Compile(*core, model, target, properties);
  if (!made.ok()) return inspection.Explain(made.status());
  ov::CompiledModel compiled = *std::move(made);
  const auto compile_end = std::chrono::steady_clock::now();
  return Guarded(
      StatusCode::kInternal, "The compiled model does not answer", [&]() -> StatusOr<std::shared_ptr<CompiledModel>> {
        if (compiled.inputs().size() != signature.inputs.size() || compiled.outputs().size() != signature.outputs.size()) {
          return Error(StatusCode::kInternal, "Device {} made {} inputs and {} outputs of the model's {} and {}", target,
                       compiled.inputs().size(), compiled.outputs().size(), signature.inputs.size(), signature.outputs.size());
        }
        LoadFacts facts = MakeFacts(*model, compiled, target, settings.nireq, cached);
        inspection.After(compiled, facts);
        facts.compile_ms = std::chrono::duration<double, std::milli>(compile_end - compile_begin).count();
        facts.load_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
        return std::make_shared<OpenVinoModel>(core, std::move(compiled), std::move(signature), std::move(facts),
                                               PassedThrough(*model));
      });
}

StatusOr<std::vector<std::string>> OpenVinoRuntime::CheckProperties(const std::string&, const std::vector<std::string>&,
                                                                    const PropertyMap&) {
  return std::vector<std::string>{};
}

Status OpenVinoRuntime::Renew(const std::string& device) {
  SY_ASSIGN_OR_RETURN(std::shared_ptr<ov::Core> core, MakeCore(options_));
  // Makes the device's plugin, and with it the driver's contexts, now.
  SY_RETURN_IF_ERROR(Guarded(StatusCode::kUnavailable, fmt::format("Device {} does not come back", device), [&]() -> Status {
    core->get_property(device, ov::supported_properties);
    return absl::OkStatus();
  }));
  MutexLock lock(&mutex_);
  std::erase_if(made_, [](const auto& made) { return made.expired(); });
  made_.push_back(core);
  renewed_[CanonicalDevice(device)] = Generation{++last_generation_, std::move(core)};
  return absl::OkStatus();
}

StatusOr<std::shared_ptr<CompiledModel>> OpenVinoRuntime::LoadCanary(const std::string& device) {
  const std::shared_ptr<ov::Core> core = CoreOf(device);
  const std::shared_ptr<ov::Model> model = OneOperation();
  SY_ASSIGN_OR_RETURN(Signature signature, MakeSignature(*model));
  auto compiled = Guarded(StatusCode::kUnavailable, fmt::format("Cannot compile a canary for {}", device),
                          [&]() -> StatusOr<ov::CompiledModel> { return core->compile_model(model, device); });
  if (!compiled.ok()) return MarkFault(compiled.status(), ClassifyFault(device, Message(compiled.status())));
  LoadFacts facts{.device = device};
  return std::make_shared<OpenVinoModel>(core, *std::move(compiled), std::move(signature), std::move(facts),
                                         std::vector<std::optional<size_t>>{std::nullopt});
}

DeviceInfo::Type TypeOf(ov::Core& core, const std::string& device) {
  const std::string kind = device.substr(0, device.find('.'));
  if (kind == "CPU") return DeviceInfo::Type::kCpu;
  if (kind == "NPU") return DeviceInfo::Type::kNpu;
  if (kind != "GPU") return DeviceInfo::Type::kOther;
  return core.get_property(device, ov::device::type) == ov::device::Type::DISCRETE ? DeviceInfo::Type::kDiscreteGpu
                                                                                   : DeviceInfo::Type::kIntegratedGpu;
}

Inventory OpenVinoRuntime::Devices() {
  Inventory inventory;
  const Status listed = Guarded(StatusCode::kInternal, "Cannot list the devices", [&]() -> Status {
    for (const std::string& name : core_->get_available_devices()) {
      DeviceInfo device{.name = CanonicalDevice(name)};
      // A device that does not tell all of itself is still there.
      const Status told = Guarded(StatusCode::kInternal, name, [&]() -> Status {
        device.full_name = core_->get_property(name, ov::device::full_name);
        device.type = TypeOf(*core_, name);
        if (device.type == DeviceInfo::Type::kDiscreteGpu || device.type == DeviceInfo::Type::kIntegratedGpu) {
          device.memory_total_bytes = core_->get_property(name, ov::intel_gpu::device_total_mem_size);
          const std::map<std::string, uint64_t> used = core_->get_property(name, ov::intel_gpu::memory_statistics);
          if (const auto found = used.find("usm_device"); found != used.end()) device.memory_used_bytes = found->second;
        }
        return absl::OkStatus();
      });
      if (!told.ok()) LogDebug("{}", Message(told));
      inventory.push_back(std::move(device));
    }
    return absl::OkStatus();
  });
  if (!listed.ok()) LogWarning("{}", Message(listed));
  return inventory;
}

}  // namespace

StatusOr<std::unique_ptr<Runtime>> MakeOpenVinoRuntime(const OpenVinoOptions& options) {
  std::error_code error;
  if (!options.cpu_extension.empty() && !std::filesystem::exists(options.cpu_extension, error)) {
    return Error(StatusCode::kNotFound, "cpu_extension {} is not there; expected a shared library", options.cpu_extension);
  }
  SY_ASSIGN_OR_RETURN(std::shared_ptr<ov::Core> core, MakeCore(options));
  return std::make_unique<OpenVinoRuntime>(options, std::move(core));
}

std::string OpenVinoVersion() { return ov::get_openvino_version().buildNumber; }

}  // namespace switchyard
