// Reads JSON whole, by simdjson's DOM: a request is known to be well-formed before anything of it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <simdjson.h>

#include "base/status.h"
#include "protocol/http/json_numbers.h"

namespace switchyard {

using JsonValue = simdjson::dom::element;
using JsonArray = simdjson::dom::array;
using JsonObject = simdjson::dom::object;

// Of longer text nothing is read.
inline constexpr uint64_t kMaxJsonBytes = simdjson::SIMDJSON_MAXSIZE_BYTES;

// A lease of the thread's parser: at most one at a time on a thread. Everything read from it is valid while it lives.
class JsonDocument {
 public:
  JsonDocument() = default;
  JsonDocument(const JsonDocument&) = delete;
  JsonDocument& operator=(const JsonDocument&) = delete;
  // Gives memory back that an unusually large document took.
  ~JsonDocument();

  // `text` must be followed by kBodyPadding readable bytes. InvalidArgument, "... not valid json - Error: ... Offset: n", for
  // everything that is not JSON in UTF-8, for deeper nesting and for longer text; Unavailable where memory is short. Beyond the
  // standard, outside strings, integers beyond 64 bits are taken for floating-point numbers, and the bare words NaN, Infinity
  // and -Infinity are values: see BareWord.
  StatusOr<JsonValue> Parse(std::string_view text);

  // As Parse, but large arrays of numbers may be left out: what stands for one is a string that TakeNumbers knows. None of what
  // is read is known to be well-formed before took_all(), and each array was read without a fault; a message may be of the
  // string. So whoever is not content parses once more, with Parse, and reads all again.
  StatusOr<JsonValue> ParseLifted(std::string_view text);
  bool lifted() const { return lifted_.has_value(); }
  // The array's text, which lies in that of the document; none when `value` is no such string. To be called once for each.
  std::optional<std::string_view> TakeNumbers(JsonValue value);
  bool took_all() const { return !lifted_ || taken_ == lifted_->arrays.size(); }
  // ParseLifted, and Parse where that is not enough: `read` is given the root, or why there is none, and says whether it is
  // content. `forget` goes before the second time.
  template <typename Read, typename Forget>
  Status ReadBody(std::string_view text, Read&& read, Forget&& forget) {
    Status status = read(ParseLifted(text));
    if (!lifted() || (status.ok() && took_all())) return status;
    forget();
    return read(Parse(text));
  }
  // Is it an array, here or left out?
  bool IsArray(JsonValue value) const;

 private:
  std::optional<size_t> IndexOf(JsonValue value) const;

  std::optional<LiftedJson> lifted_;
  size_t taken_ = 0;
};

// "NaN", "Infinity" or "-Infinity" of such a word, which is a number; empty for anything else. To what asks for no words it is
// an object, and so neither a string nor a key.
std::string_view BareWord(JsonValue value);

// "object", "array", "string", "number", "boolean", "null".
std::string_view JsonTypeName(JsonValue value);
// The value as text, cut short: for messages.
std::string JsonExcerpt(JsonValue value);

}  // namespace switchyard
