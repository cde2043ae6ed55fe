// OpenVINO's C API, found at run time beside the libopenvino.so that the host has loaded: the simulated device computes with
// the host's own CPU plugin, and is built without OpenVINO.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace npusim {

struct OvShape {
  int64_t rank;
  int64_t* dimensions;
};

struct OpenVino {
  using Status = int32_t;  // 0 is success

  Status (*create_core)(void** core) = nullptr;
  Status (*read_model)(const void* core, const char* xml, size_t size, const void* weights, void** model) = nullptr;
  Status (*compile)(const void* core, const void* model, const char* device, size_t arguments, void** compiled, ...) = nullptr;
  Status (*create_request)(const void* compiled, void** request) = nullptr;
  Status (*create_tensor)(uint32_t element_type, OvShape shape, void* memory, void** tensor) = nullptr;
  Status (*set_input)(void* request, size_t index, const void* tensor) = nullptr;
  Status (*set_output)(void* request, size_t index, const void* tensor) = nullptr;
  Status (*infer)(void* request) = nullptr;
  void (*free_tensor)(void* tensor) = nullptr;
  void (*free_request)(void* request) = nullptr;
  void (*free_compiled)(void* compiled) = nullptr;
  void (*free_model)(void* model) = nullptr;
  const char* (*last_error)() = nullptr;

  void* core = nullptr;
  std::string error;  // why nothing can be computed; empty when it can

  // Found and opened at the first call, and never let go. Any thread.
  static OpenVino& Get();
  // "npusim: WHAT: the API's last error".
  std::string Why(const char* what) const;
};

}  // namespace npusim
