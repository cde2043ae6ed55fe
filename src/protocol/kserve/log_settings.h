// The logging extension: what is logged is read and changed while the server runs. The same names over gRPC and REST.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"

namespace switchyard::kserve {

inline constexpr size_t kMaxLogChangeBytes = 65536;

// A JSON value that no setting takes, in words.
struct UnfitLogValue {
  std::string shown;
};
using LogSettingValue = std::variant<bool, uint32_t, std::string, UnfitLogValue>;
using LogSettingList = std::vector<std::pair<std::string, LogSettingValue>>;

// log_file, log_info, log_warning, log_error, log_verbose_level, log_format, in this order.
LogSettingList ListLogSettings();
// All of the changes, or none. InvalidArgument names the setting, what was expected and what came. log_file cannot be changed:
// whoever reaches the port could write anywhere.
Status ChangeLog(const LogSettingList& changes);

// The same as JSON objects.
std::string EncodeLogSettings();
Status ChangeLog(std::string_view json);

}  // namespace switchyard::kserve
