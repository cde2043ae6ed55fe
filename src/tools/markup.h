// Text of anybody's within HTML and SVG.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// The characters of UTF-8 text; U+FFFD for bytes that are none, and for characters that XML does not have.
std::vector<std::string_view> Utf8Characters(std::string_view text);

// As content, and as an attribute's value in quotes.
std::string EscapeMarkup(const std::vector<std::string_view>& characters);
std::string EscapeMarkup(std::string_view text);

}  // namespace switchyard
