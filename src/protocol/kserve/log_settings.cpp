#include "protocol/kserve/log_settings.h"

#include <fmt/format.h>
#include <rapidjson/document.h>

#include "base/json_string.h"
#include "base/log.h"

namespace switchyard::kserve {
namespace {

std::string_view NameOf(LogFormat format) {
  switch (format) {
    case LogFormat::kText:
      return "default";
    case LogFormat::kIso8601:
      return "ISO8601";
    case LogFormat::kJson:
      break;
  }
  return "json";
}

std::string Show(const LogSettingValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<uint32_t>(&value)) return std::to_string(*number);
  if (const auto* unfit = std::get_if<UnfitLogValue>(&value)) return unfit->shown;
  std::string text;
  AppendJsonString(text, std::get<std::string>(value));
  return text;
}

std::string UnfitText(const rapidjson::Value& value) {
  if (value.IsInt64()) return std::to_string(value.GetInt64());
  if (value.IsUint64()) return std::to_string(value.GetUint64());
  // With the point that tells it from an integer.
  if (value.IsDouble()) return fmt::format("{:#}", value.GetDouble());
  return value.IsNull() ? "null" : value.IsObject() ? "an object" : "a list";
}

Status Wrong(const std::string& name, std::string_view expected, const LogSettingValue& value) {
  return InvalidArgument("{}: expected {}, got {}", name, expected, Show(value));
}

Status Apply(const std::string& name, const LogSettingValue& value, LogSettings& settings) {
  bool* const flag = name == "log_info"      ? &settings.info
                     : name == "log_warning" ? &settings.warning
                     : name == "log_error"   ? &settings.error
                                             : nullptr;
  if (flag != nullptr) {
    if (!std::holds_alternative<bool>(value)) return Wrong(name, "true or false", value);
    *flag = std::get<bool>(value);
    return absl::OkStatus();
  }
  if (name == "log_verbose_level") {
    if (!std::holds_alternative<uint32_t>(value)) return Wrong(name, "an integer from 0 to 4294967295", value);
    settings.verbose = std::get<uint32_t>(value);
    return absl::OkStatus();
  }
  const auto* const text = std::get_if<std::string>(&value);
  if (name == "log_format") {
    for (const LogFormat format : {LogFormat::kText, LogFormat::kIso8601, LogFormat::kJson}) {
      if (text == nullptr || *text != NameOf(format)) continue;
      settings.format = format;
      return absl::OkStatus();
    }
    return Wrong(name, "\"default\", \"ISO8601\" or \"json\"", value);
  }
  if (name == "log_file") {
    if (text != nullptr && *text == LogFile()) return absl::OkStatus();
    return InvalidArgument("log_file: it cannot be changed over the network; restart the server with another --log_path");
  }
  return InvalidArgument(
      "{}: there is no such setting; expected log_info, log_warning, log_error, log_verbose_level or log_format", name);
}

}  // namespace

LogSettingList ListLogSettings() {
  const LogSettings now = CurrentLogSettings();
  return {{"log_file", LogFile()},
          {"log_info", now.info},
          {"log_warning", now.warning},
          {"log_error", now.error},
          {"log_verbose_level", now.verbose},
          {"log_format", std::string(NameOf(now.format))}};
}

Status ChangeLog(const LogSettingList& changes) {
  LogSettings settings = CurrentLogSettings();
  for (const auto& [name, value] : changes) SY_RETURN_IF_ERROR(Apply(name, value, settings));
  ChangeLogSettings(settings);
  return absl::OkStatus();
}

std::string EncodeLogSettings() {
  std::string json = "{";
  for (const auto& [name, value] : ListLogSettings()) {
    if (json.size() > 1) json += ',';
    json += fmt::format("\"{}\":{}", name, Show(value));
  }
  return json + '}';
}

Status ChangeLog(std::string_view json) {
  if (json.size() > kMaxLogChangeBytes) {
    return InvalidArgument("expected at most {} bytes of JSON, got {}", kMaxLogChangeBytes, json.size());
  }
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(json.data(), json.size());
  if (document.HasParseError() || !document.IsObject()) {
    return InvalidArgument("expected a JSON object of log settings such as {{\"log_verbose_level\": 1}}");
  }
  LogSettingList changes;
  for (const auto& member : document.GetObject()) {
    std::string name(member.name.GetString(), member.name.GetStringLength());
    const auto& value = member.value;
    if (value.IsBool()) {
      changes.emplace_back(std::move(name), value.GetBool());
    } else if (value.IsUint()) {
      changes.emplace_back(std::move(name), value.GetUint());
    } else if (value.IsString()) {
      changes.emplace_back(std::move(name), std::string(value.GetString(), value.GetStringLength()));
    } else {
      changes.emplace_back(std::move(name), UnfitLogValue{UnfitText(value)});
    }
  }
  return ChangeLog(changes);
}

}  // namespace switchyard::kserve
