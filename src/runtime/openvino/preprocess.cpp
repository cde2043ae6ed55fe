#include "runtime/openvino/preprocess.h"

#include <fmt/ranges.h>

#include <openvino/core/layout.hpp>
#include <openvino/core/preprocess/pre_post_process.hpp>
#include <utility>
#include <vector>

#include "config/setting_mark.h"
#include "runtime/openvino/convert.h"
#include "runtime/openvino/ports.h"

namespace switchyard {
namespace {

using ov::preprocess::ColorFormat;

ColorFormat FormatOf(const std::string& name) {
  if (name == "RGB") return ColorFormat::RGB;
  if (name == "BGR") return ColorFormat::BGR;
  if (name == "GRAY") return ColorFormat::GRAY;
  if (name == "NV12") return ColorFormat::NV12_SINGLE_PLANE;
  if (name == "NV12_2") return ColorFormat::NV12_TWO_PLANES;
  if (name == "I420") return ColorFormat::I420_SINGLE_PLANE;
  return ColorFormat::I420_THREE_PLANES;
}

// Names of the planes that clients send one by one; none when the picture is one tensor.
std::vector<std::string> PlanesOf(const std::string& format) {
  if (format == "NV12_2") return {"y", "uv"};
  if (format == "I420_3") return {"y", "u", "v"};
  return {};
}

// What mean and scale compute with.
ov::element::Type TypeForNumbers(const InputSteps& steps, const ov::element::Type& own) {
  if (steps.precision == nullptr) return own;
  if (steps.precision->model != ElementType::kUndefined) return ToOpenVino(steps.precision->model);
  const ov::element::Type sent = ToOpenVino(steps.precision->tensor);
  // Clients send bytes, the model takes floating point numbers: the numbers are meant.
  return sent.is_real() || !own.is_real() ? sent : own;
}

Status CheckValues(const std::vector<float>& values, std::string_view setting, const ov::PartialShape& shape,
                   const ov::Layout& layout) {
  if (values.size() == 1) return absl::OkStatus();
  if (!ov::layout::has_channels(layout) || shape.rank().is_dynamic()) {
    return InvalidArgument(
        "{} has {} values, but it is not known which dimension the channels are; give it a layout with C, such as NHWC:NCHW",
        setting, values.size());
  }
  int64_t axis = ov::layout::channels_idx(layout);
  if (axis < 0) axis += static_cast<int64_t>(shape.size());
  if (axis < 0 || axis >= static_cast<int64_t>(shape.size())) {
    return InvalidArgument("the layout {} does not fit the shape {}", layout.to_string(), FromOpenVino(shape).ToString());
  }
  const ov::Dimension& channels = shape[static_cast<size_t>(axis)];
  if (channels.is_static() && channels.get_length() != static_cast<int64_t>(values.size())) {
    return InvalidArgument("{}: expected 1 value, or {}, one for each channel of {} in layout {}; got {}", setting,
                           channels.get_length(), FromOpenVino(shape).ToString(), layout.to_string(), values.size());
  }
  return absl::OkStatus();
}

Status AddSteps(ov::preprocess::InputInfo& info, const Port& port, const InputSteps& steps) {
  const ov::Layout own = steps.layout != nullptr ? ov::Layout(steps.layout->model) : ov::layout::get_layout(port);
  const ov::element::Type type = TypeForNumbers(steps, port.get_element_type());
  const bool converts = steps.precision != nullptr || steps.mean != nullptr || steps.scale != nullptr || steps.color != nullptr;
  if (converts && port.get_element_type() == ov::element::string) {
    return InvalidArgument("the model takes strings there, which nothing converts to: leave the setting out");
  }
  if ((steps.mean != nullptr || steps.scale != nullptr) && !type.is_real()) {
    return InvalidArgument(
        "mean and scale compute with floating point numbers, and the input has {}; give it a precision such as {}:FP32",
        TypeName(type), TypeName(type));
  }
  const auto check = [&](const std::vector<float>* values, std::string_view setting) {
    return values == nullptr ? absl::OkStatus()
                             : MarkSetting(CheckValues(*values, setting, port.get_partial_shape(), own), setting);
  };
  SY_RETURN_IF_ERROR(check(steps.mean, "mean"));
  SY_RETURN_IF_ERROR(check(steps.scale, "scale"));
  if (steps.layout != nullptr) {
    info.tensor().set_layout(ov::Layout(steps.layout->tensor.empty() ? steps.layout->model : steps.layout->tensor));
    info.model().set_layout(own);
  }
  if (steps.precision != nullptr) info.tensor().set_element_type(ToOpenVino(steps.precision->tensor));
  if (steps.color != nullptr) {
    info.tensor().set_color_format(FormatOf(steps.color->tensor), PlanesOf(steps.color->tensor));
    if (steps.color->model != steps.color->tensor) info.preprocess().convert_color(FormatOf(steps.color->model));
  }
  if (steps.precision != nullptr) info.preprocess().convert_element_type(type);
  if (steps.mean != nullptr) info.preprocess().mean(*steps.mean);
  if (steps.scale != nullptr) info.preprocess().scale(*steps.scale);
  return absl::OkStatus();
}

}  // namespace

std::string InputSteps::ToString() const {
  std::vector<std::string> parts;
  if (layout != nullptr) {
    parts.push_back(fmt::format("layout {}{}{}", layout->tensor, layout->tensor.empty() ? "" : ":", layout->model));
  }
  if (color != nullptr) parts.push_back(fmt::format("color_format {}:{}", color->model, color->tensor));
  if (precision != nullptr) {
    const bool one = precision->model == ElementType::kUndefined;
    parts.push_back(fmt::format("precision {}{}{}", PrecisionName(precision->tensor), one ? "" : ":",
                                one ? std::string_view() : PrecisionName(precision->model)));
  }
  if (mean != nullptr) parts.push_back(fmt::format("mean [{}]", fmt::join(*mean, ",")));
  if (scale != nullptr) parts.push_back(fmt::format("scale [{}]", fmt::join(*scale, ",")));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string_view InputSteps::FirstKey() const {
  if (mean != nullptr) return "mean";
  if (scale != nullptr) return "scale";
  if (color != nullptr) return "color_format";
  return precision != nullptr ? "precision" : "layout";
}

Status PrepareInput(std::shared_ptr<ov::Model>& model, size_t index, const std::string& name, const InputSteps& steps,
                    std::vector<std::string>* planes) {
  const std::string what =
      fmt::format("Input \"{}\" ({}) cannot be given {}", name, Describe({Inputs(*model)[index]}, {name}), steps.ToString());
  const Status done = Guarded(StatusCode::kInvalidArgument, what, [&]() -> Status {
    ov::preprocess::PrePostProcessor processor(model);
    const Status added = AddSteps(processor.input(index), Inputs(*model)[index], steps);
    if (!added.ok()) return Annotate(added, what);
    model = processor.build();
    return absl::OkStatus();
  });
  SY_RETURN_IF_ERROR(MarkSetting(done, steps.FirstKey()));
  if (steps.color == nullptr) return absl::OkStatus();
  for (const std::string& plane : PlanesOf(steps.color->tensor)) planes->push_back(name + "/" + plane);
  return absl::OkStatus();
}

Status PrepareOutput(std::shared_ptr<ov::Model>& model, size_t index, const std::string& name, const LayoutSetting& layout) {
  const std::string what = fmt::format("Output \"{}\" ({}) cannot be given layout {}:{}", name,
                                       Describe({Outputs(*model)[index]}, {name}), layout.tensor, layout.model);
  return Guarded(StatusCode::kInvalidArgument, what, [&]() -> Status {
    ov::preprocess::PrePostProcessor processor(model);
    processor.output(index).tensor().set_layout(ov::Layout(layout.tensor));
    processor.output(index).model().set_layout(ov::Layout(layout.model));
    model = processor.build();
    return absl::OkStatus();
  });
}

}  // namespace switchyard
