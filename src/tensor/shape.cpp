#include "tensor/shape.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <algorithm>

namespace switchyard {

std::optional<size_t> ByteCount(absl::Span<const int64_t> shape, size_t element_size) {
  size_t count = element_size;
  bool zero = false;
  for (const int64_t dim : shape) {
    if (dim < 0) return std::nullopt;
    if (dim == 0) {
      zero = true;  // goes on, so that a negative dimension behind it is still found
      continue;
    }
    if (__builtin_mul_overflow(count, static_cast<size_t>(dim), &count)) return std::nullopt;
    // Also beside a zero: no engine takes such a dimension, whatever the product.
    if (count >= static_cast<size_t>(Dimension::kUnbounded)) return std::nullopt;
  }
  return zero ? 0 : count;
}

std::optional<size_t> ElementCount(absl::Span<const int64_t> shape) { return ByteCount(shape, 1); }

std::string ToString(absl::Span<const int64_t> shape) { return absl::StrCat("(", absl::StrJoin(shape, ","), ")"); }

bool PartialShape::is_static() const {
  return !dynamic_rank && std::all_of(dims.begin(), dims.end(), [](const Dimension& d) { return d.is_static(); });
}

Shape PartialShape::ToShape() const { return Wire(); }

Shape PartialShape::Wire() const {
  if (dynamic_rank) return {-1};
  Shape shape;
  for (const Dimension& dim : dims) shape.push_back(dim.wire());
  return shape;
}

std::string PartialShape::ToString() const {
  if (dynamic_rank) return "(...)";
  return absl::StrCat("(",
                      absl::StrJoin(dims, ",",
                                    [](std::string* out, const Dimension& dim) {
                                      if (dim.is_static()) {
                                        absl::StrAppend(out, dim.min);
                                      } else if (dim.min <= 1 && dim.max == Dimension::kUnbounded) {
                                        absl::StrAppend(out, -1);
                                      } else if (dim.max == Dimension::kUnbounded) {
                                        absl::StrAppend(out, dim.min, ":");
                                      } else {
                                        absl::StrAppend(out, dim.min, ":", dim.max);
                                      }
                                    }),
                      ")");
}

}  // namespace switchyard
