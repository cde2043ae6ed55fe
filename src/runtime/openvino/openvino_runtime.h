// The Runtime that runs models: OpenVINO, in this process.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "runtime/runtime.h"

namespace switchyard {

struct OpenVinoOptions {
  std::string cpu_extension;  // shared library with operations of the user's own; empty: none
  // Device plugins that OpenVINO does not ship: the device's name, and the path of its library.
  std::vector<std::pair<std::string, std::string>> device_plugins;
};

// One ov::Core for each generation of a device. The runtime is thread-safe; what it loads keeps the core alive by itself.
// NotFound when the extension or a plugin is not there, InvalidArgument when it cannot be loaded, Internal when OpenVINO itself
// cannot start.
StatusOr<std::unique_ptr<Runtime>> MakeOpenVinoRuntime(const OpenVinoOptions& options);

// The version of the runtime library: "2026.4.1-...". Needs no device.
std::string OpenVinoVersion();

}  // namespace switchyard
