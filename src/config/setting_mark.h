// Which key of a model's entry an error is about, for whoever reports faults by their place in the file.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace switchyard {

// The mark ("shape") travels with the status (a payload, which Annotate keeps). OK takes none, and what is marked stays so.
Status MarkSetting(Status status, std::string_view key);
// Empty where there is none.
std::string SettingOf(const Status& status);

}  // namespace switchyard
