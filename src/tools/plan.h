// `switchyard plan`: what would become of a model's settings, without a server.
#pragma once

#include <absl/functional/any_invocable.h>

#include <memory>

#include "base/status.h"
#include "config/settings.h"
#include "runtime/runtime.h"

namespace switchyard {

using PlanRuntimeFactory = absl::AnyInvocable<StatusOr<std::unique_ptr<Runtime>>(const ServerSettings& settings)>;

// `argv` as main has it: the program, `plan`, then the flags of a server with one model (--model_name may be left out) and
// --json and --html FILE. The table, or the object of GET /v1/models/{m}/placement, goes to stdout; progress, warnings and
// errors to stderr; --html writes the model's graph as a page besides. Returns the exit code: 0; 1 when a server could not
// serve the model, with its reason, or the page cannot be written; 64 when the command line is at fault.
int RunPlan(int argc, const char* const* argv, PlanRuntimeFactory make_runtime);

}  // namespace switchyard
