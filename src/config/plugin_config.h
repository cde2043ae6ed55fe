// plugin_config, from JSON to properties, with OVMS's conversions of old names and of values.
#pragma once

#include <rapidjson/document.h>

#include <string_view>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

// Errors begin with the property's name: `NUM_STREAMS: expected ..., got ...`. Old names are replaced, with a warning in the
// log.
StatusOr<PropertyMap> PluginConfigOf(const rapidjson::Value& json);

}  // namespace switchyard
