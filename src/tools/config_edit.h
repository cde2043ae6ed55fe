// --list_models, --add_to_config and --remove_from_config: models on the disk, and entries of a config.json, without a server.
#pragma once

#include <absl/functional/any_invocable.h>

#include <memory>

#include "base/status.h"
#include "config/settings.h"
#include "runtime/runtime.h"
#include "serving/lane_maker.h"

namespace switchyard {

// Whether the command line asks for one of these.
bool IsConfigEdit(int argc, const char* const* argv);

using ConfigEditRuntimeFactory = absl::AnyInvocable<StatusOr<std::unique_ptr<Runtime>>(const ServerSettings& settings)>;

// Does it. A changed file is written beside and renamed, with the mode it had; what a server would refuse is not written, and
// another edit of the same folder's file is waited for. Returns the exit code: 0; 1 when it cannot be done, with the reason; 64
// when the command line is at fault.
int RunConfigEdit(int argc, const char* const* argv, ConfigEditRuntimeFactory make_runtime, ReadRecorded read_recorded);

}  // namespace switchyard
