// Reads JSON whole, by simdjson's DOM: a request is known to be well-formed before anything of it is used.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <simdjson.h>

#include "base/status.h"

namespace switchyard {

using JsonValue = simdjson::dom::element;
using JsonArray = simdjson::dom::array;
using JsonObject = simdjson::dom::object;

// How deeply arrays and objects may be nested, as in OVMS; an empty one at the bottom does not count.
inline constexpr size_t kMaxJsonDepth = 100;

// A lease of the thread's parser: at most one at a time on a thread. Everything read from it is valid while it lives.
class JsonDocument {
 public:
  JsonDocument() = default;
  JsonDocument(const JsonDocument&) = delete;
  JsonDocument& operator=(const JsonDocument&) = delete;
  // Gives memory back that an unusually large document took.
  ~JsonDocument();

  // `text` must be followed by kBodyPadding readable bytes. InvalidArgument, "... not valid json - Error: ... Offset: n", for
  // everything that is not JSON in UTF-8, and for deeper nesting. Beyond the standard, outside strings, the bare words NaN,
  // Infinity and -Infinity are taken for the strings of that name, and integers beyond 64 bits for floating-point numbers.
  StatusOr<JsonValue> Parse(std::string_view text);
};

// "object", "array", "string", "number", "boolean", "null".
std::string_view JsonTypeName(JsonValue value);
// The value as text, cut short: for messages.
std::string JsonExcerpt(JsonValue value);

}  // namespace switchyard
