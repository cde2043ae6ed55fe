// Reading single values out of plugin_config.
#pragma once

#include <string>
#include <string_view>

#include "config/settings.h"

namespace switchyard {

// A value as every plugin of OpenVINO parses it: "YES" and "NO" for booleans, digits for numbers; "" for an object.
std::string ToText(const PropertyValue& value);
// The same for a key of `config`; "" when it is not there.
std::string PropertyText(const PropertyMap& config, std::string_view key);
// YES, TRUE, ON, 1 (in any case) against NO, FALSE, OFF, 0; `fallback` when it is not there or neither.
bool PropertyFlag(const PropertyMap& config, std::string_view key, bool fallback);

}  // namespace switchyard
