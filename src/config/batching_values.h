// The values of dynamic_batching, from text and from JSON. Errors say what was expected and what came; the caller puts the
// flag's or key's name before them.
#pragma once

#include <rapidjson/document.h>

#include <string_view>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

inline constexpr uint32_t kMaxBatchSize = 4096;
inline constexpr uint32_t kMaxBatchDelayUs = 10000000;
inline constexpr uint32_t kMaxPriorityLevels = 1000;

// {"max_batch_size": 16, "max_delay_us": 2000, "priority_levels": 3, "default_priority_level": 2}; the first is needed.
StatusOr<DynamicBatching> DynamicBatchingOf(const rapidjson::Value& json);
// The same as the text of a flag.
StatusOr<DynamicBatching> ParseDynamicBatching(std::string_view text);

// What holds between dynamic_batching and the model's other settings. InvalidArgument: it stands beside "auto" or BATCH.
Status CheckBatching(const ModelSettings& model);

}  // namespace switchyard
