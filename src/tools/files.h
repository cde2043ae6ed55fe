// Whole files, read at once.
#pragma once

#include <string>

#include "base/status.h"

namespace switchyard {

// Blocks. INVALID_ARGUMENT, with the path and the system's reason, when it cannot be read.
StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace switchyard
