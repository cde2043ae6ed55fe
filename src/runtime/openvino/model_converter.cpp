#include "runtime/openvino/model_converter.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <openvino/core/graph_util.hpp>
#include <openvino/core/layout.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>
#include <optional>
#include <random>
#include <system_error>
#include <type_traits>
#include <utility>

#include "runtime/openvino/convert.h"
#include "runtime/openvino/model_setup.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr int kTries = 3;
// Of a dimension that may have any size, other than the batch.
constexpr int64_t kAnySize = 64;

StatusOr<std::shared_ptr<ov::Model>> ReadSource(ov::Core& core, const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return Error(StatusCode::kNotFound, "{} is not there", path);
  return Guarded(StatusCode::kInvalidArgument, fmt::format("Cannot read {}", path),
                 [&]() -> StatusOr<std::shared_ptr<ov::Model>> { return core.read_model(path); });
}

// NCHW or NHWC, where three channels stand in one of the two places; nothing when that does not tell.
std::optional<std::string> GuessLayout(const ov::PartialShape& shape) {
  if (shape.rank().is_dynamic() || shape.size() != 4) return std::nullopt;
  const bool first = shape[1] == ov::Dimension(3);
  const bool last = shape[3] == ov::Dimension(3);
  if (first == last) return std::nullopt;
  return first ? "NCHW" : "NHWC";
}

class Preparation {
 public:
  Preparation(const ov::Model& model, const ConversionRequest& request)
      : inputs_(Inputs(model)), names_(PublicNames(model).inputs), settings_(request.settings) {}

  // The request's settings, with the layouts that they need and the colours that are to be reversed.
  Status Complete(bool reverse) {
    for (const auto* values : {&settings_.means, &settings_.scales}) {
      for (const auto& [name, numbers] : *values) {
        if (numbers.size() > 1) SY_RETURN_IF_ERROR(NeedLayout(name, values == &settings_.means ? "--mean" : "--scale"));
      }
    }
    return reverse ? Reverse() : absl::OkStatus();
  }
  ModelSettings& settings() { return settings_; }
  std::vector<std::string>& notes() { return notes_; }

 private:
  std::optional<size_t> Index(const std::string& name) const {
    if (name.empty() && inputs_.size() == 1) return 0;
    return FindPort(inputs_, names_, {}, name);
  }
  bool HasLayout(size_t index) const {
    for (const auto& [name, layout] : settings_.layouts) {
      if (Index(name) == index) return true;
    }
    return ov::layout::has_channels(ov::layout::get_layout(inputs_[index]));
  }
  // False: none was given, and none can be guessed.
  bool FindLayout(size_t index) {
    if (HasLayout(index)) return true;
    const auto guess = GuessLayout(inputs_[index].get_partial_shape());
    if (!guess) return false;
    settings_.layouts[names_[index]] = {"", *guess};
    notes_.push_back(fmt::format("input \"{}\" is taken to have layout {}, by its three channels", names_[index], *guess));
    return true;
  }
  Status NeedLayout(const std::string& name, std::string_view flag) {
    const auto index = Index(name);
    // Of a name that is no input's, the model's set-up tells.
    if (!index || FindLayout(*index)) return absl::OkStatus();
    return InvalidArgument(
        "{} has a value for each channel, and which dimension of input \"{}\" the channels are is not clear: {}; give "
        "--layout, "
        "such as NCHW",
        flag, names_[*index], Describe({inputs_[*index]}, {names_[*index]}));
  }
  Status Reverse() {
    size_t reversed = 0;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const ov::PartialShape shape = inputs_[i].get_partial_shape();
      if (shape.rank().is_dynamic() || shape.size() != 4 || !FindLayout(i)) continue;
      settings_.color_formats[names_[i]] = {"RGB", "BGR"};
      ++reversed;
    }
    if (reversed > 0) return absl::OkStatus();
    return InvalidArgument(
        "--reverse_input_channels: no input has three channels in one place of four: {}; give --layout, such as NCHW",
        Describe(inputs_, names_));
  }

  const std::vector<Port> inputs_;
  const std::vector<std::string> names_;
  ModelSettings settings_;
  std::vector<std::string> notes_;
};

struct Prepared {
  std::shared_ptr<ov::Model> model;
  PortNames names;
  std::vector<std::string> notes;
};

StatusOr<Prepared> Prepare(ov::Core& core, const ConversionRequest& request) {
  Prepared prepared;
  SY_ASSIGN_OR_RETURN(prepared.model, ReadSource(core, request.source));
  Preparation preparation(*prepared.model, request);
  SY_RETURN_IF_ERROR(preparation.Complete(request.reverse_input_channels));
  SY_ASSIGN_OR_RETURN(prepared.names, ApplySettings(prepared.model, preparation.settings(), NameMapping()));
  prepared.notes = std::move(preparation.notes());
  return prepared;
}

std::vector<std::string> Lines(const std::vector<Port>& ports, const std::vector<std::string>& names) {
  std::vector<std::string> lines;
  for (size_t i = 0; i < ports.size(); ++i) lines.push_back(Describe({ports[i]}, {names[i]}));
  return lines;
}

