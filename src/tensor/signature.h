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

// In the model's own order, which is the order in which tensors are handed to the runtime.
struct Signature {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  friend bool operator==(const Signature&, const Signature&) = default;
};

}  // namespace switchyard
