#include "runtime/openvino/model_setup.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <openvino/core/layout.hpp>
#include <openvino/core/preprocess/pre_post_process.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "runtime/openvino/convert.h"

namespace switchyard {
namespace {

using Port = ov::Output<const ov::Node>;

std::string TypeName(const ov::element::Type& type) {
  const ElementType known = FromOpenVino(type);
  return known == ElementType::kUndefined ? type.get_type_name() : std::string(PrecisionName(known));
}

// The name that the operation itself bears, else the first in the alphabet: OVMS's get_any_name() takes whichever a hash puts
// first.
std::vector<std::string> NameCandidates(const Port& port, const std::string& operation) {
  std::set<std::string> names(port.get_names().begin(), port.get_names().end());
  std::vector<std::string> candidates;
  if (names.erase(operation) > 0) candidates.push_back(operation);
  candidates.insert(candidates.end(), names.begin(), names.end());
  return candidates;
}

std::string FirstUnused(const std::vector<std::string>& candidates, std::set<std::string>& used, std::string fallback) {
  for (const std::string& name : candidates) {
    if (used.insert(name).second) return name;
  }
  while (!used.insert(fallback).second) fallback += "_";
  return fallback;
}

std::vector<std::string> InputNames(const ov::Model& model) {
  std::vector<std::string> result;
  std::set<std::string> used;
  for (const Port& port : model.inputs()) {
    const std::string& operation = port.get_node()->get_friendly_name();
    result.push_back(FirstUnused(NameCandidates(port, operation), used, operation));
  }
  return result;
}

std::vector<std::string> OutputNames(const ov::Model& model) {
  std::vector<std::string> result;
  std::set<std::string> used;
  for (const Port& port : model.outputs()) {
    result.push_back(FirstUnused(NameCandidates(port, ""), used, fmt::format("out_{}", result.size())));
  }
  return result;
}

// "b FP32 (1,10), c I64 (-1)".
std::string Describe(const std::vector<Port>& ports, const std::vector<std::string>& names) {
  std::vector<std::string> items;
  for (size_t i = 0; i < ports.size(); ++i) {
    items.push_back(fmt::format("{} {} {}", names[i], TypeName(ports[i].get_element_type()),
                                FromOpenVino(ports[i].get_partial_shape()).ToString()));
  }
  return fmt::format("{}", fmt::join(items, ", "));
}

std::vector<Port> Inputs(const ov::Model& model) { return model.inputs(); }
std::vector<Port> Outputs(const ov::Model& model) { return model.outputs(); }

// By public name, by any other name of the tensor, or by the operation's.
std::optional<size_t> Find(const std::vector<Port>& ports, const std::vector<std::string>& public_names,
                           const std::string& name) {
  for (size_t i = 0; i < ports.size(); ++i) {
    if (public_names[i] == name) return i;
  }
  for (size_t i = 0; i < ports.size(); ++i) {
    if (ports[i].get_names().contains(name) || ports[i].get_node()->get_friendly_name() == name) return i;
  }
  return std::nullopt;
}

// The input that a setting means; "" is the only one.
StatusOr<size_t> FindInput(const ov::Model& model, const std::string& name, std::string_view setting) {
  const std::vector<std::string> names = InputNames(model);
  const std::vector<Port> inputs = Inputs(model);
  if (name.empty()) {
    if (inputs.size() == 1) return 0;
    return InvalidArgument(
        "{} without an input's name is for models with one input; this one has {}: {}. Name them: {{\"{}\": ...}}", setting,
        inputs.size(), Describe(inputs, names), names.empty() ? "name" : names[0]);
  }
  if (const auto index = Find(inputs, names, name)) return *index;
  return InvalidArgument("{} names \"{}\", which is no input of the model; its inputs: {}", setting, name,
                         Describe(inputs, names));
}

// Where N stands. Without a layout the first dimension is the batch.
std::optional<size_t> BatchDimension(const ov::Layout& layout, const ov::PartialShape& shape) {
  const bool ranked = shape.rank().is_static();
  if (ranked && shape.size() == 0) return std::nullopt;
  if (layout.empty()) return 0;
  if (!ov::layout::has_batch(layout)) return std::nullopt;
  int64_t index = ov::layout::batch_idx(layout);
  // Behind "..." it is counted from the end.
  if (index < 0 && ranked) index += static_cast<int64_t>(shape.size());
  if (index < 0 || (ranked && index >= static_cast<int64_t>(shape.size()))) return std::nullopt;
  return static_cast<size_t>(index);
}

ov::Layout LayoutOf(const Port& port) { return ov::layout::get_layout(port); }

Status ApplyLayouts(std::shared_ptr<ov::Model>& model, const ModelSettings& settings) {
  if (settings.layouts.empty()) return absl::OkStatus();
  const std::vector<std::string> input_names = InputNames(*model);
  const std::vector<std::string> output_names = OutputNames(*model);
  ov::preprocess::PrePostProcessor steps(model);
  // A layout that only tells where the batch is goes onto the finished model: building the steps makes new parameters.
  std::vector<std::pair<size_t, ov::Layout>> input_layouts, output_layouts;
  bool transposes = false;
  for (const auto& [name, setting] : settings.layouts) {
    const auto output =
        name.empty() || Find(Inputs(*model), input_names, name) ? std::nullopt : Find(Outputs(*model), output_names, name);
    if (output) {
      if (setting.tensor.empty()) {
        output_layouts.emplace_back(*output, ov::Layout(setting.model));
        continue;
      }
      steps.output(*output).tensor().set_layout(ov::Layout(setting.tensor));
      steps.output(*output).model().set_layout(ov::Layout(setting.model));
      output_layouts.emplace_back(*output, ov::Layout(setting.tensor));
    } else {
      const auto input = FindInput(*model, name, "layout");
      if (!input.ok()) {
        return InvalidArgument("{}; its outputs: {}", Message(input.status()), Describe(Outputs(*model), output_names));
      }
      if (setting.tensor.empty()) {
        input_layouts.emplace_back(*input, ov::Layout(setting.model));
        continue;
      }
      steps.input(*input).tensor().set_layout(ov::Layout(setting.tensor));
      steps.input(*input).model().set_layout(ov::Layout(setting.model));
      input_layouts.emplace_back(*input, ov::Layout(setting.tensor));
    }
    transposes = true;
  }
  if (transposes) model = steps.build();
  for (const auto& [index, layout] : input_layouts) ov::layout::set_layout(model->input(index), layout);
  for (const auto& [index, layout] : output_layouts) ov::layout::set_layout(model->output(index), layout);
  return absl::OkStatus();
}

Status ApplyShapes(ov::Model& model, const ModelSettings& settings) {
  std::map<ov::Output<ov::Node>, ov::PartialShape> shapes;
  for (const auto& [name, shape] : settings.shapes) {
    SY_ASSIGN_OR_RETURN(const size_t index, FindInput(model, name, "shape"));
    shapes[model.input(index)] = ToOpenVino(shape);
  }
  if (settings.batch_size && !settings.shapes.empty()) {
    LogWarning("Model {}: batch_size is not used, because shape is given", settings.name);
  } else if (settings.batch_size) {
    const std::vector<Port> inputs = Inputs(model);
    for (size_t i = 0; i < inputs.size(); ++i) {
      ov::PartialShape shape = inputs[i].get_partial_shape();
      const auto batch = BatchDimension(LayoutOf(inputs[i]), shape);
      if (!batch || shape.rank().is_dynamic()) continue;
      shape[*batch] = ToOpenVino(PartialShape{.dims = {*settings.batch_size}})[0];
      shapes[model.input(i)] = shape;
    }
    if (shapes.empty() && !inputs.empty()) {
      return InvalidArgument("batch_size cannot be set: no input has a batch dimension; the model's inputs: {}",
                             Describe(inputs, InputNames(model)));
    }
  }
  if (!shapes.empty()) model.reshape(shapes);
  return absl::OkStatus();
}

StatusOr<TensorSpec> MakeSpec(const Port& port, const std::string& name, std::string_view kind) {
  TensorSpec spec;
  spec.name = name;
  spec.type = FromOpenVino(port.get_element_type());
  if (spec.type == ElementType::kUndefined) {
    return InvalidArgument(
        "{} \"{}\" has element type {}, which no protocol can carry; convert it to a standard type in the model", kind, name,
        port.get_element_type().get_type_name());
  }
  spec.shape = FromOpenVino(port.get_partial_shape());
  const ov::Layout layout = LayoutOf(port);
  spec.batch_dim = BatchDimension(layout, port.get_partial_shape());
  // "[N,H,W,C]", "[N,...]"
  for (const char letter : layout.empty() ? std::string() : layout.to_string()) {
    if (letter != '[' && letter != ']' && letter != ',') spec.layout += letter;
  }
  return spec;
}

}  // namespace

Status ApplySettings(std::shared_ptr<ov::Model>& model, const ModelSettings& settings) {
  SY_RETURN_IF_ERROR(
      Guarded(StatusCode::kInvalidArgument, "The model refuses the layout", [&] { return ApplyLayouts(model, settings); }));
  const std::string inputs = Describe(Inputs(*model), InputNames(*model));
  return Guarded(
      StatusCode::kInvalidArgument,
      fmt::format("The model refuses the {} (its own inputs: {})", settings.shapes.empty() ? "batch_size" : "shape", inputs),
      [&] { return ApplyShapes(*model, settings); });
}

StatusOr<Signature> MakeSignature(const ov::Model& model) {
  Signature signature;
  const std::vector<std::string> input_names = InputNames(model);
  const std::vector<Port> inputs = Inputs(model);
  for (size_t i = 0; i < inputs.size(); ++i) {
    SY_ASSIGN_OR_RETURN(TensorSpec spec, MakeSpec(inputs[i], input_names[i], "Input"));
    signature.inputs.push_back(std::move(spec));
  }
  const std::vector<std::string> output_names = OutputNames(model);
  const std::vector<Port> outputs = Outputs(model);
  for (size_t i = 0; i < outputs.size(); ++i) {
    SY_ASSIGN_OR_RETURN(TensorSpec spec, MakeSpec(outputs[i], output_names[i], "Output"));
    signature.outputs.push_back(std::move(spec));
  }
  return signature;
}

}  // namespace switchyard
