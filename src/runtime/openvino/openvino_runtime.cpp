#include "runtime/openvino/openvino_runtime.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <openvino/core/version.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>
#include <utility>

#include "runtime/openvino/convert.h"
#include "runtime/openvino/inventory.h"
#include "runtime/openvino/model_setup.h"
#include "runtime/openvino/openvino_model.h"
#include "runtime/openvino/properties.h"

namespace switchyard {
namespace {

// As OVMS: beyond this a number of infer requests is a typing error.
constexpr uint32_t kMaxRequests = 100000;

// What a compiled model tells of a property; nothing when its device does not know it.
template <typename Property>
std::optional<typename Property::value_type> Ask(const ov::CompiledModel& compiled, const Property& property) {
  try {
    return compiled.get_property(property);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

// The number in the text that NUM_STREAMS and its like come as: some plugins tell it as another type than the property has.
std::optional<std::string> AskText(const ov::CompiledModel& compiled, const std::string& property) {
  try {
    return compiled.get_property(property).as<std::string>();
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

// Loops and branches are decided by values, and so are shapes that are not known now.
bool HasSteadyCost(const ov::Model& model) {
  for (const auto& node : model.get_ops()) {
    const std::string_view type = node->get_type_name();
    if (type == "Loop" || type == "If") return false;
    for (const auto& output : node->outputs()) {
      if (output.get_partial_shape().is_dynamic()) return false;
    }
  }
  return true;
}

LoadFacts MakeFacts(const ov::CompiledModel& compiled, const std::string& target, uint32_t nireq, bool cached) {
  LoadFacts facts;
  facts.device = target;
  facts.execution_devices = Ask(compiled, ov::execution_devices).value_or(std::vector<std::string>());
  if (const auto precision = Ask(compiled, ov::hint::inference_precision); precision && precision->is_static()) {
    facts.precision = precision->get_type_name();
  }
  if (const auto streams = Ask(compiled, ov::num_streams)) facts.num_streams = streams->num;
  facts.optimal_requests =
      nireq > 0 ? static_cast<int>(nireq)
                : static_cast<int>(std::max(1u, Ask(compiled, ov::optimal_number_of_infer_requests).value_or(1)));
  if (cached) {
    const bool hit = AskText(compiled, ov::loaded_from_cache.name()).value_or("NO") == "YES";
    facts.cache = hit ? LoadFacts::Cache::kHit : LoadFacts::Cache::kMiss;
  }
  // "CPU(1)" and the like stay apart: a device behind a virtual one may change while it runs.
  facts.cpu_only = target == "CPU" && facts.execution_devices == std::vector<std::string>{"CPU"};
  return facts;
}

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

class OpenVinoRuntime final : public Runtime {
 public:
  explicit OpenVinoRuntime(std::shared_ptr<ov::Core> core) : core_(std::move(core)) {}

  StatusOr<std::vector<std::string>> CheckProperties(const std::string& target, const std::vector<std::string>& devices,
                                                     const PropertyMap& plugin_config) override;
  StatusOr<std::shared_ptr<CompiledModel>> Load(const LoadRequest& request) override;
  Status Renew(const std::string& device) override;
  StatusOr<std::shared_ptr<CompiledModel>> LoadCanary(const std::string& device) override;
  Inventory Devices() override { return ReadInventory(*core_); }
  std::string Version() const override { return OpenVinoVersion(); }

 private:
  StatusOr<std::shared_ptr<ov::Model>> Read(const std::string& path);
  StatusOr<ov::CompiledModel> Compile(const std::shared_ptr<ov::Model>& model, const std::string& target,
                                      const ov::AnyMap& properties);

  const std::shared_ptr<ov::Core> core_;
};

StatusOr<std::shared_ptr<ov::Model>> OpenVinoRuntime::Read(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return Error(StatusCode::kNotFound, "Model {} is not there{}", path, error ? " (" + error.message() + ")" : "");
  }
  return Guarded(StatusCode::kInternal, fmt::format("Cannot read model {}", path),
                 [&]() -> StatusOr<std::shared_ptr<ov::Model>> { return core_->read_model(path); });
}

StatusOr<ov::CompiledModel> OpenVinoRuntime::Compile(const std::shared_ptr<ov::Model>& model, const std::string& target,
                                                     const ov::AnyMap& properties) {
  auto compiled = Guarded(StatusCode::kInternal, fmt::format("Cannot compile the model for {}", target),
                          [&]() -> StatusOr<ov::CompiledModel> { return core_->compile_model(model, target, properties); });
  if (!compiled.ok()) SY_RETURN_IF_ERROR(FindFaultyProperty(*core_, target, properties));
  return compiled;
}

StatusOr<std::shared_ptr<CompiledModel>> OpenVinoRuntime::Load(const LoadRequest& request) {
  const auto begin = std::chrono::steady_clock::now();
  const ModelSettings& settings = request.settings;
  if (settings.nireq > kMaxRequests) {
    return InvalidArgument("nireq is {}; expected at most {}", settings.nireq, kMaxRequests);
  }
  const std::string& target = request.target;
  SY_RETURN_IF_ERROR(CheckTarget(*core_, target));
  SY_ASSIGN_OR_RETURN(ov::AnyMap properties, MakeProperties(*core_, target, request.properties));
  // Given with each compilation: set on the core, it would be every model's.
  if (!request.cache_dir.empty()) properties.try_emplace(ov::cache_dir.name(), request.cache_dir);
  const auto cache = properties.find(ov::cache_dir.name());
  const bool cached = cache != properties.end() && !cache->second.as<std::string>().empty();

  SY_ASSIGN_OR_RETURN(std::shared_ptr<ov::Model> model, Read(request.model_path));
  SY_RETURN_IF_ERROR(ApplySettings(model, settings));
  SY_ASSIGN_OR_RETURN(Signature signature, MakeSignature(*model));
  SY_ASSIGN_OR_RETURN(ov::CompiledModel compiled, Compile(model, target, properties));
  return Guarded(
      StatusCode::kInternal, "The compiled model does not answer", [&]() -> StatusOr<std::shared_ptr<CompiledModel>> {
        if (compiled.inputs().size() != signature.inputs.size() || compiled.outputs().size() != signature.outputs.size()) {
          return Error(StatusCode::kInternal, "Device {} made {} inputs and {} outputs of the model's {} and {}", target,
                       compiled.inputs().size(), compiled.outputs().size(), signature.inputs.size(), signature.outputs.size());
        }
        LoadFacts facts = MakeFacts(compiled, target, settings.nireq, cached);
        facts.steady_cost = HasSteadyCost(*model);
        facts.load_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
        return std::make_shared<OpenVinoModel>(core_, std::move(compiled), std::move(signature), std::move(facts),
                                               PassedThrough(*model));
      });
}

StatusOr<std::vector<std::string>> OpenVinoRuntime::CheckProperties(const std::string&, const std::vector<std::string>&,
                                                                    const PropertyMap&) {
  return std::vector<std::string>{};
}

Status OpenVinoRuntime::Renew(const std::string&) { return absl::OkStatus(); }

StatusOr<std::shared_ptr<CompiledModel>> OpenVinoRuntime::LoadCanary(const std::string& device) {
  return Error(StatusCode::kUnimplemented, "no canary for {}", device);
}

}  // namespace

StatusOr<std::unique_ptr<Runtime>> MakeOpenVinoRuntime(const OpenVinoOptions& options) {
  std::error_code error;
  if (!options.cpu_extension.empty() && !std::filesystem::exists(options.cpu_extension, error)) {
    return Error(StatusCode::kNotFound, "cpu_extension {} is not there; expected a shared library", options.cpu_extension);
  }
  std::shared_ptr<ov::Core> core;
  SY_RETURN_IF_ERROR(Guarded(StatusCode::kInternal, "OpenVINO does not start", [&]() -> Status {
    core = std::make_shared<ov::Core>();
    return absl::OkStatus();
  }));
  if (!options.cpu_extension.empty()) {
    SY_RETURN_IF_ERROR(Guarded(StatusCode::kInvalidArgument, fmt::format("Cannot load cpu_extension {}", options.cpu_extension),
                               [&]() -> Status {
                                 core->add_extension(options.cpu_extension);
                                 return absl::OkStatus();
                               }));
  }
  for (const auto& [name, path] : options.device_plugins) {
    const std::string context = fmt::format("Cannot load device_plugin {}={}, expected a plugin's shared library", name, path);
    if (!std::filesystem::exists(path, error)) return Error(StatusCode::kNotFound, "{}: the file is not there", context);
    SY_RETURN_IF_ERROR(Guarded(StatusCode::kInvalidArgument, context, [&]() -> Status {
      core->register_plugin(std::filesystem::absolute(path), name);
      core->get_versions(name);  // loads it: registering alone does not
      return absl::OkStatus();
    }));
  }
  return std::make_unique<OpenVinoRuntime>(std::move(core));
}

std::string OpenVinoVersion() { return ov::get_openvino_version().buildNumber; }

}  // namespace switchyard
