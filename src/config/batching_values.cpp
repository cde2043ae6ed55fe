#include "config/batching_values.h"

#include <algorithm>
#include <optional>
#include <string>

#include "config/json_text.h"
#include "config/text.h"

namespace switchyard {
namespace {

constexpr std::string_view kExpected = "an object such as {\"max_batch_size\": 16, \"max_delay_us\": 2000}";

// A whole number from `min` to `max` under `key`, if it is there.
Status ReadCount(const rapidjson::Value& json, std::string_view key, uint32_t min, uint32_t max,
                 std::optional<uint32_t>* target) {
  const auto member = json.FindMember(rapidjson::Value(key.data(), static_cast<rapidjson::SizeType>(key.size())));
  if (member == json.MemberEnd()) return absl::OkStatus();
  const rapidjson::Value& value = member->value;
  if (!value.IsUint() || value.GetUint() < min || value.GetUint() > max) {
    return InvalidArgument("{}: expected an integer from {} to {}, got {}", key, min, max, Describe(value));
  }
  *target = value.GetUint();
  return absl::OkStatus();
}

bool IsBatchDevice(std::string_view target) { return ToUpper(Trim(target)).starts_with("BATCH"); }

}  // namespace

StatusOr<DynamicBatching> DynamicBatchingOf(const rapidjson::Value& json) {
  if (!json.IsObject()) return InvalidArgument("expected {}, got {}", kExpected, Describe(json));
  static constexpr std::string_view kKeys[] = {"max_batch_size", "max_delay_us", "priority_levels", "default_priority_level"};
  for (const auto& member : json.GetObject()) {
    const std::string_view key = Text(member.name);
    if (std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys)) continue;
    return InvalidArgument(
        "{} is no key of it; expected max_batch_size, max_delay_us, priority_levels and default_priority_level", Quote(key));
  }
  std::optional<uint32_t> size, delay, levels, level;
  SY_RETURN_IF_ERROR(ReadCount(json, "max_batch_size", 1, kMaxBatchSize, &size));
  SY_RETURN_IF_ERROR(ReadCount(json, "max_delay_us", 0, kMaxBatchDelayUs, &delay));
  SY_RETURN_IF_ERROR(ReadCount(json, "priority_levels", 1, kMaxPriorityLevels, &levels));
  if (!size) return InvalidArgument("max_batch_size is missing; expected {}", kExpected);
  DynamicBatching batching{.max_batch_size = *size, .max_delay_us = delay.value_or(0)};
  if (levels) batching.priority = {.levels = *levels, .standard = (*levels + 1) / 2};
  SY_RETURN_IF_ERROR(ReadCount(json, "default_priority_level", 1, batching.priority.levels, &level));
  if (level) batching.priority.standard = *level;
  return batching;
}

StatusOr<DynamicBatching> ParseDynamicBatching(std::string_view text) {
  rapidjson::Document document;
  const Status parsed = ParseJsonText(text, &document);
  if (!parsed.ok()) return InvalidArgument("expected {}, got {}: {}", kExpected, Quote(text), Message(parsed));
  return DynamicBatchingOf(document);
}

Status CheckBatching(const ModelSettings& model) {
  if (!model.dynamic_batching) return absl::OkStatus();
  if (model.batch_auto || !model.auto_shapes.empty()) {
    return InvalidArgument(
        "dynamic_batching: cannot stand beside {} \"auto\", which compiles each size anew; give a shape with -1 where sizes "
        "vary, or remove one of the two",
        model.batch_auto ? "batch_size" : "shape");
  }
  const auto batch = std::find_if(model.fallback_devices.begin(), model.fallback_devices.end(), IsBatchDevice);
  const bool fallback = batch != model.fallback_devices.end();
  if (!IsBatchDevice(model.target_device) && !fallback) return absl::OkStatus();
  return InvalidArgument(
      "dynamic_batching: cannot stand beside {} {}, which joins calls itself; name the device alone, or remove one of the two",
      fallback ? "the fallback device" : "target_device", Quote(fallback ? *batch : model.target_device));
}

}  // namespace switchyard
