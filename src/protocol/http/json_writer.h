// JSON, appended to a string: what tensors and texts become. No white space.
#pragma once

#include <absl/types/span.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/json_string.h"
#include "tensor/element_type.h"

namespace switchyard {

void AppendJsonInteger(std::string& out, int64_t value);
// "[1,2]"
void AppendJsonIntegers(std::string& out, absl::Span<const int64_t> values);

// `count` elements of a type other than kBytes, separated by commas. Floating-point numbers are the shortest that read back to
// the same value of their own type, always with a point or an exponent, so that readers keep them apart from integers. JSON has
// no number for the rest: they are the bare words NaN, Infinity and -Infinity, as TensorFlow Serving and Python's json write
// and read them. BOOL is true and false.
void AppendJsonElements(std::string& out, ElementType type, const std::byte* data, size_t count);

}  // namespace switchyard
