// `switchyard tune`: finds the best settings of a model by measuring.
#pragma once

#include <functional>
#include <memory>

#include "base/status.h"
#include "config/settings.h"
#include "runtime/runtime.h"

namespace switchyard {

using TuneRuntimeFactory = std::function<StatusOr<std::unique_ptr<Runtime>>(const ServerSettings&)>;

// argv[1] is "tune". Prints the ranked table to stdout and the progress to stderr. SIGINT and SIGTERM end the search with what
// it has. Returns the exit code: 0, 1 when no candidate can be served or the output not be written, 64 when the command line is
// at fault, 130 when it was interrupted before anything was measured.
int RunTune(int argc, const char* const* argv, const TuneRuntimeFactory& make_runtime);

}  // namespace switchyard
