// TensorFlow Serving's HandleReloadConfigRequest.
#pragma once

#include "protocol/rpc_service.h"

namespace switchyard::tfs {

// The request's models are served from now on, and no others. An answer with an error changed nothing, unless a model that
// could be checked then could not be loaded.
CommandMethod ReloadConfigMethod();

}  // namespace switchyard::tfs
