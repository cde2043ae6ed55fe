#include "protocol/http/json_numbers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "protocol/http/http_message.h"
#include "protocol/http/json_reader.h"

namespace switchyard {
namespace {

static_assert(std::endian::native == std::endian::little, "eight digits are read as one number");

// Below these the general parser is as fast.
constexpr size_t kShortestText = size_t{16} << 10;
constexpr size_t kShortestArray = 1024;
// So much is looked through in vain before the rest is left as it is.
constexpr size_t kMostInVain = 4096;
constexpr int kMostFailures = 8;
constexpr size_t kMostNested = 8;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

const char* SkipSpace(const char* at, const char* end) {
  while (at < end && IsSpace(*at)) ++at;
  return at;
}

// Behind the array that begins at `at`, if it looks like one of numbers, nested or not. Only brackets are looked at.
const char* EndOfNumbers(const char* at, const char* end) {
  size_t depth = 0;
  while (true) {
    for (; at < end && (*at == '[' || IsSpace(*at)); ++at) {
      if (*at == '[' && ++depth > kMostNested) return nullptr;
    }
    if (at == end || !(IsDigit(*at) || *at == '-')) return nullptr;
    at = static_cast<const char*>(std::memchr(at, ']', static_cast<size_t>(end - at)));
    if (at == nullptr) return nullptr;
    while (at < end && *at == ']') {
      ++at;
      if (--depth == 0) return at;
      at = SkipSpace(at, end);
    }
    if (at == end || *at != ',') return nullptr;
    at = SkipSpace(at + 1, end);
    if (at == end || *at != '[') return nullptr;
  }
}

// Behind the string that begins at `at`.
const char* EndOfString(const char* at, const char* end) {
  for (++at; at < end && *at != '"'; ++at) {
    if (*at == '\\') ++at;
  }
  return at < end ? at + 1 : end;
}

// `c` and what follows it are eight digits, and their value. After D. Lemire, "Number parsing at a gigabyte per second" (2021).
bool IsEightDigits(uint64_t c) {
  return ((c & 0xF0F0F0F0F0F0F0F0) | (((c + 0x0606060606060606) & 0xF0F0F0F0F0F0F0F0) >> 4)) == 0x3333333333333333;
}

uint64_t EightDigits(uint64_t c) {
  c -= 0x3030303030303030;
  c = c * 10 + (c >> 8);
  constexpr uint64_t kMask = 0x000000FF000000FF;
  return (((c & kMask) * 0x000F424000000064) + (((c >> 16) & kMask) * 0x0000271000000001)) >> 32;
}

const char* ReadDigits(const char* at, uint64_t& value) {
  uint64_t eight = 0;
  for (std::memcpy(&eight, at, 8); IsEightDigits(eight); std::memcpy(&eight, at, 8)) {
    value = value * 100000000 + (EightDigits(eight) & 0xFFFFFFFF);
    at += 8;
  }
  for (; IsDigit(*at); ++at) value = value * 10 + static_cast<uint64_t>(*at - '0');
  return at;
}

constexpr std::array<double, 23> kPowers = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                            1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr int kLargestPower = static_cast<int>(kPowers.size()) - 1;

// Rounded twice at most: off by no more than three units in the last place of the nearest double.
double Approximate(const NumberToken& token) {
  const auto digits = static_cast<double>(token.digits);
  const double value = token.exponent < 0 ? digits / kPowers[static_cast<size_t>(-token.exponent)]
                                          : digits * kPowers[static_cast<size_t>(token.exponent)];
  return token.negative ? -value : value;
}

}  // namespace

std::optional<LiftedJson> LiftNumbers(std::string_view text) {
  if (text.size() < kShortestText) return std::nullopt;
  LiftedJson lifted;
  const char* const end = text.data() + text.size();
  const char* copied = text.data();
  size_t depth = 0;
  int failures = 0;
  const auto keep = [&](const char* until) {
    const std::string_view kept(copied, static_cast<size_t>(until - copied));
    lifted.rest += kept;
    return kept.find("\\u0000") == kept.npos;
  };
  for (const char* at = copied; at < end && static_cast<size_t>(at - copied) < kMostInVain && failures < kMostFailures;) {
    if (*at == '"') {
      at = EndOfString(at, end);
      continue;
    }
    const char* array_end = *at == '[' && depth + kMostNested <= kMaxJsonDepth ? EndOfNumbers(at, end) : nullptr;
    if (array_end != nullptr && static_cast<size_t>(array_end - at) >= kShortestArray) {
      if (!keep(at)) return std::nullopt;
      lifted.rest += fmt::format("\"\\u0000{}\"", lifted.arrays.size());
      lifted.arrays.emplace_back(at, static_cast<size_t>(array_end - at));
      at = copied = array_end;
      continue;
    }
    if (array_end != nullptr) {
      at = array_end;
      continue;
    }
    if (*at == '[' || *at == '{') ++depth;
    if (*at == '[') ++failures;
    if ((*at == ']' || *at == '}') && depth > 0) --depth;
    ++at;
  }
  if (lifted.arrays.empty()) return std::nullopt;
  lifted.rest.reserve(lifted.rest.size() + static_cast<size_t>(end - copied) + kBodyPadding);
  if (!keep(end)) return std::nullopt;
  return lifted;
}

std::optional<size_t> LiftedIndex(std::string_view string) {
  if (string.size() < 2 || string[0] != '\0') return std::nullopt;
  size_t index = 0;
  const char* end = string.data() + string.size();
  const auto parsed = std::from_chars(string.data() + 1, end, index);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional<size_t>(index) : std::nullopt;
}

bool ReadToken(const char* at, NumberToken& token) {
  token = {};
  token.begin = at;
  token.negative = *at == '-';
  if (token.negative) ++at;
  if (!IsDigit(*at)) return false;
  const char* const whole = at;
  at = ReadDigits(at, token.digits);
  if (*whole == '0' && at - whole > 1) return false;
  std::ptrdiff_t count = at - whole;  // of digits
  token.integer = true;
  if (*at == '.') {
    token.integer = false;
    const char* const fraction = ++at;
    at = ReadDigits(at, token.digits);
    if (at == fraction) return false;
    count += at - fraction;
    token.exponent = -static_cast<int>(std::min<std::ptrdiff_t>(at - fraction, 1000));
  }
  token.many = count > 19;
  if ((*at | 0x20) == 'e') {
    token.integer = false;
    ++at;
    const bool down = *at == '-';
    if (down || *at == '+') ++at;
    const char* const power = at;
    uint64_t value = 0;
    at = ReadDigits(at, value);
    if (at == power) return false;
    token.many = token.many || at - power > 4;
    if (!token.many) token.exponent += down ? -static_cast<int>(value) : static_cast<int>(value);
  }
  token.end = at;
  return true;
}

bool ToDouble(const NumberToken& token, double& out) {
  if (token.integer && !token.many) {
    // As an integer: there is no -0.
    out = static_cast<double>(token.digits);
    if (token.negative && token.digits != 0) out = -out;
    return true;
  }
  if (!token.many && token.digits < uint64_t{1} << 53 && std::abs(token.exponent) <= kLargestPower) {
    out = Approximate(token);  // both are exact: it is rounded once
    return true;
  }
  const auto parsed = std::from_chars(token.begin, token.end, out);
  return parsed.ec == std::errc() && parsed.ptr == token.end;
}

bool ToFloat(const NumberToken& token, float& out) {
  if (!token.many && !token.integer && std::abs(token.exponent) <= kLargestPower) {
    const double near = Approximate(token);
    // Where no boundary between two floats, halfway between them, is as near as the error, all doubles there give the same one.
    const uint64_t below = std::bit_cast<uint64_t>(near) & ((uint64_t{1} << 29) - 1);
    const int64_t distance = static_cast<int64_t>(below) - (int64_t{1} << 28);
    const double size = std::abs(near);
    if ((distance > 4 || distance < -4) && size > 1e-37 && size < 1e38) {
      out = static_cast<float>(near);
      return true;
    }
  }
  double exact = 0;
  if (!ToDouble(token, exact)) return false;
  out = static_cast<float>(exact);
  return std::isfinite(out);
}

}  // namespace switchyard
