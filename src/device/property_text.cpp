#include "device/property_text.h"

#include <absl/strings/ascii.h>
#include <fmt/format.h>

#include <type_traits>
#include <variant>

namespace switchyard {

std::string ToText(const PropertyValue& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, bool>) {
          return v ? "YES" : "NO";
        } else if constexpr (std::is_same_v<T, std::string>) {
          return v;
        } else if constexpr (std::is_same_v<T, PropertyMap>) {
          return "";
        } else {
          return fmt::format("{}", v);
        }
      },
      value.value);
}

std::string PropertyText(const PropertyMap& config, std::string_view key) {
  const auto found = config.find(std::string(key));
  return found == config.end() ? "" : ToText(found->second);
}

bool PropertyFlag(const PropertyMap& config, std::string_view key, bool fallback) {
  const std::string text = absl::AsciiStrToUpper(PropertyText(config, key));
  if (text == "YES" || text == "TRUE" || text == "ON" || text == "1") return true;
  if (text == "NO" || text == "FALSE" || text == "OFF" || text == "0") return false;
  return fallback;
}

}  // namespace switchyard
