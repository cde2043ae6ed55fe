#include "protocol/http/json_writer.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include <simdjson.h>

#include "tensor/half.h"

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

template <typename T>
char* WriteFloat(char* to, T value) {
  if (!std::isfinite(value)) {
    const std::string_view word = std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
    std::memcpy(to, word.data(), word.size());
    return to + word.size();
  }
  char* end = std::to_chars(to, to + 32, value).ptr;
  for (const char* c = to; c != end; ++c) {
    if (*c == '.' || *c == 'e') return end;
  }
  *end++ = '.';
  *end++ = '0';
  return end;
}

char* WriteElement(char* to, float value) { return WriteFloat(to, value); }
char* WriteElement(char* to, double value) { return WriteFloat(to, value); }
template <typename T>
char* WriteElement(char* to, T value) {
  return std::to_chars(to, to + 32, value).ptr;
}

constexpr size_t kMaxElementText = 33;

// Elements are written straight into the string's memory, a block at a time: an append per element costs as much as the
// conversion itself.
template <typename T, typename Convert>
void AppendAll(std::string& out, const std::byte* data, size_t count, Convert convert) {
  constexpr size_t kBlock = 256;
  for (size_t done = 0; done < count;) {
    const size_t block = count - done < kBlock ? count - done : kBlock;
    const size_t before = out.size();
    if (out.capacity() < before + block * kMaxElementText) out.reserve(2 * before + block * kMaxElementText);
    out.resize(before + block * kMaxElementText);
    char* to = out.data() + before;
    for (size_t i = 0; i < block; ++i, ++done) {
      if (done != 0) *to++ = ',';
      T value;
      std::memcpy(&value, data + done * sizeof(T), sizeof(T));
      to = convert(to, value);
    }
    out.resize(static_cast<size_t>(to - out.data()));
  }
}

template <typename T>
void AppendNumbers(std::string& out, const std::byte* data, size_t count) {
  AppendAll<T>(out, data, count, [](char* to, T value) { return WriteElement(to, value); });
}

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

void AppendJsonInteger(std::string& out, int64_t value) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof(text), value).ptr);
}

void AppendJsonIntegers(std::string& out, absl::Span<const int64_t> values) {
  out += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i != 0) out += ',';
    AppendJsonInteger(out, values[i]);
  }
  out += ']';
}

void AppendJsonElements(std::string& out, ElementType type, const std::byte* data, size_t count) {
  switch (type) {
    case ElementType::kBool:
      return AppendAll<uint8_t>(out, data, count, [](char* to, uint8_t value) {
        const std::string_view word = value != 0 ? "true" : "false";
        std::memcpy(to, word.data(), word.size());
        return to + word.size();
      });
    case ElementType::kInt8: return AppendNumbers<int8_t>(out, data, count);
    case ElementType::kInt16: return AppendNumbers<int16_t>(out, data, count);
    case ElementType::kInt32: return AppendNumbers<int32_t>(out, data, count);
    case ElementType::kInt64: return AppendNumbers<int64_t>(out, data, count);
    case ElementType::kUint8: return AppendNumbers<uint8_t>(out, data, count);
    case ElementType::kUint16: return AppendNumbers<uint16_t>(out, data, count);
    case ElementType::kUint32: return AppendNumbers<uint32_t>(out, data, count);
    case ElementType::kUint64: return AppendNumbers<uint64_t>(out, data, count);
    case ElementType::kFp16:
      return AppendAll<uint16_t>(out, data, count, [](char* to, uint16_t bits) { return WriteFloat(to, HalfToFloat(bits)); });
    case ElementType::kBf16:
      return AppendAll<uint16_t>(out, data, count,
                                 [](char* to, uint16_t bits) { return WriteFloat(to, Bfloat16ToFloat(bits)); });
    case ElementType::kFp32: return AppendNumbers<float>(out, data, count);
    case ElementType::kFp64: return AppendNumbers<double>(out, data, count);
    case ElementType::kBytes:
    case ElementType::kUndefined: return;
  }
}

}  // namespace switchyard
