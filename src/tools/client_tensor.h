// Tensors as the client has them: made from what the user wrote, or from what the server answered.
#pragma once

#include <absl/types/span.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "tensor/element_type.h"
#include "tensor/shape.h"

namespace switchyard {

// Row-major, little endian. BYTES tensors have `strings`, all others `data`.
struct ClientTensor {
  std::string name;
  ElementType type = ElementType::kUndefined;
  Shape shape;
  std::string data;
  std::vector<std::string> strings;

  size_t count() const { return type == ElementType::kBytes ? strings.size() : data.size() / ElementSize(type); }
};

// What metadata says of one input or output; -1 is a dimension that is not fixed.
struct ClientTensorSpec {
  std::string name;
  ElementType type = ElementType::kUndefined;
  Shape shape;
};

struct ModelDescription {
  std::vector<ClientTensorSpec> inputs;
  std::vector<ClientTensorSpec> outputs;
};

using Number = std::variant<int64_t, uint64_t, double>;

// Appends one element. An integer type takes whole numbers in its range only, BOOL only 0 and 1.
Status AppendNumber(ElementType type, const Number& number, std::string* data);
// The element at `index`, which must be inside; never for BYTES.
Number NumberAt(const ClientTensor& tensor, size_t index);
// The shortest text that reads back as the same value: 0.1, -3, true, NaN, Infinity.
std::string FormatElement(const ClientTensor& tensor, size_t index);

// INVALID_ARGUMENT unless the number of elements in the tensor is what its shape says.
Status CheckCount(const ClientTensor& tensor);

// KServe's form of strings in bytes: a 4-byte little-endian length before each.
std::string PackStrings(const std::vector<std::string>& strings);
StatusOr<std::vector<std::string>> UnpackStrings(std::string_view bytes);

// The shape that `count` elements have in a tensor of metadata's shape `spec`: one dimension that is not fixed takes what is
// left. Of several the outermost is 1, as the batch; INVALID_ARGUMENT when then still more than one shape is possible.
StatusOr<Shape> DeduceShape(absl::Span<const int64_t> spec, size_t count);

// Makes the tensor to send from the text behind `--input name=`. `shape` (may be null) is what --shape says. `seed` makes
// random values differ between inputs. Reads files; blocks.
StatusOr<ClientTensor> MakeInput(const ClientTensorSpec& spec, const std::string& text, const Shape* shape, uint64_t seed);

}  // namespace switchyard
