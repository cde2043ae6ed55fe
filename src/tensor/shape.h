// Shapes of tensors that exist, and partial shapes of tensors that a model accepts.
#pragma once

#include <absl/container/inlined_vector.h>
#include <absl/types/span.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

// Number of elements per dimension, outermost first. Empty: a scalar.
using Shape = absl::InlinedVector<int64_t, 6>;

// The product of the dimensions (1 for a scalar), or nothing if one is negative or the product of the others than
// zeros reaches 2^63-1.
std::optional<size_t> ElementCount(absl::Span<const int64_t> shape);
// ElementCount times `element_size`, likewise checked.
std::optional<size_t> ByteCount(absl::Span<const int64_t> shape, size_t element_size);

// "(1,10)"; "()" for a scalar.
std::string ToString(absl::Span<const int64_t> shape);

// A dimension that a model accepts: every value from min to max, both included.
struct Dimension {
  static constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max();

  int64_t min = 0;
  int64_t max = kUnbounded;

  static Dimension Fixed(int64_t value) { return {value, value}; }
  static Dimension Dynamic() { return {}; }
  bool is_static() const { return min == max; }
  bool Accepts(int64_t value) const { return value >= min && value <= max; }
  // What metadata shows: the value, or -1 when it is not fixed.
  int64_t wire() const { return is_static() ? min : -1; }
  friend bool operator==(const Dimension&, const Dimension&) = default;
};

struct PartialShape {
  std::vector<Dimension> dims;
  bool dynamic_rank = false;

  bool is_static() const;
  // The shape itself; only when is_static().
  Shape ToShape() const;
  // One wire() per dimension; {-1} when even the rank is dynamic.
  Shape Wire() const;
  // "(1,10)", "(-1,3:8)".
  std::string ToString() const;
  friend bool operator==(const PartialShape&, const PartialShape&) = default;
};

}  // namespace switchyard
