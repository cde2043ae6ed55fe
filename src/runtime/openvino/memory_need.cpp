#include "runtime/openvino/memory_need.h"

#include <algorithm>
#include <limits>
#include <openvino/op/broadcast.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/runtime/properties.hpp>

namespace switchyard {
namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

// Shapes are the user's: their products must not wrap around.
uint64_t Multiply(uint64_t a, uint64_t b) { return b != 0 && a > kMost / b ? kMost : a * b; }
uint64_t Add(uint64_t a, uint64_t b) { return a > kMost - b ? kMost : a + b; }

uint64_t BytesOf(uint64_t elements, const ov::element::Type& type) {
  // Strings and types that are not known have no size of their own.
  if (type.is_dynamic() || type == ov::element::string) return 0;
  const uint64_t bits = type.bitwidth();
  return bits % 8 == 0 ? Multiply(elements, bits / 8) : Multiply(elements, bits) / 8;
}

uint64_t BytesOf(const ov::PartialShape& shape, const ov::element::Type& type) {
  if (shape.rank().is_dynamic()) return BytesOf(uint64_t{1}, type);
  uint64_t elements = 1;
  for (const ov::Dimension& dimension : shape) {
    const int64_t least = dimension.get_min_length();
    elements = Multiply(elements, dimension.is_static() ? static_cast<uint64_t>(least) : std::max<int64_t>(1, least));
  }
  return BytesOf(elements, type);
}

bool IsConstant(const ov::Node& node) { return ov::as_type<const ov::op::v0::Constant>(&node) != nullptr; }

// A constant, or one value spread to a shape (ONNX's ConstantOfShape): every device folds that to a constant.
bool IsWeight(const ov::Node& node) {
  return IsConstant(node) || (ov::is_type<ov::op::util::BroadcastBase>(&node) && IsConstant(*node.get_input_node_ptr(0)) &&
                              node.get_output_partial_shape(0).is_static());
}

// "1234.5 MiB".
std::string MiB(uint64_t bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20)); }

}  // namespace

uint64_t MemoryNeed::total() const { return Add(constants, Multiply(tensors_per_request, requests)); }

MemoryNeed NeedOf(const ov::Model& model, const ov::element::Type& execution, uint64_t requests) {
  MemoryNeed need{.requests = requests};
  for (const auto& node : model.get_ops()) {
    if (!IsWeight(*node)) continue;
    const ov::element::Type& stored = node->get_output_element_type(0);
    const bool real = stored.is_real() && stored.bitwidth() >= 16;
    need.constants = Add(need.constants, BytesOf(node->get_output_partial_shape(0), real ? execution : stored));
  }
  for (const auto& ports : {model.inputs(), model.outputs()}) {
    for (const auto& port : ports) {
      need.tensors_per_request = Add(need.tensors_per_request, BytesOf(port.get_partial_shape(), port.get_element_type()));
    }
  }
  return need;
}

ov::element::Type GpuPrecision(const ov::AnyMap& properties) {
  const auto text = [&](const std::string& key) {
    const auto found = properties.find(key);
    return found == properties.end() ? std::string() : found->second.as<std::string>();
  };
  const std::string precision = text(ov::hint::inference_precision.name());
  if (precision == "f32" || precision == "FP32") return ov::element::f32;
  if (precision.empty() && text(ov::hint::execution_mode.name()) == "ACCURACY") return ov::element::f32;
  return ov::element::f16;
}

Status CheckFits(const MemoryNeed& need, const std::string& target, uint64_t total, uint64_t used) {
  const uint64_t free = total - std::min(total, used);
  if (need.total() <= free) return absl::OkStatus();
  return Error(StatusCode::kResourceExhausted,
               "target_device {}: the model needs at least {} ({} of weights, {} of inputs and outputs for each of {} "
               "requests), and the device has {}, of which this process uses {}; take a smaller batch or nireq, another "
               "device, or give fallback_devices",
               target, MiB(need.total()), MiB(need.constants), MiB(need.tensors_per_request), need.requests, MiB(total),
               MiB(used));
}

}  // namespace switchyard
