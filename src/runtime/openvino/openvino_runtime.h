// The Runtime that runs models: OpenVINO, in this process.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "runtime/runtime.h"

namespace switchyard {

struct OpenVinoOptions {
  std::string cpu_extension;  // shared library with operations of the user's own; empty: none
  // Device plugins that OpenVINO does not ship: the device's name, and the path of its library.
  std::vector<std::pair<std::string, std::string>> device_plugins;
  // The library of OpenVINO's tokenizers. Empty: the one that OV_TOKENIZER_PREBUILD_EXTENSION_PATH names, else the one beside
  // OpenVINO's own libraries, if it is there; one that cannot be loaded is a warning then.
  std::string tokenizers_extension = {};
  // What is started as a child for work that may crash or hang: the path of a program that calls RunAsChild
  // (runtime/openvino/child_main.h); empty: this program itself.
  std::string child_program = {};
  std::chrono::milliseconds probe_limit{30000};  // for a child that tries a property's value

  static OpenVinoOptions From(const ServerSettings& settings) {
    return {.cpu_extension = settings.cpu_extension,
            .device_plugins = settings.device_plugins,
            .tokenizers_extension = settings.tokenizers_extension};
  }
};

// One ov::Core for each generation of a device. The runtime is thread-safe; what it loads keeps the core alive by itself.
// NotFound when a library of `options` is not there, InvalidArgument when it cannot be loaded or is not of its kind, Internal
// when OpenVINO itself cannot start.
StatusOr<std::unique_ptr<Runtime>> MakeOpenVinoRuntime(const OpenVinoOptions& options);

// The version of the runtime library: "2026.4.1-...". Needs no device.
std::string OpenVinoVersion();

}  // namespace switchyard
