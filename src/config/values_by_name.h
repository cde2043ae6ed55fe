// Settings that have a value for each input or output: what their parsers in config/ share.
#pragma once

#include <rapidjson/document.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "config/json_text.h"
#include "config/text.h"

namespace switchyard {

// {"name": value, ...}; `parse` makes a StatusOr<T> of each value. `noun` is what is named: "an input". `expected` is for an
// object without members.
template <typename T, typename Parse>
StatusOr<std::map<std::string, T>> ValuesByName(const rapidjson::Value& object, std::string_view noun,
                                                std::string_view expected, Parse parse) {
  std::map<std::string, T> values;
  for (const auto& member : object.GetObject()) {
    const std::string name(Text(member.name));
    if (name.empty()) return InvalidArgument("expected the name of {} as key, got an empty one", noun);
    auto value = parse(member.value);
    if (!value.ok()) return Annotate(value.status(), Quote(name));
    values[name] = *std::move(value);
  }
  if (values.empty()) return InvalidArgument("expected {}, got an empty object", expected);
  return values;
}

// A flag's text: an object is JSON; anything else is taken as the text that a JSON string would hold.
template <typename Read>
auto FromFlag(std::string_view text, std::string_view expected, Read read) -> decltype(read(rapidjson::Value())) {
  rapidjson::Document document;
  if (Trim(text).substr(0, 1) == "{") {
    const Status parsed = ParseJsonText(text, &document);
    if (!parsed.ok()) return InvalidArgument("expected {}, got {}: {}", expected, Quote(text), Message(parsed));
  } else {
    document.SetString(text.data(), static_cast<rapidjson::SizeType>(text.size()), document.GetAllocator());
  }
  return read(document);
}

}  // namespace switchyard
