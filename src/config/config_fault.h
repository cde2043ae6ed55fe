// One thing that is wrong with a configuration: where, what was expected, and what came.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

struct ConfigFault {
  std::string pointer;   // JSON pointer (RFC 6901) into the file; empty: the whole of it
  std::string expected;  // "a non-negative integer"
  std::string got;       // "the string \"two\""
  friend bool operator==(const ConfigFault&, const ConfigFault&) = default;
};

// `<pointer>: expected <what>, got <what>`.
std::string ToText(const ConfigFault& fault);
// The first hundred in one line, separated by "; ", and how many more there are.
std::string ToText(const std::vector<ConfigFault>& faults);

// A message of a value's parser about the value at `pointer`: "expected X, got Y; do Z", or a sentence, which is put behind
// the value in words, `described`.
ConfigFault FaultAt(std::string pointer, std::string_view message, std::string described);

// `pointer` with one more token, escaped.
std::string PointerTo(std::string_view pointer, std::string_view token);

}  // namespace switchyard
