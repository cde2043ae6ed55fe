// Numbers of large tensors, read from JSON's text straight into elements: a general parser spends most of a large request on
// them, and makes a table of all of them first.
#pragma once

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

// False when there is no number at `at`. 8 readable bytes must follow behind the number's last.
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

// The usual form of a float, "-1.2345", all of it at once and without a jump that cannot be foreseen: where the next one begins
// is known some 20 cycles after this one, and what it is worth is worked out meanwhile. False when it has another form, or
// where its nearest float is not sure: see ReadToken and ToFloat. 32 bytes at `at` must be readable.
inline bool ReadPlainFloat(const char* at, const char*& end, float& out) {
#ifdef __SSE2__
  const __m128i* const bytes = reinterpret_cast<const __m128i*>(at);
  const auto others = [](__m128i text) {  // a bit for each byte that is no digit
    const __m128i from_least = _mm_add_epi8(text, _mm_set1_epi8(static_cast<char>(128 - '0')));
    return static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpgt_epi8(from_least, _mm_set1_epi8(-128 + 9))));
  };
  const uint32_t other = others(_mm_loadu_si128(bytes)) | others(_mm_loadu_si128(bytes + 1)) << 16;
  const uint32_t negative = *at == '-' ? 1 : 0;
  const uint32_t from_whole = other >> negative;
  const uint32_t from_point = from_whole & (from_whole - 1);
  if (from_point == 0) return false;
  const char* const begin = at + negative;
  const int whole_count = std::countr_zero(from_whole);
  end = begin + std::countr_zero(from_point);
  const char* const point = begin + whole_count;
  const auto fraction_count = static_cast<size_t>(end - point - 1);
  if (*point != '.' || fraction_count == 0 || (*end | 0x20) == 'e') return false;

  uint64_t whole = static_cast<uint64_t>(*begin - '0');
  if (whole_count != 1) {
    if (whole_count == 0 || whole_count > 8 || whole == 0) return false;
    std::memcpy(&whole, begin, sizeof(whole));
    whole = json_numbers::EightDigits((whole ^ 0x3030303030303030) << (64 - 8 * whole_count));
  }
  // The first 16 digits of the fraction, and zeros behind the last. Two become one, four times over.
  alignas(16) static constexpr std::array<uint8_t, 32> kKept = {255, 255, 255, 255, 255, 255, 255, 255,
                                                                255, 255, 255, 255, 255, 255, 255, 255};
  const uint8_t* const kept = kKept.data() + 16 - std::min<size_t>(fraction_count, 16);
  const __m128i digits =
      _mm_and_si128(_mm_sub_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(point + 1)), _mm_set1_epi8('0')),
                    _mm_loadu_si128(reinterpret_cast<const __m128i*>(kept)));
  const __m128i tens = _mm_mullo_epi16(_mm_and_si128(digits, _mm_set1_epi16(0xFF)), _mm_set1_epi16(10));
  const __m128i by_two = _mm_add_epi16(tens, _mm_srli_epi16(digits, 8));
  const __m128i by_four = _mm_madd_epi16(by_two, _mm_set1_epi32(100 | 1 << 16));
  const __m128i by_eight = _mm_madd_epi16(_mm_packs_epi32(by_four, by_four), _mm_set1_epi32(10000 | 1 << 16));
  const auto halves = static_cast<uint64_t>(_mm_cvtsi128_si64(by_eight));
  const uint64_t fraction = (halves & 0xFFFFFFFF) * 100000000 + (halves >> 32);

  // Off by less than 4.5e-16 (the digits left out 1e-16, three roundings) and half a unit in the last place of the sum, which
  // is 2^-72 at least: 2.2 million of these units together.
  const double near = static_cast<double>(whole) + static_cast<double>(static_cast<int64_t>(fraction)) * 1e-16;
  const uint64_t below = std::bit_cast<uint64_t>(near) & ((uint64_t{1} << 29) - 1);
  const int64_t distance = static_cast<int64_t>(below) - (int64_t{1} << 28);  // from halfway between two floats
  constexpr int64_t kUnsure = int64_t{1} << 22;
  const bool sure = (distance > kUnsure || distance < -kUnsure) && near >= 0x1p-20;
  if (!sure && (near != 0 || fraction_count > 16)) return false;
  out = std::bit_cast<float>(std::bit_cast<uint32_t>(static_cast<float>(near)) | negative << 31);
  return true;
#else
  static_cast<void>(at), static_cast<void>(end), static_cast<void>(out);
  return false;
#endif
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

// Behind the number at `at`; null when none is there, or none that ToNearestFloat gives. 32 readable bytes must follow behind
// it.
inline const char* ReadFloat(const char* at, float& out) {
  const char* end = nullptr;
  if (ReadPlainFloat(at, end, out)) return end;
  NumberToken token;
  return ReadToken(at, token) && ToFloat(token, out) ? token.end : nullptr;
}

}  // namespace switchyard
