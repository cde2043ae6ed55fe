// JSON, appended to a string: what tensors and texts become. No white space.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <absl/types/span.h>

#include "tensor/element_type.h"

namespace switchyard {

// With its quotes. Bytes that are not UTF-8 become U+FFFD.
void AppendJsonString(std::string& out, std::string_view text);
void AppendJsonInteger(std::string& out, int64_t value);
// "[1,2]"
void AppendJsonIntegers(std::string& out, absl::Span<const int64_t> values);

// `count` elements of a type other than kBytes, separated by commas. Floating-point numbers are the shortest that read back to
// the same value of their own type, always with a point or an exponent, so that readers keep them apart from integers. JSON has
// no number for the rest: they are the bare words NaN, Infinity and -Infinity, as TensorFlow Serving and Python's json write
// and read them. BOOL is true and false.
void AppendJsonElements(std::string& out, ElementType type, const std::byte* data, size_t count);

bool IsUtf8(std::string_view text);

}  // namespace switchyard
