// plugin_config, from JSON to properties, with OVMS's conversions of values. Names stay as they are written.
#pragma once

#include <rapidjson/document.h>

#include <string_view>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

// Errors begin with the property's name: `NUM_STREAMS: expected ..., got ...`.
StatusOr<PropertyMap> PluginConfigOf(const rapidjson::Value& json);

}  // namespace switchyard
