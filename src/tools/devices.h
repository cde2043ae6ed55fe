// `switchyard devices`: what devices are there, and why the others are not.
#pragma once

#include <absl/functional/any_invocable.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "runtime/runtime.h"

namespace switchyard {

using DevicePlugins = std::vector<std::pair<std::string, std::string>>;  // names and paths, of --device_plugin
using RuntimeFactory = absl::AnyInvocable<StatusOr<std::unique_ptr<Runtime>>(const DevicePlugins& plugins)>;

// `argv` as main has it: the program, `devices`, then the flags. The table, or JSON, goes to stdout; errors to stderr. Returns
// the exit code: 0; 1 when a plugin of --device_plugin or the runtime does not load; 64 when the command line is at fault. A
// driver that has not answered in time (20 s; --timeout_ms) is told in the report; the process is left by _exit then, since the
// thread that waits for it cannot be ended.
int RunDevices(int argc, const char* const* argv, RuntimeFactory make_runtime);

}  // namespace switchyard
