// What --allowed_origins, --allowed_methods and --allowed_headers say.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace switchyard {

// "*" alone when any origin is allowed; else origins as browsers send them, none for an empty text.
StatusOr<std::vector<std::string>> ParseAllowedOrigins(std::string_view text);

// The list as it goes into a header field; empty: the field is not sent.
StatusOr<std::string> ParseAllowedNames(std::string_view text);

}  // namespace switchyard
