// Text as JSON writes it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace switchyard {

// How deeply arrays and objects may be nested in what is read, as in OVMS; an empty one at the bottom does not count in a
// request. What walks a document recurses.
inline constexpr size_t kMaxJsonDepth = 100;

// With its quotes. Bytes that are not UTF-8 become U+FFFD. Control characters and ends of lines are escaped, beyond ASCII too:
// no text ends a line of a log or commands a terminal.
void AppendJsonString(std::string& out, std::string_view text);

}  // namespace switchyard
