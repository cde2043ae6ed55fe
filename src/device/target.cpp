#include "device/target.h"

namespace switchyard {

std::string CanonicalDevice(std::string_view device) {
  if (device.size() > 2 && device.front() == '(' && device.back() == ')') device = device.substr(1, device.size() - 2);
  const std::string_view kind = device.substr(0, device.find('.'));
  if (kind == "CPU" || kind == "NPU") return std::string(kind);
  if (device == "GPU") return "GPU.0";
  return std::string(device);
}

}  // namespace switchyard
