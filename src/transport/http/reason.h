// The words of a status line.
#pragma once

#include <string_view>

namespace switchyard {

// "Not Found" for 404; "Error" for a code that the server does not use.
std::string_view ReasonOf(int code);

}  // namespace switchyard
