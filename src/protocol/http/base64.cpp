#include "protocol/http/base64.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>

namespace switchyard {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kNone = 255;

constexpr std::array<uint8_t, 256> MakeTable() {
  std::array<uint8_t, 256> table{};
  for (auto& entry : table) entry = kNone;
  for (size_t i = 0; i < kAlphabet.size(); ++i) table[static_cast<uint8_t>(kAlphabet[i])] = static_cast<uint8_t>(i);
  table[static_cast<uint8_t>('-')] = 62;
  table[static_cast<uint8_t>('_')] = 63;
  return table;
}
constexpr std::array<uint8_t, 256> kTable = MakeTable();

}  // namespace

static std::optional<std::string> DecodePacked(std::string_view text) {
  if (text.size() % 4 == 0) {
    for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  }
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 4 * 3 + 2);
  uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    const uint8_t value = kTable[static_cast<uint8_t>(c)];
    if (value == kNone) return std::nullopt;
    bits = bits << 6 | value;
    held += 6;
    if (held >= 8) {
      held -= 8;
      out += static_cast<char>(bits >> held & 0xFF);
    }
  }
  return out;
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n\v\f\r";
  std::optional<std::string> bytes = DecodePacked(text);
  // Nothing that is read as it is has blanks.
  if (bytes || text.find_first_of(kBlanks) == text.npos) return bytes;
  std::string packed;
  std::copy_if(text.begin(), text.end(), std::back_inserter(packed), [&](char c) { return kBlanks.find(c) == kBlanks.npos; });
  return DecodePacked(packed);
}

void AppendBase64(std::string& out, std::string_view bytes) {
  out.reserve(out.size() + (bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const auto at = [&](size_t k) { return i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0U; };
    const uint32_t bits = at(0) << 16 | at(1) << 8 | at(2);
    out += kAlphabet[bits >> 18];
    out += kAlphabet[bits >> 12 & 63];
    out += i + 1 < bytes.size() ? kAlphabet[bits >> 6 & 63] : '=';
    out += i + 2 < bytes.size() ? kAlphabet[bits & 63] : '=';
  }
}

}  // namespace switchyard
