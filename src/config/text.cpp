#include "config/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace switchyard {
namespace {

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

// Bytes of the UTF-8 character at the start of `text`; 0 for a control character and for what is no UTF-8.
size_t CharacterLength(std::string_view text) {
  const auto byte = [&](size_t i) -> unsigned { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
  const unsigned first = byte(0);
  if (first < 0x80) return first < 0x20 || first == 0x7f ? 0 : 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned second = byte(1);
  const bool control = first == 0xc2 && second < 0xa0;                                               // U+0080 to U+009F
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);        // a shorter form exists
  const bool no_character = (first == 0xed && second >= 0xa0) || (first == 0xf4 && second >= 0x90);  // surrogates, too high
  return control || overlong || no_character ? 0 : length;
}

}  // namespace

std::string Quote(std::string_view text) {
  constexpr size_t kLongest = 80;
  std::string quoted = "\"";
  size_t at = 0;
  while (at < text.size()) {
    const size_t length = CharacterLength(text.substr(at));
    // A character is shown whole or not at all.
    if (at + std::max<size_t>(length, 1) > kLongest) break;
    if (length == 0) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[at++]));
    } else {
      quoted += text.substr(at, length);
      at += length;
    }
  }
  if (at < text.size()) quoted += "...";
  quoted += '"';
  return quoted;
}

std::string_view Nearest(std::string_view text, const std::vector<std::string_view>& candidates) {
  // Nothing known is longer than this, and the comparison costs the product of the lengths.
  constexpr size_t kLongest = 64;
  if (text.empty() || text.size() > kLongest) return {};
  std::string_view nearest;
  size_t best = std::max<size_t>(1, text.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    const size_t distance = EditDistance(text, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string ToUpper(std::string_view text) {
  std::string upper(text);
  // ASCII alone, whatever the locale: these are identifiers.
  std::transform(upper.begin(), upper.end(), upper.begin(), [](char c) { return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c; });
  return upper;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  for (size_t end = text.find(separator); end != std::string_view::npos; end = text.find(separator, begin)) {
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  parts.push_back(text.substr(begin));
  return parts;
}

}  // namespace switchyard
