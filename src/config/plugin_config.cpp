#include "config/plugin_config.h"

#include <charconv>
#include <optional>
#include <string>

#include "base/log.h"
#include "config/config_file.h"
#include "config/json_text.h"
#include "config/text.h"

namespace switchyard {
namespace {

constexpr std::string_view kDeviceProperties = "DEVICE_PROPERTIES";

StatusOr<PropertyValue> ScalarOf(const rapidjson::Value& json) {
  if (json.IsBool()) return PropertyValue{json.GetBool()};
  if (json.IsInt64()) return PropertyValue{json.GetInt64()};
  if (json.IsUint64()) return InvalidArgument("expected a number of at most 9223372036854775807, got {}", Describe(json));
  if (json.IsDouble()) return PropertyValue{json.GetDouble()};
  if (json.IsString()) return PropertyValue{std::string(Text(json))};
  return InvalidArgument("expected a string, a boolean or a number (objects stand only under {}), got {}", kDeviceProperties,
                         Describe(json));
}

std::optional<int64_t> IntegerIn(const PropertyValue& value) {
  const auto* text = std::get_if<std::string>(&value.value);
  if (text == nullptr) return std::nullopt;
  int64_t number = 0;
  const char* end = text->data() + text->size();
  const auto [stop, error] = std::from_chars(text->data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

// An old name gives way to its new one, unless the new one is there too: then it says nothing that counts.
void Rename(PropertyMap* properties, const std::string& old_name, const std::string& new_name, PropertyValue value) {
  if (properties->count(new_name) != 0) {
    LogWarning("plugin_config: {} is an old name of {}, which is given too; {} is not used", old_name, new_name, old_name);
  } else {
    LogWarning("plugin_config: {} is an old name; {} is set in its place", old_name, new_name);
    properties->emplace(new_name, std::move(value));
  }
}

void ReplaceOldNames(PropertyMap* properties) {
  for (const std::string device : {"CPU", "GPU"}) {
    auto streams = properties->extract(device + "_THROUGHPUT_STREAMS");
    if (streams.empty()) continue;
    const auto* text = std::get_if<std::string>(&streams.mapped().value);
    if (text != nullptr && *text == device + "_THROUGHPUT_AUTO") {
      Rename(properties, streams.key(), "PERFORMANCE_HINT", PropertyValue{std::string("THROUGHPUT")});
    } else {
      Rename(properties, streams.key(), "NUM_STREAMS", std::move(streams.mapped()));
    }
  }
  auto threads = properties->extract("CPU_THREADS_NUM");
  if (!threads.empty()) Rename(properties, threads.key(), "INFERENCE_NUM_THREADS", std::move(threads.mapped()));
}

Status ConvertValues(PropertyMap* properties) {
  for (auto& [name, value] : *properties) {
    const auto* text = std::get_if<std::string>(&value.value);
    if (text == nullptr) continue;
    if (name == "INFERENCE_NUM_THREADS" || name == "AUTO_BATCH_TIMEOUT") {
      const std::optional<int64_t> number = IntegerIn(value);
      if (!number.has_value()) return InvalidArgument("{}: expected a whole number, got the string {}", name, Quote(*text));
      value.value = *number;
    } else if (name == "ENABLE_CPU_PINNING") {
      const std::string upper = ToUpper(*text);
      const bool yes = upper == "TRUE" || upper == "YES" || upper == "1";
      if (!yes && upper != "FALSE" && upper != "NO" && upper != "0") {
        return InvalidArgument("{}: expected true or false, got the string {}", name, Quote(*text));
      }
      value.value = yes;
    }
  }
  return absl::OkStatus();
}

StatusOr<PropertyMap> ScalarsOf(const rapidjson::Value& json) {
  PropertyMap properties;
  for (const auto& member : json.GetObject()) {
    auto value = ScalarOf(member.value);
    if (!value.ok()) return Annotate(value.status(), std::string(Text(member.name)));
    properties[std::string(Text(member.name))] = *std::move(value);
  }
  ReplaceOldNames(&properties);
  SY_RETURN_IF_ERROR(ConvertValues(&properties));
  return properties;
}

StatusOr<PropertyMap> DevicePropertiesOf(const rapidjson::Value& json) {
  PropertyMap devices;
  for (const auto& member : json.GetObject()) {
    const std::string device(Text(member.name));
    if (!member.value.IsObject()) {
      return InvalidArgument("{}/{}: expected an object of properties, got {}", kDeviceProperties, device,
                             Describe(member.value));
    }
    auto properties = ScalarsOf(member.value);
    if (!properties.ok()) return Annotate(properties.status(), fmt::format("{}/{}", kDeviceProperties, device));
    devices[device] = PropertyValue{*std::move(properties)};
  }
  return devices;
}

}  // namespace

StatusOr<PropertyMap> PluginConfigOf(const rapidjson::Value& json) {
  if (!json.IsObject()) {
    return InvalidArgument("expected a JSON object such as {{\"PERFORMANCE_HINT\": \"LATENCY\"}}, got {}", Describe(json));
  }
  PropertyMap properties;
  for (const auto& member : json.GetObject()) {
    const std::string name(Text(member.name));
    if (name == kDeviceProperties && member.value.IsObject()) {
      SY_ASSIGN_OR_RETURN(PropertyMap devices, DevicePropertiesOf(member.value));
      properties[name] = PropertyValue{std::move(devices)};
    } else {
      auto value = ScalarOf(member.value);
      if (!value.ok()) return Annotate(value.status(), name);
      properties[name] = *std::move(value);
    }
  }
  ReplaceOldNames(&properties);
  SY_RETURN_IF_ERROR(ConvertValues(&properties));
  return properties;
}

StatusOr<PropertyMap> ParsePluginConfig(std::string_view json) {
  rapidjson::Document document;
  const Status parsed = ParseJsonText(json, &document);
  if (!parsed.ok()) {
    return InvalidArgument("expected a JSON object such as {{\"PERFORMANCE_HINT\": \"LATENCY\"}}, got {}: {}", Quote(json),
                           Message(parsed));
  }
  return PluginConfigOf(document);
}

}  // namespace switchyard
