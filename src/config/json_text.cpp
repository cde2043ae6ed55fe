#include "config/json_text.h"

#include <rapidjson/error/en.h>

#include <algorithm>

#include "base/json_string.h"
#include "config/text.h"

namespace switchyard {
namespace {

std::string Place(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const size_t line = static_cast<size_t>(std::count(before.begin(), before.end(), '\n')) + 1;
  const size_t last = before.rfind('\n');
  const size_t column = last == std::string_view::npos ? before.size() + 1 : before.size() - last;
  return fmt::format("line {}, column {} (byte {})", line, column, offset);
}

// The parser itself recurses, so depth is bounded before it runs. A NUL would end the parser's input early and hide the rest.
Status CheckDepth(std::string_view text) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\0') return InvalidArgument("invalid JSON at {}: a NUL byte", Place(text, i));
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxJsonDepth) {
        return InvalidArgument("invalid JSON at {}: nested deeper than {} levels", Place(text, i), kMaxJsonDepth);
      }
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return absl::OkStatus();
}

}  // namespace

Status ParseJsonText(std::string_view text, rapidjson::Document* document) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.substr(0, kByteOrderMark.size()) == kByteOrderMark) text.remove_prefix(kByteOrderMark.size());
  SY_RETURN_IF_ERROR(CheckDepth(text));
  constexpr unsigned kFlags = rapidjson::kParseValidateEncodingFlag | rapidjson::kParseFullPrecisionFlag;
  document->Parse<kFlags>(text.data(), text.size());
  if (document->HasParseError()) {
    const size_t offset = std::min(document->GetErrorOffset(), text.size());
    return InvalidArgument("invalid JSON at {}: {}", Place(text, offset),
                           rapidjson::GetParseError_En(document->GetParseError()));
  }
  return absl::OkStatus();
}

std::string Describe(const rapidjson::Value& value) {
  switch (value.GetType()) {
    case rapidjson::kNullType: return "null";
    case rapidjson::kFalseType: return "false";
    case rapidjson::kTrueType: return "true";
    case rapidjson::kObjectType: return value.ObjectEmpty() ? "an empty object" : "an object";
    case rapidjson::kArrayType: return value.Empty() ? "an empty list" : fmt::format("a list of {}", value.Size());
    case rapidjson::kStringType: return fmt::format("the string {}", Quote(Text(value)));
    case rapidjson::kNumberType: break;
  }
  if (value.IsInt64()) return fmt::format("the number {}", value.GetInt64());
  if (value.IsUint64()) return fmt::format("the number {}", value.GetUint64());
  // With the point that tells it from an integer.
  return fmt::format("the number {:#}", value.GetDouble());
}

}  // namespace switchyard
