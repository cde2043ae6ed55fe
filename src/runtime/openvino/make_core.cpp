#include "runtime/openvino/make_core.h"

#include <dlfcn.h>

#include <filesystem>
#include <openvino/core/version.hpp>

#include "base/environment.h"
#include "base/log.h"
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

// Where the tokenizers are, when nobody names them; empty: they are not there.
std::string FindTokenizers() {
  if (std::string named = EnvironmentValue("OV_TOKENIZER_PREBUILD_EXTENSION_PATH"); !named.empty()) return named;
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&ov::get_openvino_version), &info) == 0) return "";
  const auto beside = std::filesystem::path(info.dli_fname).parent_path() / "libopenvino_tokenizers.so";
  std::error_code error;
  return std::filesystem::exists(beside, error) ? beside.string() : "";
}

Status AddExtension(ov::Core& core, const std::string& library, std::string_view what) {
  return Guarded(StatusCode::kInvalidArgument, fmt::format("Cannot load {} {}", what, library), [&]() -> Status {
    core.add_extension(library);
    return absl::OkStatus();
  });
}

// Models with operations of texts cannot be read without; all others can, so that only a library that was asked for must load.
Status AddTokenizers(ov::Core& core, const OpenVinoOptions& options) {
  if (!options.tokenizers_extension.empty()) {
    return AddExtension(core, options.tokenizers_extension, "tokenizers_extension");
  }
  const std::string library = FindTokenizers();
  if (library.empty()) return absl::OkStatus();
  const Status status = AddExtension(core, library, "OpenVINO's tokenizers");
  if (status.ok()) {
    LogDebug("OpenVINO's tokenizers: {}", library);
  } else {
    LogWarning("{}; models that take or give texts by them will not load. Expected: the library of OpenVINO {}",
               Message(status), ov::get_openvino_version().buildNumber);
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
    // Weights are read, not mapped: files may be overwritten or cut while the model made of them serves.
    core->set_property(ov::enable_mmap(false));
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
  if (!options.cpu_extension.empty()) SY_RETURN_IF_ERROR(AddExtension(*core, options.cpu_extension, "cpu_extension"));
  SY_RETURN_IF_ERROR(AddTokenizers(*core, options));
  return core;
}

}  // namespace switchyard
