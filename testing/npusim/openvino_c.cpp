#include "testing/npusim/openvino_c.h"

#include <dlfcn.h>

#include <fstream>

#include "testing/npusim/settings.h"

namespace npusim {
namespace {

// ".../libopenvino.so.2641" in this process's maps gives ".../libopenvino_c.so.2641".
std::string FindLibrary() {
  std::string path = Setting("NPUSIM_OPENVINO_C", "");
  if (!path.empty()) return path;
  constexpr char kName[] = "/libopenvino.so";
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    size_t begin = line.find('/'), name = line.rfind(kName);
    if (begin == line.npos || name == line.npos) continue;
    return line.substr(begin, name - begin) + "/libopenvino_c.so" + line.substr(name + sizeof kName - 1);
  }
  return "";
}

template <class F>
void Load(void* library, const char* name, F* function, std::string* error) {
  *function = reinterpret_cast<F>(dlsym(library, name));
  if (!*function) *error = std::string("npusim: OpenVINO's C library lacks ") + name;
}

OpenVino* Open() {
  auto* api = new OpenVino;
  std::string path = FindLibrary();
  void* library = path.empty() ? nullptr : dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    api->error = "npusim: OpenVINO's C library was not found (\"" + path + "\"); NPUSIM_OPENVINO_C can name it";
    return api;
  }
  Load(library, "ov_core_create", &api->create_core, &api->error);
  Load(library, "ov_core_read_model_from_memory_buffer", &api->read_model, &api->error);
  Load(library, "ov_core_compile_model", &api->compile, &api->error);
  Load(library, "ov_compiled_model_create_infer_request", &api->create_request, &api->error);
  Load(library, "ov_tensor_create_from_host_ptr", &api->create_tensor, &api->error);
  Load(library, "ov_infer_request_set_input_tensor_by_index", &api->set_input, &api->error);
  Load(library, "ov_infer_request_set_output_tensor_by_index", &api->set_output, &api->error);
  Load(library, "ov_infer_request_infer", &api->infer, &api->error);
  Load(library, "ov_tensor_free", &api->free_tensor, &api->error);
  Load(library, "ov_infer_request_free", &api->free_request, &api->error);
  Load(library, "ov_compiled_model_free", &api->free_compiled, &api->error);
  Load(library, "ov_model_free", &api->free_model, &api->error);
  Load(library, "ov_get_last_err_msg", &api->last_error, &api->error);
  if (api->error.empty() && api->create_core(&api->core) != 0) api->error = api->Why("ov_core_create");
  return api;
}

}  // namespace

OpenVino& OpenVino::Get() {
  static OpenVino* api = Open();  // outlives the static destructors of the host
  return *api;
}

std::string OpenVino::Why(const char* what) const {
  const char* message = last_error ? last_error() : nullptr;
  return std::string("npusim: ") + what + ": " + (message ? message : "no message");
}

}  // namespace npusim
