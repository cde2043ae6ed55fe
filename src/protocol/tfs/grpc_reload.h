// TensorFlow Serving's HandleReloadConfigRequest.
#pragma once

#include "protocol/rpc_service.h"

namespace switchyard::tfs {

// The request's models are served from now on, and no others. An answer with an error changed nothing, unless it is that of a
// model that could not be loaded: then the list holds all the same, as in TensorFlow Serving.
CommandMethod ReloadConfigMethod();

}  // namespace switchyard::tfs
