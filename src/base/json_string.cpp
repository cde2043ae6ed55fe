#include "base/json_string.h"

#include "base/utf8.h"

namespace switchyard {
namespace {

void AppendUnicodeEscape(std::string& out, unsigned character) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kHex[character >> shift & 15];
}

void AppendEscaped(std::string& out, unsigned char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      AppendUnicodeEscape(out, c);
  }
}

bool NeedsEscape(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' || c == '\x7f'; }

// A character at the start of `text` that JSON has as it is, but that terminals obey (control characters beyond ASCII) or that
// readers of lines stop at (U+2028, U+2029); 0 for others.
unsigned Troublemaker(std::string_view text) {
  if (text[0] == '\xC2' && static_cast<unsigned char>(text[1]) < 0xA0) return static_cast<unsigned char>(text[1]);
  if (text[0] != '\xE2') return 0;
  return text.starts_with("\xE2\x80\xA8") ? 0x2028 : text.starts_with("\xE2\x80\xA9") ? 0x2029 : 0;
}

}  // namespace

void AppendJsonString(std::string& out, std::string_view text) {
  const bool valid = IsUtf8(text);
  out += '"';
  size_t plain = 0;
  for (size_t i = 0; i < text.size();) {
    size_t length = 1;
    if (static_cast<unsigned char>(text[i]) >= 0x80) {
      const std::string_view rest = text.substr(i);
      const size_t sequence = valid ? 1 : Utf8SequenceLength(rest);
      const unsigned escaped = sequence == 0 ? 0xFFFD : Troublemaker(rest);
      length = sequence == 0 ? 1 : escaped == 0 ? sequence : escaped < 0x100 ? 2 : 3;
      if (escaped != 0) {
        out.append(text, plain, i - plain);
        AppendUnicodeEscape(out, escaped);
        plain = i + length;
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
