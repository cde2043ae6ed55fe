#include "protocol/http/json_writer.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "tensor/half.h"

namespace switchyard {
namespace {

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
