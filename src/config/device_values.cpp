#include "config/device_values.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

#include "config/json_text.h"
#include "config/text.h"

namespace switchyard {
namespace {

constexpr uint32_t kShortestTimeout = 10;
constexpr uint32_t kLongestTimeout = 3600000;
constexpr std::string_view kTimeoutExpected = "milliseconds from 10 to 3600000, or 0 to let the model's own times decide";

// Registering one of these anew would take away what OpenVINO ships.
constexpr std::string_view kShipped[] = {"CPU", "GPU", "NPU", "AUTO", "MULTI", "HETERO", "BATCH"};

bool IsTimeout(uint64_t milliseconds) {
  return milliseconds == 0 || (milliseconds >= kShortestTimeout && milliseconds <= kLongestTimeout);
}

Status CheckPluginName(std::string_view name) {
  const bool good = !name.empty() && name.front() >= 'A' && name.front() <= 'Z' &&
                    std::all_of(name.begin(), name.end(),
                                [](char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; });
  if (!good) {
    return InvalidArgument("expected a device's name of upper-case letters, digits and _, such as NVIDIA; got {}", Quote(name));
  }
  if (std::find(std::begin(kShipped), std::end(kShipped), name) != std::end(kShipped)) {
    return InvalidArgument("{} is a device of OpenVINO itself; give the plugin another name", Quote(name));
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::vector<std::string>> ParseFallbackDevices(std::string_view text) {
  std::vector<std::string> devices;
  text = Trim(text);
  if (text.empty()) return devices;
  const bool semicolons = text.find(';') != std::string_view::npos;
  if (!semicolons && text.find(':') != std::string_view::npos && text.find(',') != std::string_view::npos) {
    return InvalidArgument(
        "cannot tell the commas of an entry from those between entries in {}; separate entries by semicolons, as in "
        "\"HETERO:GPU,CPU;CPU\", or end a single one with a semicolon",
        Quote(text));
  }
  if (text.back() == ';') text.remove_suffix(1);
  for (const std::string_view part : Split(text, semicolons ? ';' : ',')) {
    const std::string_view entry = Trim(part);
    if (entry.empty()) {
      return InvalidArgument("entry {} is empty; remove the extra {}", devices.size() + 1, semicolons ? "semicolon" : "comma");
    }
    devices.emplace_back(entry);
  }
  return devices;
}

StatusOr<std::vector<std::string>> FallbackDevicesOf(const rapidjson::Value& json) {
  if (json.IsString()) return ParseFallbackDevices(Text(json));
  if (!json.IsArray()) return InvalidArgument("expected a list of devices such as [\"NPU\", \"CPU\"], got {}", Describe(json));
  std::vector<std::string> devices;
  for (const rapidjson::Value& entry : json.GetArray()) {
    const size_t position = devices.size() + 1;
    if (!entry.IsString()) return InvalidArgument("entry {}: expected a string, got {}", position, Describe(entry));
    const std::string_view text = Trim(Text(entry));
    if (text.empty()) return InvalidArgument("entry {} is empty; name a device or remove the entry", position);
    devices.emplace_back(text);
  }
  return devices;
}

StatusOr<uint32_t> ParseDeviceTimeout(std::string_view text) {
  uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || stop != text.data() + text.size() || !IsTimeout(value)) {
    return InvalidArgument("expected {}, got {}", kTimeoutExpected, Quote(text));
  }
  return static_cast<uint32_t>(value);
}

StatusOr<uint32_t> DeviceTimeoutOf(const rapidjson::Value& json) {
  if (!json.IsUint() || !IsTimeout(json.GetUint())) {
    return InvalidArgument("expected {}, got {}", kTimeoutExpected, Describe(json));
  }
  return json.GetUint();
}

Status AddDevicePlugin(std::string_view name, std::string_view path, const std::string& base_dir, DevicePlugins* plugins) {
  SY_RETURN_IF_ERROR(CheckPluginName(name));
  if (path.empty() || path.find('\0') != std::string_view::npos) {
    return InvalidArgument("{}: expected the path of the plugin's library, got {}", name, Quote(path));
  }
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(std::filesystem::path(base_dir) / path, error);
  if (error) return InvalidArgument("{}: the path {} cannot be made absolute: {}", name, Quote(path), error.message());
  std::string normal = absolute.lexically_normal().string();
  for (const auto& [other_name, other_path] : *plugins) {
    if (other_name != name) continue;
    if (other_path == normal) return absl::OkStatus();
    return InvalidArgument("{} has two paths, {} and {}; give it one, or the other plugin another name", name,
                           Quote(other_path), Quote(normal));
  }
  plugins->emplace_back(std::string(name), std::move(normal));
  return absl::OkStatus();
}

Status AddDevicePlugin(std::string_view text, DevicePlugins* plugins) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) {
    return InvalidArgument("expected NAME=PATH, such as NVIDIA=/opt/libopenvino_nvidia_gpu_plugin.so; got {}", Quote(text));
  }
  return AddDevicePlugin(Trim(text.substr(0, equals)), Trim(text.substr(equals + 1)), "", plugins);
}

StatusOr<DevicePlugins> DevicePluginsOf(const rapidjson::Value& json, const std::string& base_dir) {
  if (!json.IsObject()) {
    return InvalidArgument("expected an object of paths by device, such as {{\"NVIDIA\": \"libplugin.so\"}}, got {}",
                           Describe(json));
  }
  DevicePlugins plugins;
  for (const auto& member : json.GetObject()) {
    if (!member.value.IsString()) {
      return InvalidArgument("{}: expected a path, got {}", Quote(Text(member.name)), Describe(member.value));
    }
    SY_RETURN_IF_ERROR(AddDevicePlugin(Text(member.name), Text(member.value), base_dir, &plugins));
  }
  return plugins;
}

}  // namespace switchyard
