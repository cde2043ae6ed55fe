#include "runtime/openvino/load_facts.h"

#include <algorithm>
#include <openvino/runtime/properties.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "device/target.h"

namespace switchyard {
namespace {

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

// How many requests BATCH runs as one.
int BatchSize(const ov::Model& model, const ov::CompiledModel& compiled, const std::string& target) {
  if (!target.starts_with("BATCH:") || model.inputs().empty()) return 1;
  const auto runtime_model = compiled.get_runtime_model();
  if (runtime_model->inputs().empty()) return 1;
  return BatchFactor(model.input(0).get_partial_shape(), runtime_model->input(0).get_partial_shape());
}

}  // namespace

int BatchFactor(const ov::PartialShape& source, const ov::PartialShape& compiled) {
  if (source.is_dynamic() || compiled.is_dynamic() || compiled.size() < source.size()) return 1;
  size_t factor = 1;
  for (size_t i = 0; i < source.size(); ++i) {
    const size_t rows = std::max<size_t>(1, source[i].get_length());
    factor = std::max(factor, compiled[i].get_length() / rows);
  }
  return static_cast<int>(factor);
}

bool FromCache(const ov::CompiledModel& compiled) {
  return AskText(compiled, ov::loaded_from_cache.name()).value_or("NO") == "YES";
}

LoadFacts MakeFacts(const ov::Model& model, const ov::CompiledModel& compiled, const std::string& target, uint32_t nireq,
                    bool cached) {
  LoadFacts facts;
  facts.device = target;
  for (const std::string& device : Ask(compiled, ov::execution_devices).value_or(std::vector<std::string>())) {
    facts.execution_devices.push_back(CanonicalDevice(device));
  }
  facts.batch_size = BatchSize(model, compiled, target);
  facts.steady_cost = HasSteadyCost(model);
  facts.stateful = !model.get_variables().empty();
  if (const auto precision = Ask(compiled, ov::hint::inference_precision); precision && precision->is_static()) {
    facts.precision = precision->get_type_name();
  }
  if (const auto streams = Ask(compiled, ov::num_streams)) facts.num_streams = streams->num;
  facts.optimal_requests =
      nireq > 0 ? static_cast<int>(nireq)
                : static_cast<int>(std::max(1u, Ask(compiled, ov::optimal_number_of_infer_requests).value_or(1)));
  if (cached) {
    facts.cache = FromCache(compiled) ? LoadFacts::Cache::kHit : LoadFacts::Cache::kMiss;
  }
  // "CPU(1)" and the like stay apart: a device behind a virtual one may change while it runs.
  facts.cpu_only = target == "CPU" && facts.execution_devices == std::vector<std::string>{"CPU"};
  return facts;
}

}  // namespace switchyard
