#include "config/config_fault.h"

#include <algorithm>

#include "base/status.h"

namespace switchyard {

std::string ToText(const ConfigFault& fault) {
  return fmt::format("{}: expected {}, got {}", fault.pointer.empty() ? "the top level" : fault.pointer, fault.expected,
                     fault.got);
}

std::string ToText(const std::vector<ConfigFault>& faults) {
  constexpr size_t kMost = 100;
  std::string text;
  for (size_t i = 0; i < std::min(faults.size(), kMost); ++i) text += (text.empty() ? "" : "; ") + ToText(faults[i]);
  if (faults.size() > kMost) text += fmt::format("; and {} more", faults.size() - kMost);
  return text;
}

ConfigFault FaultAt(std::string pointer, std::string_view message, std::string described) {
  constexpr std::string_view kExpected = "expected ";
  const size_t expected = message.find(kExpected);
  const size_t got = expected == message.npos ? message.npos : message.find(" got ", expected);
  if (got == message.npos) {
    return {std::move(pointer), "a value that this server takes", fmt::format("{}: {}", described, message)};
  }
  // What stands before (the name of an input, say) stays with what was expected.
  std::string wanted(message.substr(expected + kExpected.size(), got - expected - kExpected.size()));
  while (!wanted.empty() && (wanted.back() == ',' || wanted.back() == ';')) wanted.pop_back();
  std::string came(message.substr(got + 5));
  if (expected > 0) {
    std::string_view before = message.substr(0, expected);
    while (!before.empty() && (before.back() == ' ' || before.back() == ':')) before.remove_suffix(1);
    if (!before.empty()) wanted += fmt::format(" ({})", before);
  }
  return {std::move(pointer), std::move(wanted), std::move(came)};
}

std::string PointerTo(std::string_view pointer, std::string_view token) {
  std::string out(pointer);
  out += '/';
  for (const char c : token) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace switchyard
