#include "config/lifecycle_values.h"

#include <charconv>
#include <filesystem>
#include <limits>
#include <system_error>

#include "config/json_text.h"
#include "config/text.h"

namespace switchyard {

StatusOr<WarmUp> WarmUpOf(const rapidjson::Value& json, const std::string& base_dir) {
  WarmUp warm_up;
  if (!json.IsObject()) {
    return InvalidArgument("expected an object such as {{\"requests\": 3, \"file\": \"requests.json\"}}, got {}",
                           Describe(json));
  }
  for (const auto& member : json.GetObject()) {
    const std::string key(Text(member.name));
    const rapidjson::Value& value = member.value;
    if (key == "requests") {
      if (!value.IsUint() || value.GetUint() > kMostWarmUpRequests) {
        return InvalidArgument("requests: expected an integer from 0 to {}, got {}", kMostWarmUpRequests, Describe(value));
      }
      warm_up.requests = value.GetUint();
    } else if (key == "file") {
      if (!value.IsString() || value.GetStringLength() == 0) {
        return InvalidArgument("file: expected the path of a file, got {}", Describe(value));
      }
      std::error_code error;
      const std::filesystem::path path = std::filesystem::path(base_dir) / std::string(Text(value));
      warm_up.file = std::filesystem::absolute(path, error).lexically_normal().string();
    } else {
      return InvalidArgument("unknown key {}; expected requests and file", Quote(key));
    }
  }
  return warm_up;
}

StatusOr<WarmUp> ParseWarmUp(std::string_view text) {
  rapidjson::Document document;
  SY_RETURN_IF_ERROR(ParseJsonText(text, &document));
  return WarmUpOf(document, "");
}

StatusOr<uint32_t> IdleSecondsOf(const rapidjson::Value& json) {
  if (json.IsUint() && json.GetUint() <= kLongestIdleSeconds) return json.GetUint();
  return InvalidArgument("expected an integer from 0 to {}, got {}", kLongestIdleSeconds, Describe(json));
}

StatusOr<uint64_t> ParseBytes(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  int shift = -1;
  if (unit.empty() || unit == "B") shift = 0;
  if (unit == "KB") shift = 10;
  if (unit == "MB") shift = 20;
  if (unit == "GB") shift = 30;
  if (error != std::errc() || end == text.data() || shift < 0 || number > std::numeric_limits<uint64_t>::max() >> shift) {
    return InvalidArgument("expected bytes, with or without a unit: 8589934592, 512MB, 8GB; got {}", Quote(text));
  }
  return number << shift;
}

}  // namespace switchyard
