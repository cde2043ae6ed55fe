// The values of settings about devices, from text and from JSON: one parser each for the command line and config.json. Errors
// say what was expected and what came; the caller puts the flag's or key's name before them. What a target_device means is
// judged where devices are known (device/target.h).
#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

// "NPU,CPU"; with semicolons, where an entry has commas of its own: "HETERO:GPU,CPU;CPU", or "HETERO:GPU,CPU;" for that one
// alone. Empty for an empty text.
StatusOr<std::vector<std::string>> ParseFallbackDevices(std::string_view text);
// The same text, or a list of strings that are one entry each.
StatusOr<std::vector<std::string>> FallbackDevicesOf(const rapidjson::Value& json);

// Milliseconds: 0, or 10 to 3600000.
StatusOr<uint32_t> ParseDeviceTimeout(std::string_view text);
StatusOr<uint32_t> DeviceTimeoutOf(const rapidjson::Value& json);

using DevicePlugins = decltype(ServerSettings::device_plugins);
// Adds a plugin, whose relative path is taken from `base_dir` (empty: the working folder). A name is upper-case letters, digits
// and _, and none of OpenVINO's own devices. The same name with the same path is there once; with another, an error.
Status AddDevicePlugin(std::string_view name, std::string_view path, const std::string& base_dir, DevicePlugins* plugins);
// "NAME=PATH", as on the command line.
Status AddDevicePlugin(std::string_view text, DevicePlugins* plugins);
// {NAME: PATH}.
StatusOr<DevicePlugins> DevicePluginsOf(const rapidjson::Value& json, const std::string& base_dir);

}  // namespace switchyard
