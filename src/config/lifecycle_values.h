// The keys that say what a model does before it serves, and when nobody calls it.
#pragma once

#include <rapidjson/document.h>

#include <string>
#include <string_view>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

inline constexpr uint32_t kMostWarmUpRequests = 10000;
inline constexpr uint32_t kLongestIdleSeconds = 100'000'000;

// {"requests": 3, "file": "requests.json"}; a relative file is taken from `base_dir`.
StatusOr<WarmUp> WarmUpOf(const rapidjson::Value& json, const std::string& base_dir);
// The same as the text of a flag, relative to the current folder.
StatusOr<WarmUp> ParseWarmUp(std::string_view text);
StatusOr<uint32_t> IdleSecondsOf(const rapidjson::Value& json);
// "8589934592", or with a unit: "512MB", "8GB" (1024 and not 1000 of the smaller ones).
StatusOr<uint64_t> ParseBytes(std::string_view text);

}  // namespace switchyard
