// Numbers of large tensors, read from JSON's text straight into elements: a general parser spends most of a large request on
// them, and makes a table of all of them first.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// A document without its large arrays of numbers: in the place of each stands a string, "\u0000" and the array's index, that
// nothing else in it can be.
struct LiftedJson {
  std::string rest;                      // with kBodyPadding bytes of capacity behind it
  std::vector<std::string_view> arrays;  // "[[1,2],[3,4]]", in the document
};

// Nothing when there is no such array, or none that would be worth it. Nothing is judged: `rest` and each of `arrays`, read by
// NumberArray, are well-formed together when `text` is. `text` is not kept, but `arrays` lie in it.
std::optional<LiftedJson> LiftNumbers(std::string_view text);

// The index that such a string stands for; none for any other.
std::optional<size_t> LiftedIndex(std::string_view string);

// One number of JSON, by its grammar, as it stands in the text.
struct NumberToken {
  const char* begin = nullptr;
  const char* end = nullptr;
  uint64_t digits = 0;  // all of them, without the point; meaningless when `many`
  int exponent = 0;     // the value is digits times 10 to the power of it
  bool negative = false;
  bool integer = false;  // neither a point nor an exponent
  bool many = false;     // more than 19 digits, or an exponent of more than four
};

// The double that is nearest, as any reader of JSON would have it. False when it is out of range or no more than zero is left.
bool ToDouble(const NumberToken& token, double& out);
// static_cast<float> of that. False when the double cannot be had, or is beyond a float.
bool ToNearestFloat(const NumberToken& token, float& out);

// What follows is all that is done for most numbers, and so is inline: 150,528 of them make a picture.

inline bool IsJsonSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

inline const char* SkipJsonSpace(const char* at) {
  while (IsJsonSpace(*at)) ++at;
  return at;
}

namespace json_numbers {

inline constexpr std::array<uint64_t, 8> kTens = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};
inline constexpr std::array<double, 23> kPowers = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
inline constexpr int kLargestPower = 22;  // of ten that a double has exactly

// The value of eight bytes from 0 to 9, the first of which stands lowest. After D. Lemire, "Number parsing at a gigabyte per
// second" (2021).
inline uint64_t EightDigits(uint64_t c) {
  constexpr uint64_t kMask = 0x000000FF000000FF;
  c = c * 10 + (c >> 8);
  return (((c & kMask) * 0x000F424000000064) + (((c >> 16) & kMask) * 0x0000271000000001)) >> 32 & 0xFFFFFFFF;
}

inline bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Behind the digits at `at`, which are appended to `value`: a few.
inline const char* ReadDigits(const char* at, uint64_t& value) {
  for (; IsDigit(*at); ++at) value = value * 10 + static_cast<uint64_t>(*at - '0');
  return at;
}

// The same for many, as they stand behind a point. How many are left over decides over no jump: it cannot be foreseen.
inline const char* ReadManyDigits(const char* at, uint64_t& value) {
  static_assert(std::endian::native == std::endian::little, "eight digits are read as one number");
  while (true) {
    uint64_t c = 0;
    std::memcpy(&c, at, sizeof(c));
    c ^= 0x3030303030303030;
    // The highest bit of every byte that is no digit, up to the first of them.
    const uint64_t other = (c | (c + 0x7676767676767676)) & 0x8080808080808080;
    if (other != 0) {
      const auto count = static_cast<unsigned>(std::countr_zero(other)) / 8;
      value = value * kTens[count] + EightDigits((c << 8) << (56 - 8 * count));
      return at + count;
    }
    value = value * 100000000 + EightDigits(c);
    at += 8;
  }
}

// Rounded twice at most: off by no more than three units in the last place of the nearest double.
inline double Approximate(const NumberToken& token) {
  const auto digits = static_cast<double>(token.digits);
  const double value = token.exponent < 0 ? digits / kPowers[static_cast<size_t>(-token.exponent)]
                                          : digits * kPowers[static_cast<size_t>(token.exponent)];
  return token.negative ? -value : value;
}

}  // namespace json_numbers

// False when there is no number at `at`, which must be followed by 8 readable bytes behind the number's last.
inline bool ReadToken(const char* at, NumberToken& token) {
  token = {};
  token.begin = at;
  token.negative = *at == '-';
  if (token.negative) ++at;
  const char* const whole = at;
  at = json_numbers::ReadDigits(at, token.digits);
  std::ptrdiff_t count = at - whole;  // of digits
  if (count == 0 || (*whole == '0' && count > 1)) return false;
  token.integer = true;
  if (*at == '.') {
    token.integer = false;
    const char* const fraction = ++at;
    at = json_numbers::ReadManyDigits(at, token.digits);
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
    at = json_numbers::ReadDigits(at, value);
    if (at == power) return false;
    token.many = token.many || at - power > 4;
    if (!token.many) token.exponent += down ? -static_cast<int>(value) : static_cast<int>(value);
  }
  token.end = at;
  return true;
}

// As ToNearestFloat, mostly without making the nearest double.
inline bool ToFloat(const NumberToken& token, float& out) {
  if (!token.many && !token.integer && std::abs(token.exponent) <= json_numbers::kLargestPower) {
    const double near = json_numbers::Approximate(token);
    // Where no boundary between two floats, halfway between them, is as near as the error, all doubles there give the same one.
    const uint64_t below = std::bit_cast<uint64_t>(near) & ((uint64_t{1} << 29) - 1);
    const int64_t distance = static_cast<int64_t>(below) - (int64_t{1} << 28);
    const double size = std::abs(near);
    if ((distance > 4 || distance < -4) && size > 1e-37 && size < 1e38) {
      out = static_cast<float>(near);
      return true;
    }
  }
  return ToNearestFloat(token, out);
}

}  // namespace switchyard
