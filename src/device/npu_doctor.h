// The NPU's half of WhyAbsent (doctor.h), which has the contract.
#pragma once

#include <optional>

#include "device/doctor.h"

namespace switchyard {

std::optional<Absence> WhyNoNpu(const SystemView& view);

}  // namespace switchyard
