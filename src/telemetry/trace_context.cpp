#include "telemetry/trace_context.h"

#include <algorithm>
#include <cstring>
#include <random>

namespace switchyard {
namespace {

constexpr size_t kLength = 55;  // of version 00
constexpr size_t kMaxStateBytes = 512;
constexpr size_t kMaxStateMembers = 32;
constexpr size_t kMaxKey = 256;
constexpr size_t kMaxValue = 256;
// Sampled, and that the trace id is random: the bits that have a meaning.
constexpr uint8_t kKnownFlags = 0x03;

int Digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool ReadHex(std::string_view text, uint8_t* bytes) {
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = Digit(text[i]), low = Digit(text[i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i / 2] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

template <size_t N>
bool IsZero(const std::array<uint8_t, N>& bytes) {
  return bytes == std::array<uint8_t, N>{};
}

bool IsLowerOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool IsMember(std::string_view member) {
  const size_t equals = member.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals > kMaxKey) return false;
  const std::string_view key = member.substr(0, equals), value = member.substr(equals + 1);
  const auto in_key = [](char c) { return IsLowerOrDigit(c) || c == '_' || c == '-' || c == '*' || c == '/' || c == '@'; };
  if (!IsLowerOrDigit(key[0]) || !std::all_of(key.begin(), key.end(), in_key)) return false;
  if (value.empty() || value.size() > kMaxValue || value.back() == ' ') return false;
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c <= 0x7e && c != ',' && c != '='; });
}

}  // namespace

bool ParseTraceParent(std::string_view header, TraceContext& context) {
  if (header.size() < kLength || header[2] != '-' || header[35] != '-' || header[52] != '-') return false;
  uint8_t version = 0, flags = 0;
  TraceContext read;
  if (!ReadHex(header.substr(0, 2), &version) || version == 0xff) return false;
  if (header.size() > kLength && (version == 0 || header[kLength] != '-')) return false;
  if (!ReadHex(header.substr(3, 32), read.trace_id.data()) || IsZero(read.trace_id)) return false;
  if (!ReadHex(header.substr(36, 16), read.parent_id.data()) || IsZero(read.parent_id)) return false;
  if (!ReadHex(header.substr(53, 2), &flags)) return false;
  context.trace_id = read.trace_id;
  context.parent_id = read.parent_id;
  context.flags = flags & kKnownFlags;
  context.valid = true;
  return true;
}

bool IsTraceState(std::string_view header) {
  if (header.size() > kMaxStateBytes) return false;
  size_t members = 0;
  while (true) {
    const size_t comma = header.find(',');
    std::string_view member = header.substr(0, comma);
    while (!member.empty() && member.front() == ' ') member.remove_prefix(1);
    while (!member.empty() && member.back() == ' ') member.remove_suffix(1);
    // Empty members are allowed, and say nothing.
    if (!member.empty() && (++members > kMaxStateMembers || !IsMember(member))) return false;
    if (comma == std::string_view::npos) return members > 0;
    header.remove_prefix(comma + 1);
  }
}

void AppendHex(std::string& out, const uint8_t* bytes, size_t count) {
  static constexpr char kDigits[] = "0123456789abcdef";
  for (size_t i = 0; i < count; ++i) {
    out += kDigits[bytes[i] >> 4];
    out += kDigits[bytes[i] & 15];
  }
}

std::string TraceParentOf(const TraceContext& context) {
  std::string text = "00-";
  text.reserve(kLength);
  AppendHex(text, context.trace_id.data(), context.trace_id.size());
  text += '-';
  AppendHex(text, context.span_id.data(), context.span_id.size());
  text += '-';
  AppendHex(text, &context.flags, 1);
  return text;
}

uint64_t RandomBits() {
  // SplitMix64.
  thread_local uint64_t state = [] {
    std::random_device device;
    return static_cast<uint64_t>(device()) << 32 | device();
  }();
  uint64_t bits = state += 0x9e3779b97f4a7c15U;
  bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9U;
  bits = (bits ^ bits >> 27) * 0x94d049bb133111ebU;
  return bits ^ bits >> 31;
}

std::array<uint8_t, 8> NewSpanId() {
  uint64_t bits = 0;
  while (bits == 0) bits = RandomBits();
  std::array<uint8_t, 8> id;
  std::memcpy(id.data(), &bits, id.size());
  return id;
}

std::array<uint8_t, 16> NewTraceId() {
  const std::array<uint8_t, 8> high = NewSpanId(), low = NewSpanId();
  std::array<uint8_t, 16> id;
  std::copy(high.begin(), high.end(), id.begin());
  std::copy(low.begin(), low.end(), id.begin() + 8);
  return id;
}

}  // namespace switchyard
