// Text as JSON writes it.
#pragma once

#include <string>
#include <string_view>

namespace switchyard {

// With its quotes. Bytes that are not UTF-8 become U+FFFD. Control characters and ends of lines are escaped, beyond ASCII too:
// no text ends a line of a log or commands a terminal.
void AppendJsonString(std::string& out, std::string_view text);

}  // namespace switchyard
