#include "config/plugin_config.h"

#include <charconv>
#include <optional>
#include <string>

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

// Reads OpenVINO's own text for nested properties, "{CPU:{NUM_STREAMS:2},GPU:{PERF_COUNT:YES}}": JSON's form without quotes.
// All values are text, and the runtime converts them to what the property takes.
class NestedText {
 public:
  explicit NestedText(std::string_view text) : text_(text), rest_(Trim(text)) {}

  StatusOr<PropertyMap> Read() {
    PropertyMap devices;
    if (!Take('{')) return Fault("an opening brace");
    if (!Take('}')) {
      do {
        SY_ASSIGN_OR_RETURN(const std::string device, Name(devices, "a device"));
        auto properties = Properties();
        if (!properties.ok()) return properties.status();
        devices[device] = PropertyValue{*std::move(properties)};
      } while (Take(','));
      if (!Take('}')) return Fault("a comma or a closing brace");
    }
    if (!rest_.empty()) return Fault("nothing behind the last brace");
    return devices;
  }

 private:
  StatusOr<PropertyMap> Properties() {
    PropertyMap properties;
    if (!Take('{')) return Fault("an opening brace");
    if (Take('}')) return properties;
    do {
      SY_ASSIGN_OR_RETURN(const std::string name, Name(properties, "a property"));
      const std::string_view value = Word("{},");
      if (value.empty()) return Fault("a value");
      properties[name] = PropertyValue{std::string(value)};
    } while (Take(','));
    if (!Take('}')) return Fault("a comma or a closing brace");
    return properties;
  }

  StatusOr<std::string> Name(const PropertyMap& taken, std::string_view what) {
    const std::string name(Word("{},:"));
    if (name.empty()) return Fault(what);
    if (taken.count(name) != 0) return InvalidArgument("{} stands twice in {}; remove one of them", Quote(name), Quote(text_));
    if (!Take(':')) return Fault("a colon");
    return name;
  }

  // Up to one of `ends`, which may be the end of the text.
  std::string_view Word(std::string_view ends) {
    const std::string_view word = rest_.substr(0, rest_.find_first_of(ends));
    rest_.remove_prefix(word.size());
    return Trim(word);
  }

  bool Take(char c) {
    rest_ = Trim(rest_);
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  Status Fault(std::string_view expected) const {
    return InvalidArgument("expected {} at {} in {}; write an object, or text such as \"{{CPU:{{NUM_STREAMS:2}}}}\"", expected,
                           rest_.empty() ? std::string("the end") : Quote(rest_.substr(0, kShown)), Quote(text_));
  }

  static constexpr size_t kShown = 20;
  const std::string_view text_;
  std::string_view rest_;
};

// Text with quotes is JSON in a string; without, it is OpenVINO's own form.
StatusOr<PropertyMap> ParseDeviceProperties(std::string_view text) {
  if (text.find('"') != std::string_view::npos) {
    rapidjson::Document document;
    const Status parsed = ParseJsonText(text, &document);
    if (!parsed.ok()) return InvalidArgument("{}: {}", kDeviceProperties, Message(parsed));
    if (!document.IsObject()) return InvalidArgument("{}: expected an object, got {}", kDeviceProperties, Describe(document));
    return DevicePropertiesOf(document);
  }
  auto devices = NestedText(text).Read();
  if (!devices.ok()) return Annotate(devices.status(), kDeviceProperties);
  for (auto& [device, value] : *devices) {
    auto& properties = std::get<PropertyMap>(value.value);
    const Status converted = ConvertValues(&properties);
    if (!converted.ok()) return Annotate(converted, fmt::format("{}/{}", kDeviceProperties, device));
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
    if (name == kDeviceProperties && (member.value.IsObject() || member.value.IsString())) {
      SY_ASSIGN_OR_RETURN(PropertyMap devices, member.value.IsObject() ? DevicePropertiesOf(member.value)
                                                                       : ParseDeviceProperties(Text(member.value)));
      properties[name] = PropertyValue{std::move(devices)};
    } else {
      auto value = ScalarOf(member.value);
      if (!value.ok()) return Annotate(value.status(), name);
      properties[name] = *std::move(value);
    }
  }
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