ov::Shape SomeShape(const ov::PartialShape& shape) {
  ov::Shape some;
  if (shape.rank().is_dynamic()) return {1};
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t least = std::max<int64_t>(1, shape[i].get_min_length());
    const int64_t most = shape[i].get_max_length() < 0 ? std::numeric_limits<int64_t>::max() : shape[i].get_max_length();
    const int64_t wanted = shape[i].is_static() ? shape[i].get_length() : i == 0 ? 1 : kAnySize;
    some.push_back(static_cast<size_t>(std::min(std::max(wanted, least), most)));
  }
  return some;
}

// Calls `visit` with a zero of the type; false for types that are no numbers of whole bytes.
template <typename Visit>
bool WithZero(const ov::element::Type& type, Visit visit) {
  using Type = ov::element::Type_t;
  switch (static_cast<Type>(type)) {
    case Type::f16:
      return visit(ov::float16()), true;
    case Type::bf16:
      return visit(ov::bfloat16()), true;
    case Type::f32:
      return visit(float()), true;
    case Type::f64:
      return visit(double()), true;
    case Type::i8:
      return visit(int8_t()), true;
    case Type::i16:
      return visit(int16_t()), true;
    case Type::i32:
      return visit(int32_t()), true;
    case Type::i64:
      return visit(int64_t()), true;
    case Type::u8:
      return visit(uint8_t()), true;
    case Type::u16:
      return visit(uint16_t()), true;
    case Type::u32:
      return visit(uint32_t()), true;
    case Type::u64:
      return visit(uint64_t()), true;
    case Type::boolean:
      return visit(char()), true;
    default:
      return false;
  }
}

// Small numbers of the tensor's type; false for types that have none.
bool FillRandom(ov::Tensor& tensor, std::mt19937& random) {
  return WithZero(tensor.get_element_type(), [&](auto zero) {
    using T = decltype(zero);
    T* const data = tensor.data<T>();
    // Bytes are pictures, mostly; whole numbers may be places in a table.
    std::uniform_int_distribution<int> whole(0, std::is_same_v<T, uint8_t> ? 255 : std::is_same_v<T, char> ? 1 : 9);
    std::normal_distribution<float> real;
    for (size_t i = 0; i < tensor.get_size(); ++i) {
      if constexpr (std::is_integral_v<T>) {
        data[i] = static_cast<T>(whole(random));
      } else {
        data[i] = static_cast<T>(real(random));
      }
    }
  });
}

// Nothing for types that cannot be compared as numbers.
std::optional<std::vector<double>> Values(const ov::Tensor& tensor) {
  std::vector<double> values;
  const bool numbers = WithZero(tensor.get_element_type(), [&](auto zero) {
    const auto* const data = tensor.data<decltype(zero)>();
    values.assign(data, data + tensor.get_size());
  });
  return numbers ? std::optional(std::move(values)) : std::nullopt;
}

StatusOr<std::vector<ov::Tensor>> Run(ov::InferRequest& request, const std::vector<ov::Tensor>& inputs, std::string_view what) {
  return Guarded(StatusCode::kInternal, what, [&]() -> StatusOr<std::vector<ov::Tensor>> {
    for (size_t i = 0; i < inputs.size(); ++i) request.set_input_tensor(i, inputs[i]);
    request.infer();
    std::vector<ov::Tensor> outputs;
    for (size_t i = 0; i < request.get_compiled_model().outputs().size(); ++i) {
      const ov::Tensor output = request.get_output_tensor(i);
      ov::Tensor copy(output.get_element_type(), output.get_shape());
      output.copy_to(copy);
      outputs.push_back(std::move(copy));
    }
    return outputs;
  });
}

Status AddDifference(const ov::Tensor& source, const ov::Tensor& made, Comparison::Output& output) {
  if (source.get_shape() != made.get_shape() || source.get_element_type() != made.get_element_type()) {
    return Error(StatusCode::kInternal, "output \"{}\": the source answers {} {}, what was written {} {}", output.name,
                 source.get_element_type().get_type_name(), source.get_shape().to_string(),
                 made.get_element_type().get_type_name(), made.get_shape().to_string());
  }
  const auto wanted = Values(source), found = Values(made);
  if (!wanted || !found) {
    return Error(StatusCode::kUnimplemented, "output \"{}\" is of type {}, whose values are not compared", output.name,
                 source.get_element_type().get_type_name());
  }
  for (size_t i = 0; i < wanted->size(); ++i) {
    const double expected = (*wanted)[i], got = (*found)[i];
    if (std::isfinite(expected) != std::isfinite(got)) {
      return Error(StatusCode::kInternal, "output \"{}\": the source answers {} where what was written answers {}", output.name,
                   expected, got);
    }
    if (!std::isfinite(expected)) continue;
    output.difference = std::max(output.difference, std::abs(expected - got));
    output.largest = std::max(output.largest, std::abs(expected));
  }
  return absl::OkStatus();
}

class OpenVinoConverter final : public ModelConverter {
 public:
  StatusOr<ConvertedModel> Convert(const ConversionRequest& request, const std::string& folder) override;
  StatusOr<Comparison> Compare(const ConversionRequest& request, const std::string& xml) override;

