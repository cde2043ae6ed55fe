// A tensor as the decoded request and the finished response know it: type, shape and where the elements are.
#pragma once

#include <absl/types/span.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/element_type.h"
#include "tensor/shape.h"

namespace switchyard {

// Elements that somebody else owns. Row-major, little endian, no padding. The address has no alignment that can be relied upon.
struct TensorView {
  // How the elements came, for the message when their number is wrong: bytes as they are, or values that were counted.
  enum class Origin { kBytes, kValues };

  ElementType type = ElementType::kUndefined;
  Shape shape;
  const std::byte* data = nullptr;  // every type but kBytes
  size_t bytes = 0;
  absl::Span<const std::string_view> strings;  // kBytes only
  Origin origin = Origin::kBytes;
};

// Memory of somebody else's for the elements of an output. Null: there is none.
struct OutputPlace {
  std::byte* data = nullptr;
  size_t bytes = 0;
};

// Elements that `owner` keeps alive, or whoever gave an OutputPlace. What an inference wrote.
struct OutputTensor {
  ElementType type = ElementType::kUndefined;
  Shape shape;
  const std::byte* data = nullptr;
  size_t bytes = 0;
  std::vector<std::string> strings;  // kBytes only
  std::shared_ptr<const void> owner;
};

}  // namespace switchyard
