// An ov::Core with everything that the user added to OpenVINO.
#pragma once

#include <memory>
#include <openvino/runtime/core.hpp>

#include "base/status.h"
#include "runtime/openvino/openvino_runtime.h"

namespace switchyard {

// NotFound when a library is not there, InvalidArgument when it is none, or not one of the kind; Internal when OpenVINO itself
// does not start. Libraries run their own initialisers here.
StatusOr<std::shared_ptr<ov::Core>> MakeCore(const OpenVinoOptions& options);

}  // namespace switchyard
