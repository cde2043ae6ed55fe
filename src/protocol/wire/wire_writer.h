// Writes protobuf's wire format into a string. Field order and lengths are the caller's.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <absl/types/span.h>

#include "protocol/wire/wire_reader.h"

namespace switchyard::wire {

constexpr size_t VarintSize(uint64_t value) { return static_cast<size_t>(std::bit_width(value | 1) + 6) / 7; }

inline void AppendVarint(std::string& to, uint64_t value) {
  while (value >= 0x80) {
    to.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  to.push_back(static_cast<char>(value));
}

// What comes before a length-delimited field's bytes.
constexpr size_t HeadSize(uint32_t field, size_t length) {
  return VarintSize(Tag(field, kLengthDelimited)) + VarintSize(length);
}
inline void AppendHead(std::string& to, uint32_t field, size_t length) {
  AppendVarint(to, Tag(field, kLengthDelimited));
  AppendVarint(to, length);
}

constexpr size_t FieldSize(uint32_t field, size_t length) { return HeadSize(field, length) + length; }
inline void AppendField(std::string& to, uint32_t field, std::string_view bytes) {
  AppendHead(to, field, bytes.size());
  to.append(bytes);
}

constexpr size_t VarintFieldSize(uint32_t field, uint64_t value) { return VarintSize(Tag(field, kVarint)) + VarintSize(value); }
inline void AppendVarintField(std::string& to, uint32_t field, uint64_t value) {
  AppendVarint(to, Tag(field, kVarint));
  AppendVarint(to, value);
}

// The bytes of packed int64 values.
inline size_t PackedSize(absl::Span<const int64_t> values) {
  size_t size = 0;
  for (const int64_t value : values) size += VarintSize(static_cast<uint64_t>(value));
  return size;
}

}  // namespace switchyard::wire
