#include "protocol/http/json_numbers.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/json_string.h"
#include "protocol/http/http_message.h"
#include "protocol/http/json_reader.h"

namespace switchyard {
namespace {

// Below these the general parser is as fast.
constexpr size_t kShortestText = size_t{16} << 10;
constexpr size_t kShortestArray = 1024;
// So much is looked through in vain before the rest is left as it is.
constexpr size_t kMostInVain = 4096;
constexpr int kMostFailures = 8;
constexpr size_t kMostNested = 8;

using json_numbers::IsDigit;

const char* SkipSpace(const char* at, const char* end) {
  while (at < end && IsJsonSpace(*at)) ++at;
  return at;
}

// Behind the array that begins at `at`, if it looks like one of numbers, nested or not. Only brackets are looked at.
const char* EndOfNumbers(const char* at, const char* end) {
  size_t depth = 0;
  while (true) {
    for (; at < end && (*at == '[' || IsJsonSpace(*at)); ++at) {
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

bool ToDouble(const NumberToken& token, double& out) {
  if (token.integer && !token.many) {
    // As an integer: there is no -0.
    out = static_cast<double>(token.digits);
    if (token.negative && token.digits != 0) out = -out;
    return true;
  }
  if (!token.many && token.digits < uint64_t{1} << 53 && std::abs(token.exponent) <= json_numbers::kLargestPower) {
    out = json_numbers::Approximate(token);  // both are exact: it is rounded once
    return true;
  }
  const auto parsed = std::from_chars(token.begin, token.end, out);
  return parsed.ec == std::errc() && parsed.ptr == token.end;
}

bool ToNearestFloat(const NumberToken& token, float& out) {
  double exact = 0;
  if (!ToDouble(token, exact)) return false;
  out = static_cast<float>(exact);
  return std::isfinite(out);
}

}  // namespace switchyard
