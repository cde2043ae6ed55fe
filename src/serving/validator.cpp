#include "serving/validator.h"

#include <algorithm>
#include <string>

#include "base/utf8.h"

namespace switchyard {
namespace {

// "[a, b]", cut short: a request may bring any number of names of any length.
template <typename Range>
std::string NamesOf(const Range& named) {
  constexpr size_t kMost = 16;
  constexpr size_t kLongest = 64;
  std::string text = "[";
  size_t count = 0;
  for (const auto& item : named) {
    if (count == kMost) break;
    const std::string_view name = item.name;
    text += fmt::format("{}{}", count++ == 0 ? "" : ", ", CutUtf8(name, kLongest));
    if (name.size() > kLongest) text += "...";
  }
  if (named.size() > kMost) text += fmt::format(", and {} more", named.size() - kMost);
  return text + "]";
}

Status CheckShape(const TensorSpec& spec, const TensorView& tensor) {
  if (std::any_of(tensor.shape.begin(), tensor.shape.end(), [](int64_t dim) { return dim < 0; })) {
    return InvalidArgument("Invalid input shape - Negative or zero dimension size is not acceptable: {}; input name: {}",
                           ToString(tensor.shape), spec.name);
  }
  if (tensor.type != spec.type) {
    return InvalidArgument("Invalid input precision - Expected: {}; Actual: {}; input name: {}", PrecisionName(spec.type),
                           PrecisionName(tensor.type), spec.name);
  }
  if (spec.shape.dynamic_rank) return absl::OkStatus();
  const auto& dims = spec.shape.dims;
  if (tensor.shape.size() != dims.size()) {
    return InvalidArgument("Invalid number of shape dimensions - Expected: {}; Actual: {}; input name: {}",
                           spec.shape.ToString(), ToString(tensor.shape), spec.name);
  }
  if (spec.batch_dim && !dims[*spec.batch_dim].Accepts(tensor.shape[*spec.batch_dim])) {
    const PartialShape batch{{dims[*spec.batch_dim]}};
    const std::string expected = batch.ToString();
    return InvalidArgument("Invalid input batch size - Expected: {}; Actual: {}; input name: {}",
                           expected.substr(1, expected.size() - 2), tensor.shape[*spec.batch_dim], spec.name);
  }
  for (size_t i = 0; i < dims.size(); ++i) {
    if (!dims[i].Accepts(tensor.shape[i])) {
      return InvalidArgument("Invalid input shape - Expected: {}; Actual: {}; input name: {}", spec.shape.ToString(),
                             ToString(tensor.shape), spec.name);
    }
  }
  return absl::OkStatus();
}

Status CheckPayload(const TensorSpec& spec, const TensorView& tensor) {
  const auto elements = ElementCount(tensor.shape);
  const auto bytes = ByteCount(tensor.shape, std::max<size_t>(1, ElementSize(spec.type)));
  if (!elements || !bytes) {
    return InvalidArgument(
        "Invalid content size of tensor proto - the shape {} is too large: its size overflows; input name: {}",
        ToString(tensor.shape), spec.name);
  }
  const bool strings = spec.type == ElementType::kBytes;
  if (strings || tensor.origin == TensorView::Origin::kValues) {
    const size_t actual = strings ? tensor.strings.size() : tensor.bytes / ElementSize(spec.type);
    if (actual == *elements) return absl::OkStatus();
    return InvalidArgument("Invalid number of values in tensor proto container - Expected: {}; Actual: {}; input name: {}",
                           *elements, actual, spec.name);
  }
  if (tensor.bytes == *bytes) return absl::OkStatus();
  return InvalidArgument("Invalid content size of tensor proto - Expected: {} bytes; Actual: {} bytes; input name: {}", *bytes,
                         tensor.bytes, spec.name);
}

Status BindInputs(const Signature& signature, InferCall& call) {
  const auto& inputs = call.request.inputs;
  if (inputs.size() != signature.inputs.size()) {
    return InvalidArgument(
        "Invalid number of inputs - Expected: {}; Actual: {}; Expected input names: {}; Actual input names: {}",
        signature.inputs.size(), inputs.size(), NamesOf(signature.inputs), NamesOf(inputs));
  }
  call.bound_inputs.reserve(inputs.size());
  for (const TensorSpec& spec : signature.inputs) {
    const auto input = std::find_if(inputs.begin(), inputs.end(), [&](const NamedTensor& i) { return i.name == spec.name; });
    if (input == inputs.end()) {
      return InvalidArgument("Missing input with specific name - Required input: {}; Expected input names: {}", spec.name,
                             NamesOf(signature.inputs));
    }
    SY_RETURN_IF_ERROR(CheckShape(spec, input->tensor));
    SY_RETURN_IF_ERROR(CheckPayload(spec, input->tensor));
    call.bound_inputs.push_back(input->tensor);
  }
  return absl::OkStatus();
}

}  // namespace

Status ValidateAndBind(const Signature& signature, InferCall& call) {
  SY_RETURN_IF_ERROR(BindInputs(signature, call));
  if (call.request.requested_outputs.empty()) {
    for (size_t i = 0; i < signature.outputs.size(); ++i) call.wanted_outputs.push_back(i);
    return absl::OkStatus();
  }
  for (const std::string& name : call.request.requested_outputs) {
    const auto output = std::find_if(signature.outputs.begin(), signature.outputs.end(),
                                     [&](const TensorSpec& spec) { return spec.name == name; });
    if (output == signature.outputs.end()) {
      return InvalidArgument("Requested output is not in the model - Expected one of: {}; Actual: {}",
                             NamesOf(signature.outputs), name);
    }
    const size_t index = output - signature.outputs.begin();
    if (std::find(call.wanted_outputs.begin(), call.wanted_outputs.end(), index) == call.wanted_outputs.end()) {
      call.wanted_outputs.push_back(index);
    }
  }
  return absl::OkStatus();
}

}  // namespace switchyard
