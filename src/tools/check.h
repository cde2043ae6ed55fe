// `switchyard check`: everything that a start would find wrong with a config.json, without starting.
#pragma once

#include <absl/functional/any_invocable.h>

#include <memory>

#include "base/status.h"
#include "config/settings.h"
#include "runtime/runtime.h"
#include "serving/lane_maker.h"

namespace switchyard {

using CheckRuntimeFactory = absl::AnyInvocable<StatusOr<std::unique_ptr<Runtime>>(const ServerSettings& settings)>;

// `argv` as main has it: the program, `check`, the file, and --strict, --json, --cpu_extension FILE, --device_plugin NAME=PATH.
// The list of faults goes to stdout, warnings to stderr. Returns the exit code: 0; 1 when there are faults; 64 when the command
// line is at fault.
int RunCheck(int argc, const char* const* argv, CheckRuntimeFactory make_runtime, ReadRecorded read_recorded);

}  // namespace switchyard
