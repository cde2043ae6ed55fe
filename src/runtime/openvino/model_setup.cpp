#include "runtime/openvino/model_setup.h"

#include <algorithm>
#include <exception>
#include <map>
#include <openvino/core/layout.hpp>
#include <openvino/pass/low_latency.hpp>
#include <openvino/pass/manager.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "config/setting_mark.h"
#include "runtime/openvino/batching.h"
#include "runtime/openvino/convert.h"
#include "runtime/openvino/model_info.h"
#include "runtime/openvino/preprocess.h"

namespace switchyard {
namespace {

// A layout that only says where the batch is.
bool OnlyTells(const LayoutSetting& layout) { return layout.tensor.empty(); }
// Of what clients send.
ov::Layout TensorLayout(const LayoutSetting& layout) { return ov::Layout(OnlyTells(layout) ? layout.model : layout.tensor); }

class Setup {
 public:
  Setup(std::shared_ptr<ov::Model>& model, const ModelSettings& settings)
      : model_(model), settings_(settings), names_(PublicNames(*model)) {
    renamed_inputs_.resize(names_.inputs.size());
    renamed_outputs_.resize(names_.outputs.size());
  }

  Status Rename(const NameMapping& mapping) {
    SY_RETURN_IF_ERROR(Rename(mapping.inputs, Inputs(*model_), "input", &names_.inputs, &renamed_inputs_));
    return Rename(mapping.outputs, Outputs(*model_), "output", &names_.outputs, &renamed_outputs_);
  }
  Status Preprocess();
  Status Reshape();
  Status CheckAuto() const;
  const PortNames& names() const { return names_; }

 private:
  Status Rename(const std::map<std::string, std::string>& mapping, const std::vector<Port>& ports, std::string_view kind,
                std::vector<std::string>* names, std::vector<bool>* renamed);
  StatusOr<size_t> FindInput(const std::string& name, std::string_view setting) const;
  // Puts the setting's values where they belong in `steps_`.
  template <typename T>
  Status Take(const std::map<std::string, T>& values, std::string_view setting, const T* InputSteps::*member);
  Status TakeLayouts();

