// Whole files, read and written at once.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace switchyard {

// Blocks. INVALID_ARGUMENT, with the path and the system's reason, when it cannot be read.
StatusOr<std::string> ReadFile(const std::string& path);
// Blocks. A file is there whole or not at all, and keeps its mode. INVALID_ARGUMENT, with the path and the remedy, when it
// cannot be written whole.
Status WriteFile(const std::string& path, std::string_view text);
// Whether WriteFile could, as far as can be told without writing: the same error. Leaves nothing.
Status CheckWritable(const std::string& path);

}  // namespace switchyard
