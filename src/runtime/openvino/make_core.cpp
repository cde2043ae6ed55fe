#include "runtime/openvino/make_core.h"

#include <dlfcn.h>

#include <filesystem>

#include "runtime/openvino/convert.h"

namespace switchyard {
namespace {

// OpenVINO takes any name, and says nothing of a library that it cannot use: its devices are only never there.
Status CheckPlugin(const std::string& name, const std::string& library) {
  std::error_code error;
  const bool is_path = library.find('/') != std::string::npos;
  if (is_path && !std::filesystem::exists(library, error)) {
    return Error(StatusCode::kNotFound, "--device_plugin {}={}: the file is not there; expected the path of a device plugin",
                 name, library);
  }
  if (!is_path) return absl::OkStatus();
  void* handle = dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = dlerror();
    return InvalidArgument("--device_plugin {}={}: this library cannot be loaded ({}); expected a device plugin of OpenVINO",
                           name, library, why == nullptr ? "no reason given" : why);
  }
  // It stays open: OpenVINO opens it again when a model asks for the device.
  if (dlsym(handle, "create_plugin_engine") == nullptr) {
    return InvalidArgument(
        "--device_plugin {}={}: this library is no device plugin of OpenVINO: it has no create_plugin_engine", name, library);
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::shared_ptr<ov::Core>> MakeCore(const OpenVinoOptions& options) {
  std::error_code error;
  if (!options.cpu_extension.empty() && !std::filesystem::exists(options.cpu_extension, error)) {
    return Error(StatusCode::kNotFound, "cpu_extension {} is not there; expected a shared library", options.cpu_extension);
  }
  std::shared_ptr<ov::Core> core;
  SY_RETURN_IF_ERROR(Guarded(StatusCode::kInternal, "OpenVINO does not start", [&]() -> Status {
    core = std::make_shared<ov::Core>();
    return absl::OkStatus();
  }));
  for (const auto& [name, library] : options.device_plugins) {
    SY_RETURN_IF_ERROR(CheckPlugin(name, library));
    SY_RETURN_IF_ERROR(
        Guarded(StatusCode::kInvalidArgument, fmt::format("--device_plugin {}={}", name, library), [&]() -> Status {
          core->register_plugin(library, name);
          return absl::OkStatus();
        }));
  }
  if (!options.cpu_extension.empty()) {
    SY_RETURN_IF_ERROR(Guarded(StatusCode::kInvalidArgument, fmt::format("Cannot load cpu_extension {}", options.cpu_extension),
                               [&]() -> Status {
                                 core->add_extension(options.cpu_extension);
                                 return absl::OkStatus();
                               }));
  }
  return core;
}

}  // namespace switchyard