  std::shared_ptr<ov::Model>& model_;
  const ModelSettings& settings_;
  PortNames names_;
  std::vector<bool> renamed_inputs_;
  std::vector<bool> renamed_outputs_;
  std::vector<InputSteps> steps_;  // by input
  std::map<size_t, const LayoutSetting*> of_outputs_;
};

Status Setup::Rename(const std::map<std::string, std::string>& mapping, const std::vector<Port>& ports, std::string_view kind,
                     std::vector<std::string>* names, std::vector<bool>* renamed) {
  const std::vector<std::string> own = *names;
  for (const auto& [from, to] : mapping) {
    const std::optional<size_t> index = FindPort(ports, own, {}, from);
    if (!index) {
      return InvalidArgument("mapping_config.json names \"{}\", which is no {} of the model; its {}s: {}", from, kind, kind,
                             Describe(ports, own));
    }
    if ((*renamed)[*index]) {
      return InvalidArgument("mapping_config.json renames the {} \"{}\" twice, the second time as \"{}\"", kind, own[*index],
                             from);
    }
    (*names)[*index] = to;
    (*renamed)[*index] = true;
  }
  for (size_t i = 0; i < names->size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      if ((*names)[i] != (*names)[k]) continue;
      return InvalidArgument("mapping_config.json calls two {}s \"{}\": {} and {}", kind, (*names)[i], own[k], own[i]);
    }
  }
  return absl::OkStatus();
}

// The input that a setting means; "" is the only one. Errors are marked with the setting.
StatusOr<size_t> Setup::FindInput(const std::string& name, std::string_view setting) const {
  const std::vector<Port> inputs = Inputs(*model_);
  if (name.empty()) {
    if (inputs.size() == 1) return 0;
    return MarkSetting(
        InvalidArgument(
            "{} without an input's name is for models with one input; this one has {}: {}. Name them: {{\"{}\": ...}}", setting,
            inputs.size(), Describe(inputs, names_.inputs), inputs.empty() ? "name" : names_.inputs[0]),
        setting);
  }
  if (const auto index = FindPort(inputs, names_.inputs, renamed_inputs_, name)) return *index;
  return MarkSetting(InvalidArgument("{} names \"{}\", which is no input of the model; its inputs: {}", setting, name,
                                     Describe(inputs, names_.inputs)),
                     setting);
}

template <typename T>
Status Setup::Take(const std::map<std::string, T>& values, std::string_view setting, const T* InputSteps::*member) {
  for (const auto& [name, value] : values) {
    SY_ASSIGN_OR_RETURN(const size_t index, FindInput(name, setting));
    if (steps_[index].*member != nullptr) {
      return MarkSetting(
          InvalidArgument("{} is given twice for input \"{}\", the second time as \"{}\"", setting, names_.inputs[index], name),
          setting);
    }
    steps_[index].*member = &value;
  }
  return absl::OkStatus();
}

Status Setup::TakeLayouts() {
  for (const auto& [name, layout] : settings_.layouts) {
    const bool input = name.empty() || FindPort(Inputs(*model_), names_.inputs, renamed_inputs_, name);
    const auto output = input ? std::nullopt : FindPort(Outputs(*model_), names_.outputs, renamed_outputs_, name);
    if (output) {
      of_outputs_[*output] = &layout;
      continue;
    }
    const auto index = FindInput(name, "layout");
    if (!index.ok()) {
      return MarkSetting(
          InvalidArgument("{}; its outputs: {}", Message(index.status()), Describe(Outputs(*model_), names_.outputs)),
          "layout");
    }
    steps_[*index].layout = &layout;
  }
  return absl::OkStatus();
}

Status Setup::Preprocess() {
  steps_.assign(names_.inputs.size(), {});
  SY_RETURN_IF_ERROR(TakeLayouts());
  SY_RETURN_IF_ERROR(Take(settings_.color_formats, "color_format", &InputSteps::color));
  SY_RETURN_IF_ERROR(Take(settings_.precisions, "precision", &InputSteps::precision));
  SY_RETURN_IF_ERROR(Take(settings_.means, "mean", &InputSteps::mean));
  SY_RETURN_IF_ERROR(Take(settings_.scales, "scale", &InputSteps::scale));
  // From the last to the first, since an input may become several.
  for (size_t i = steps_.size(); i-- > 0;) {
    const InputSteps& steps = steps_[i];
    if (!steps.any() && (steps.layout == nullptr || OnlyTells(*steps.layout))) continue;
    std::vector<std::string> planes;
    SY_RETURN_IF_ERROR(PrepareInput(model_, i, names_.inputs[i], steps, &planes));
    if (planes.empty()) continue;
    const auto at = static_cast<std::ptrdiff_t>(i);
    names_.inputs.erase(names_.inputs.begin() + at);
    names_.inputs.insert(names_.inputs.begin() + at, planes.begin(), planes.end());
    renamed_inputs_.insert(renamed_inputs_.begin() + at, planes.size() - 1, false);
    // Planes are laid out as OpenVINO lays them out; where the batch is they know.
    steps_[i].layout = nullptr;
    steps_.insert(steps_.begin() + at, planes.size() - 1, InputSteps());
  }
  for (const auto& [index, layout] : of_outputs_) {
    if (OnlyTells(*layout)) continue;
    SY_RETURN_IF_ERROR(MarkSetting(PrepareOutput(model_, index, names_.outputs[index], *layout), "layout"));
  }
  // What only tells where the batch is goes onto the finished model: building the steps makes new parameters.
  Status told = Guarded(StatusCode::kInvalidArgument, "The model refuses the layout", [&]() -> Status {
    for (size_t i = 0; i < steps_.size(); ++i) {
      const LayoutSetting* layout = steps_[i].layout;
      if (layout != nullptr) ov::layout::set_layout(model_->input(i), TensorLayout(*layout));
    }
    for (const auto& [index, layout] : of_outputs_) {
      ov::layout::set_layout(model_->output(index), TensorLayout(*layout));
    }
    return absl::OkStatus();
  });
  return MarkSetting(std::move(told), "layout");
}

Status Setup::Reshape() {
  std::map<ov::Output<ov::Node>, ov::PartialShape> shapes;
  for (const auto& [name, shape] : settings_.shapes) {
    SY_ASSIGN_OR_RETURN(const size_t index, FindInput(name, "shape"));
    shapes[model_->input(index)] = ToOpenVino(shape);
  }
  if (settings_.batch_size && !settings_.shapes.empty()) {
    LogWarning("Model {}: batch_size is not used, because shape is given", settings_.name);
  } else if (settings_.batch_size) {
    const std::vector<Port> inputs = Inputs(*model_);
    for (size_t i = 0; i < inputs.size(); ++i) {
      ov::PartialShape shape = inputs[i].get_partial_shape();
      const auto batch = BatchDimension(ov::layout::get_layout(inputs[i]), shape);
      if (!batch || shape.rank().is_dynamic()) continue;
      shape[*batch] = ToOpenVino(PartialShape{.dims = {*settings_.batch_size}})[0];
      shapes[model_->input(i)] = shape;
    }
    if (shapes.empty() && !inputs.empty()) {
      return MarkSetting(InvalidArgument("batch_size cannot be set: no input has a batch dimension; the model's inputs: {}",
                                         Describe(inputs, names_.inputs)),
                         "batch_size");
    }
  }
  if (shapes.empty()) return absl::OkStatus();
  const std::string own = Describe(Inputs(*model_), names_.inputs);
  try {
    model_->reshape(shapes);
    return absl::OkStatus();
  } catch (const std::exception& exception) {
    const std::string_view key = settings_.shapes.empty() ? "batch_size" : "shape";
    return MarkSetting(
        InvalidArgument("The model refuses the {} (its own inputs: {}): {}", key, own, LayerMessage(exception.what())), key);
  }
}

Status Setup::CheckAuto() const {
  if (!settings_.batch_auto && settings_.auto_shapes.empty()) return absl::OkStatus();
  for (const std::string& name : settings_.auto_shapes) {
    if (!name.empty()) SY_RETURN_IF_ERROR(FindInput(name, "shape").status());
  }
  if (!model_->get_variables().empty()) {
    const std::string_view key = settings_.batch_auto ? "batch_size" : "shape";
    return MarkSetting(
        InvalidArgument("{} cannot be auto: the model keeps state between calls (variable \"{}\"), which instances for several "
                        "shapes do not share; give a shape, or -1 for any",
                        key, model_->get_variables()[0]->get_info().variable_id),
        key);
  }
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
  const ov::Layout layout = ov::layout::get_layout(port);
  spec.batch_dim = BatchDimension(layout, port.get_partial_shape());
  // "[N,H,W,C]", "[N,...]"
  for (const char letter : layout.empty() ? std::string() : layout.to_string()) {
    if (letter != '[' && letter != ']' && letter != ',') spec.layout += letter;
  }
  return spec;
}

}  // namespace

