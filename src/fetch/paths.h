// Names that servers give to files.
#pragma once

#include <string_view>

namespace switchyard {

// A path below a folder: relative, without "..", "." and hidden parts, backslashes and control characters. Pure.
bool StaysInside(std::string_view path);

}  // namespace switchyard
