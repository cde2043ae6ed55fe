#include "protocol/http/json_reader.h"

#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdint>
#include <string>

#include "base/json_string.h"
#include "base/utf8.h"
#include "protocol/http/http_message.h"

namespace switchyard {
namespace {

static_assert(kBodyPadding >= simdjson::SIMDJSON_PADDING);

// The parser's tables take some 13 bytes per byte of JSON; larger ones are not kept.
constexpr size_t kKeptCapacity = size_t{8} << 20;

simdjson::dom::parser& ThreadParser() {
  thread_local simdjson::dom::parser parser;
  return parser;
}

simdjson::simdjson_result<JsonValue> ParseWith(simdjson::dom::parser& parser, std::string_view text) {
  if (parser.capacity() < text.size() || parser.max_depth() != kMaxJsonDepth + 1) {
    // What is kept is rounded up, for the next one.
    const size_t capacity = text.size() < kKeptCapacity ? std::bit_ceil(std::max(text.size(), size_t{4096})) : text.size();
    if (const auto error = parser.allocate(capacity, kMaxJsonDepth + 1)) return error;
  }
  return parser.parse(text.data(), text.size(), false);
}

bool IsNumberChar(char c) { return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'; }

bool IsOversizedInteger(std::string_view token) {
  const bool negative = !token.empty() && token[0] == '-';
  const std::string_view digits = token.substr(negative ? 1 : 0);
  if (digits.size() < 19 || digits[0] == '0' || digits.find_first_not_of("0123456789") != digits.npos) return false;
  int64_t narrow = 0;
  uint64_t wide = 0;
  const char* end = token.data() + token.size();
  return negative ? std::from_chars(token.data(), end, narrow).ec != std::errc()
                  : std::from_chars(token.data(), end, wide).ec != std::errc();
}

// The key of the objects that stand for bare words.
constexpr std::string_view kWordKey("\0", 1);

// Rewrites what Python's json writes and the standard does not know. Empty when there is nothing of the kind.
std::string Relax(std::string_view text) {
  std::string out;
  size_t copied = 0;
  const auto replace = [&](size_t from, size_t length, std::string_view with) {
    out.append(text, copied, from - copied);
    out += with;
    copied = from + length;
  };
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    const std::string_view rest = text.substr(i);
    if (c == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\') ++i;
      }
      ++i;
    } else if (rest.starts_with("NaN")) {
      replace(i, 3, R"({"\u0000":"NaN"})");
      i += 3;
    } else if (rest.starts_with("Infinity")) {
      replace(i, 8, R"({"\u0000":"Infinity"})");
      i += 8;
    } else if (rest.starts_with("-Infinity")) {
      replace(i, 9, R"({"\u0000":"-Infinity"})");
      i += 9;
    } else if (IsNumberChar(c)) {
      size_t length = 1;
      while (length < rest.size() && IsNumberChar(rest[length])) ++length;
      if (IsOversizedInteger(rest.substr(0, length))) replace(i + length, 0, ".0");
      i += length;
    } else {
      ++i;
    }
  }
  if (copied == 0) return {};
  out.append(text, copied);
  return out;
}

// simdjson tells what is wrong but not where; this reader, slower, does.
Status DescribeFault(std::string_view text, simdjson::error_code error) {
  if (error == simdjson::DEPTH_ERROR) {
    return InvalidArgument("Request body is not acceptable: JSON nesting depth exceeded, at most {} levels are read",
                           kMaxJsonDepth);
  }
  if (error == simdjson::CAPACITY) {
    return InvalidArgument(
        "Request body is not acceptable: {} bytes of JSON, at most {} are read; send large tensors by the binary extension",
        text.size(), kMaxJsonBytes);
  }
  if (error == simdjson::MEMALLOC) {
    return Error(StatusCode::kUnavailable,
                 "There is not enough memory to read {} bytes of JSON; send large tensors by the binary extension",
                 text.size());
  }
  rapidjson::MemoryStream input(text.data(), text.size());
  rapidjson::BaseReaderHandler<> ignore;
  rapidjson::Reader reader;
  constexpr unsigned kFlags =
      rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag | rapidjson::kParseNanAndInfFlag;
  reader.Parse<kFlags>(input, ignore);
  if (reader.HasParseError()) {
    return InvalidArgument("Request body is not valid json - Error: {} Offset: {}",
                           rapidjson::GetParseError_En(reader.GetParseErrorCode()), reader.GetErrorOffset());
  }
  return InvalidArgument("Request body is not valid json - Error: {}", simdjson::error_message(error));
}

}  // namespace

JsonDocument::~JsonDocument() {
  if (ThreadParser().capacity() > kKeptCapacity) ThreadParser() = simdjson::dom::parser();
}

StatusOr<JsonValue> JsonDocument::Parse(std::string_view text) {
  lifted_.reset();
  taken_ = 0;
  simdjson::dom::parser& parser = ThreadParser();
  JsonValue root;
  const auto error = ParseWith(parser, text).get(root);
  if (!error) return root;
  if (error == simdjson::DEPTH_ERROR || error == simdjson::MEMALLOC || error == simdjson::CAPACITY) {
    return DescribeFault(text, error);
  }
  std::string relaxed = Relax(text);
  if (relaxed.empty()) return DescribeFault(text, error);
  relaxed.reserve(relaxed.size() + kBodyPadding);
  // What was read points into the parser's own memory, never into `relaxed`.
  if (const auto second = ParseWith(parser, relaxed).get(root)) return DescribeFault(text, second);
  return root;
}

StatusOr<JsonValue> JsonDocument::ParseLifted(std::string_view text) {
  std::optional<LiftedJson> lifted = LiftNumbers(text);
  auto root = Parse(lifted ? std::string_view(lifted->rest) : text);
  lifted_ = std::move(lifted);
  return root;
}

std::optional<size_t> JsonDocument::IndexOf(JsonValue value) const {
  std::string_view text;
  if (!lifted_ || value.get(text) != simdjson::SUCCESS) return std::nullopt;
  const auto index = LiftedIndex(text);
  return index && *index < lifted_->arrays.size() ? index : std::nullopt;
}

std::optional<std::string_view> JsonDocument::TakeNumbers(JsonValue value) {
  const auto index = IndexOf(value);
  if (!index) return std::nullopt;
  ++taken_;
  return lifted_->arrays[*index];
}

bool JsonDocument::IsArray(JsonValue value) const { return value.is_array() || IndexOf(value).has_value(); }

std::string_view BareWord(JsonValue value) {
  JsonObject object;
  std::string_view word;
  if (value.get(object) != simdjson::SUCCESS || object.size() != 1) return {};
  return object.at_key(kWordKey).get(word) == simdjson::SUCCESS ? word : std::string_view();
}

std::string_view JsonTypeName(JsonValue value) {
  switch (value.type()) {
    case simdjson::dom::element_type::ARRAY: return "array";
    case simdjson::dom::element_type::OBJECT: return BareWord(value).empty() ? "object" : "number";
    case simdjson::dom::element_type::STRING: return "string";
    case simdjson::dom::element_type::BOOL: return "boolean";
    case simdjson::dom::element_type::NULL_VALUE: return "null";
    default: return "number";
  }
}

std::string JsonExcerpt(JsonValue value) {
  if (const std::string_view word = BareWord(value); !word.empty()) return std::string(word);
  if (value.is_array() || value.is_object()) return std::string(JsonTypeName(value));
  std::string text = simdjson::minify(value);
  if (text.size() > 40) text = std::string(CutUtf8(text, 40)) + "...";
  return text;
}

}  // namespace switchyard
