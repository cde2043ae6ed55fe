// Which of OVMS's metrics are wanted.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace switchyard {

// Each must be a family of OVMS's that there is, and be named once. The error names it and the nearest one.
Status CheckMetricsList(const std::vector<std::string>& names);
// "ovms_streams, ovms_current_requests". Blanks around names do not count; an empty text is an empty list.
StatusOr<std::vector<std::string>> ParseMetricsList(std::string_view text);

}  // namespace switchyard
