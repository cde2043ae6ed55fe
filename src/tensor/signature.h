// What a model takes and gives: public names, element types, partial shapes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tensor/element_type.h"
#include "tensor/shape.h"

namespace switchyard {

struct TensorSpec {
  std::string name;
  ElementType type = ElementType::kUndefined;
  PartialShape shape;
  // Which dimension is the batch (N of the layout); none for scalars and for layouts without N.
  std::optional<size_t> batch_dim;
  // What the dimensions are, where that is known: "NHWC", "N...", "N?HWC".
  std::string layout;
  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

// One thing that a model says of itself: a text, or further things.
struct ModelInfo {
  std::string name;
  std::optional<std::string> text;  // none: it has entries
  std::vector<ModelInfo> entries;
  friend bool operator==(const ModelInfo&, const ModelInfo&) = default;
};

// In the model's own order, which is the order in which tensors are handed to the runtime.
struct Signature {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  // What the model tells its clients of itself (labels, thresholds, ...): of OpenVINO IR, the rt_info called model_info.
  std::optional<std::vector<ModelInfo>> info;
  friend bool operator==(const Signature&, const Signature&) = default;
};

}  // namespace switchyard
