#include "base/json_string.h"

#include <simdjson.h>

namespace switchyard {
namespace {

// Bytes of the UTF-8 sequence at the start of `text`, or 0 when it is not one.
size_t Utf8SequenceLength(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t length = lead < 0x80 ? 1 : (lead & 0xE0) == 0xC0 ? 2 : (lead & 0xF0) == 0xE0 ? 3 : (lead & 0xF8) == 0xF0 ? 4 : 0;
  if (length == 0 || length > text.size() || !simdjson::validate_utf8(text.data(), length)) return 0;
  return length;
}

void AppendEscaped(std::string& out, unsigned char c) {
  static constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default:
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
  }
}

bool NeedsEscape(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; }

}  // namespace

bool IsUtf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

void AppendJsonString(std::string& out, std::string_view text) {
  const bool valid = IsUtf8(text);
  out += '"';
  size_t plain = 0;
  for (size_t i = 0; i < text.size();) {
    size_t length = 1;
    if (!valid && static_cast<unsigned char>(text[i]) >= 0x80) {
      length = Utf8SequenceLength(text.substr(i));
      if (length == 0) {
        out.append(text, plain, i - plain);
        out += "\\ufffd";
        plain = ++i;
        continue;
      }
    } else if (NeedsEscape(text[i])) {
      out.append(text, plain, i - plain);
      AppendEscaped(out, static_cast<unsigned char>(text[i]));
      plain = i + 1;
    }
    i += length;
  }
  out.append(text, plain, text.size() - plain);
  out += '"';
}

}  // namespace switchyard
