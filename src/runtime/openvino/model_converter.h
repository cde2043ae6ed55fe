// `switchyard convert` by OpenVINO's readers and its writer of IR.
#pragma once

#include <memory>

#include "base/status.h"
#include "runtime/conversion.h"

namespace switchyard {

StatusOr<std::unique_ptr<ModelConverter>> MakeModelConverter();

}  // namespace switchyard
