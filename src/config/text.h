// Words for error messages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// In double quotes, control characters and bytes that are no UTF-8 escaped (\x1b), cut after at most 80 bytes: what a stranger
// wrote must not garble a terminal, a log or JSON.
std::string Quote(std::string_view text);

// The candidate that `text` was most likely meant to be, or an empty view when none is near.
std::string_view Nearest(std::string_view text, const std::vector<std::string_view>& candidates);

// Without blanks at both ends.
std::string_view Trim(std::string_view text);
std::string ToUpper(std::string_view text);
// The parts between `separator`s; one empty part for an empty text.
std::vector<std::string_view> Split(std::string_view text, char separator);

}  // namespace switchyard