StatusOr<PortNames> ApplySettings(std::shared_ptr<ov::Model>& model, const ModelSettings& settings,
                                  const NameMapping& mapping) {
  return Guarded(StatusCode::kInvalidArgument, "The model refuses its settings", [&]() -> StatusOr<PortNames> {
    Setup setup(model, settings);
    SY_RETURN_IF_ERROR(setup.Rename(mapping));
    SY_RETURN_IF_ERROR(setup.Preprocess());
    SY_RETURN_IF_ERROR(setup.CheckAuto());
    SY_RETURN_IF_ERROR(setup.Reshape());
    if (settings.low_latency_transformation) {
      // After the shapes: a loop of one iteration is unrolled as well.
      ov::pass::Manager passes;
      passes.register_pass<ov::pass::LowLatency2>();
      passes.run_passes(model);
      SY_RETURN_IF_ERROR(setup.CheckAuto());
    }
    SY_RETURN_IF_ERROR(MarkSetting(PrepareBatching(*model, settings, setup.names()), "dynamic_batching"));
    return setup.names();
  });
}

StatusOr<Signature> MakeSignature(const ov::Model& model, const PortNames& names) {
  Signature signature;
  const std::vector<Port> inputs = Inputs(model);
  for (size_t i = 0; i < inputs.size(); ++i) {
    SY_ASSIGN_OR_RETURN(TensorSpec spec, MakeSpec(inputs[i], names.inputs[i], "Input"));
    signature.inputs.push_back(std::move(spec));
  }
  const std::vector<Port> outputs = Outputs(model);
  for (size_t i = 0; i < outputs.size(); ++i) {
    SY_ASSIGN_OR_RETURN(TensorSpec spec, MakeSpec(outputs[i], names.outputs[i], "Output"));
    signature.outputs.push_back(std::move(spec));
  }
  signature.info = ReadModelInfo(model);
  return signature;
}

}  // namespace switchyard
