#include "device/inventory.h"

namespace switchyard {

std::string RecommendDevice(const Inventory& inventory) {
  const DeviceInfo* discrete = nullptr;
  const DeviceInfo* integrated = nullptr;
  const auto free = [](const DeviceInfo& device) {
    return device.memory_total_bytes > device.memory_used_bytes ? device.memory_total_bytes - device.memory_used_bytes : 0;
  };
  for (const DeviceInfo& device : inventory) {
    if (device.type == DeviceInfo::Type::kDiscreteGpu && (discrete == nullptr || free(device) > free(*discrete)))
      discrete = &device;
    if (device.type == DeviceInfo::Type::kIntegratedGpu && integrated == nullptr) integrated = &device;
  }
  if (discrete != nullptr) return discrete->name;
  if (integrated != nullptr) return integrated->name;
  return "CPU";
}

}  // namespace switchyard
