#include "config/cors_values.h"

#include <absl/strings/ascii.h>

#include <algorithm>

#include "config/text.h"

namespace switchyard {
namespace {

bool IsTokenCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// scheme://host, with a port or without, or the "null" of pages that have none.
bool IsOrigin(std::string_view text) {
  if (text == "null") return true;
  const size_t scheme = text.find("://");
  if (scheme == 0 || scheme == std::string_view::npos || scheme + 3 == text.size()) return false;
  return std::all_of(text.begin() + static_cast<std::ptrdiff_t>(scheme) + 3, text.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c)) && std::string_view("/?#@\"\\").find(c) == std::string_view::npos;
  });
}

}  // namespace

StatusOr<std::vector<std::string>> ParseAllowedOrigins(std::string_view text) {
  std::vector<std::string> origins;
  if (Trim(text).empty()) return origins;
  bool any = false;
  for (const std::string_view part : Split(text, ',')) {
    const std::string_view origin = Trim(part);
    any = any || origin == "*";
    if (origin != "*" && !IsOrigin(origin)) {
      return InvalidArgument(
          "expected *, or origins such as https://example.com:8443 (no path behind them), separated by commas; got {}",
          Quote(origin));
    }
    origins.push_back(absl::AsciiStrToLower(absl::string_view(origin.data(), origin.size())));
  }
  if (any) origins = {"*"};
  return origins;
}

StatusOr<std::string> ParseAllowedNames(std::string_view text) {
  std::string names;
  if (Trim(text).empty()) return names;
  for (const std::string_view part : Split(text, ',')) {
    const std::string_view name = Trim(part);
    if (name.empty() || !std::all_of(name.begin(), name.end(), IsTokenCharacter)) {
      return InvalidArgument("expected *, or names separated by commas; got {}", Quote(name));
    }
    if (!names.empty()) names += ", ";
    names += name;
  }
  return names;
}

}  // namespace switchyard
