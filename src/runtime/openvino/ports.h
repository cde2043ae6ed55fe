// The inputs and outputs of a model as it was read: their public names, and which of them a setting means.
#pragma once

#include <openvino/core/layout.hpp>
#include <openvino/core/model.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace switchyard {

using Port = ov::Output<const ov::Node>;

// In the model's own order. Every name is unique among its kind.
struct PortNames {
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
};

// Of an input its tensor's name (of several, the one that the operation bears, else the first in the alphabet), of an output
// likewise, and `out_<index>` when it has none.
PortNames PublicNames(const ov::Model& model);

std::vector<Port> Inputs(const ov::Model& model);
std::vector<Port> Outputs(const ov::Model& model);

// "FP32"; OpenVINO's name for what no protocol can carry.
std::string TypeName(const ov::element::Type& type);
// "b FP32 (1,10), c I64 (-1)".
std::string Describe(const std::vector<Port>& ports, const std::vector<std::string>& names);

// By public name, by any other name of the tensor, or by the operation's. A port that a mapping renamed is found by its new
// name alone.
std::optional<size_t> FindPort(const std::vector<Port>& ports, const std::vector<std::string>& public_names,
                               const std::vector<bool>& renamed, const std::string& name);

// Where N stands. Without a layout the first dimension is the batch.
std::optional<size_t> BatchDimension(const ov::Layout& layout, const ov::PartialShape& shape);

}  // namespace switchyard
