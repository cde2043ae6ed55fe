// Compiling in a child process: a compiler that crashes does not take the server with it.
#pragma once

#include <string>

#include "base/status.h"
#include "runtime/openvino/openvino_runtime.h"
#include "runtime/runtime.h"

namespace switchyard {

// Starts this program as a child that loads `request` into its cache_dir, and imports it from there once. Blocks until it has
// ended, for load_timeout_ms at most. The child's own error comes back as it is. A crash or a time-out is an Internal
// error that names the model, the target and the signal, marked as the model's fault. InvalidArgument without a cache_dir.
Status CompileInChild(const OpenVinoOptions& options, const LoadRequest& request);

}  // namespace switchyard