 private:
  StatusOr<ov::InferRequest> Ready(const std::shared_ptr<ov::Model>& model, std::string_view what);
  Status Try(Comparison& comparison, ov::InferRequest& source, ov::InferRequest& made, std::mt19937& random);

  ov::Core core_;
};

StatusOr<ConvertedModel> OpenVinoConverter::Convert(const ConversionRequest& request, const std::string& folder) {
  SY_ASSIGN_OR_RETURN(Prepared prepared, Prepare(core_, request));
  ConvertedModel converted{.inputs = Lines(Inputs(*prepared.model), prepared.names.inputs),
                           .outputs = Lines(Outputs(*prepared.model), prepared.names.outputs),
                           .notes = std::move(prepared.notes)};
  const fs::path xml = fs::path(folder) / "model.xml";
  const std::string what = fmt::format("Cannot write {} (is the disk full?)", xml.string());
  SY_RETURN_IF_ERROR(Guarded(StatusCode::kInternal, what, [&]() -> Status {
    ov::save_model(prepared.model, xml.string(), request.half);
    return absl::OkStatus();
  }));
  for (const char* name : {"model.xml", "model.bin"}) {
    std::error_code error;
    const uintmax_t size = fs::file_size(fs::path(folder) / name, error);
    if (error)
      return Error(StatusCode::kInternal, "{}/{} was not written: {}; is the disk full?", folder, name, error.message());
    converted.bytes += size;
  }
  return converted;
}

StatusOr<ov::InferRequest> OpenVinoConverter::Ready(const std::shared_ptr<ov::Model>& model, std::string_view what) {
  return Guarded(StatusCode::kInternal, what, [&]() -> StatusOr<ov::InferRequest> {
    // Without f32 the plugin would compute in whatever the processor does best, and the difference would be the processor's.
    return core_.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32)).create_infer_request();
  });
}

Status OpenVinoConverter::Try(Comparison& comparison, ov::InferRequest& source, ov::InferRequest& made, std::mt19937& random) {
  std::vector<ov::Tensor> inputs;
  for (const auto& port : source.get_compiled_model().inputs()) {
    ov::Tensor tensor(port.get_element_type(), SomeShape(port.get_partial_shape()));
    if (!FillRandom(tensor, random)) {
      comparison.not_compared = fmt::format("no random input of type {} is made", port.get_element_type().get_type_name());
      return absl::OkStatus();
    }
    inputs.push_back(std::move(tensor));
  }
  const auto wanted = Run(source, inputs, "the source does not run on random input");
  if (!wanted.ok()) {
    comparison.not_compared = std::string(Message(wanted.status()));
    return absl::OkStatus();
  }
  SY_ASSIGN_OR_RETURN(const std::vector<ov::Tensor> found,
                      Run(made, inputs, "What was written does not run where its source does"));
  for (size_t i = 0; i < wanted->size(); ++i) {
    const Status added = AddDifference((*wanted)[i], found[i], comparison.outputs[i]);
    if (added.code() == StatusCode::kUnimplemented) {
      comparison.not_compared = std::string(Message(added));
      return absl::OkStatus();
    }
    SY_RETURN_IF_ERROR(added);
  }
  ++comparison.inputs_tried;
  return absl::OkStatus();
}

StatusOr<Comparison> OpenVinoConverter::Compare(const ConversionRequest& request, const std::string& xml) {
  SY_ASSIGN_OR_RETURN(const Prepared prepared, Prepare(core_, request));
  auto written = ReadSource(core_, xml);
  if (!written.ok()) {
    return Error(StatusCode::kInternal, "What was written cannot be read: {}; is the disk full?", Message(written.status()));
  }
  if ((*written)->inputs().size() != prepared.names.inputs.size() ||
      (*written)->outputs().size() != prepared.names.outputs.size()) {
    return Error(StatusCode::kInternal, "What was written has {} inputs and {} outputs of the source's {} and {}",
                 (*written)->inputs().size(), (*written)->outputs().size(), prepared.names.inputs.size(),
                 prepared.names.outputs.size());
  }
  Comparison comparison;
  for (const std::string& name : prepared.names.outputs) comparison.outputs.push_back({.name = name});
  auto source = Ready(prepared.model, "the source does not compile for the CPU");
  if (!source.ok()) {
    comparison.not_compared = std::string(Message(source.status()));
    return comparison;
  }
  SY_ASSIGN_OR_RETURN(ov::InferRequest made, Ready(*written, "What was written does not compile where its source does"));
  std::mt19937 random(1);
  for (int i = 0; i < kTries && comparison.not_compared.empty(); ++i)
    SY_RETURN_IF_ERROR(Try(comparison, *source, made, random));
  return comparison;
}

}  // namespace

StatusOr<std::unique_ptr<ModelConverter>> MakeModelConverter() {
  return Guarded(StatusCode::kInternal, "OpenVINO does not start",
                 []() -> StatusOr<std::unique_ptr<ModelConverter>> { return std::make_unique<OpenVinoConverter>(); });
}

}  // namespace switchyard
