// JSON text that people write: config.json and the flags that take JSON.
#pragma once

#include <rapidjson/document.h>

#include <string>
#include <string_view>

#include "base/status.h"

namespace switchyard {

// Nesting deeper than kMaxJsonDepth is refused. The fault's place is given as line and column (both from 1, in bytes).
Status ParseJsonText(std::string_view text, rapidjson::Document* document);

// `the string "two"`, `the number 2`, `null`, `an object`, `a list of 3`: what came, for error messages.
std::string Describe(const rapidjson::Value& value);

inline std::string_view Text(const rapidjson::Value& string) { return {string.GetString(), string.GetStringLength()}; }

}  // namespace switchyard
