#include "device/inventory.h"

#include <algorithm>

#include "device/target.h"

namespace switchyard {

std::string_view Name(DeviceInfo::Type type) {
  switch (type) {
    case DeviceInfo::Type::kCpu:
      return "CPU";
    case DeviceInfo::Type::kIntegratedGpu:
      return "integrated GPU";
    case DeviceInfo::Type::kDiscreteGpu:
      return "discrete GPU";
    case DeviceInfo::Type::kNpu:
      return "NPU";
    case DeviceInfo::Type::kOther:
      break;
  }
  return "other";
}

const DeviceInfo* Find(const Inventory& inventory, std::string_view device) {
  const std::string name = CanonicalDevice(device);
  const auto found =
      std::find_if(inventory.begin(), inventory.end(), [&](const DeviceInfo& info) { return info.name == name; });
  // "NPU.3720" is the NPU of that architecture alone.
  constexpr std::string_view kNpu = "NPU.";
  const std::string_view id = device.starts_with(kNpu) ? device.substr(kNpu.size()) : std::string_view();
  if (name == "NPU" && id.size() > 1 && found != inventory.end() && !found->architecture.empty() && found->architecture != id) {
    return nullptr;
  }
  return found == inventory.end() ? nullptr : &*found;
}

bool HasKind(const DeviceList& devices, std::string_view kind) {
  const auto is_of_kind = [kind](const auto& device) {
    return device.name.starts_with(kind) && (device.name.size() == kind.size() || device.name[kind.size()] == '.');
  };
  return std::any_of(devices.found.begin(), devices.found.end(), is_of_kind) ||
         std::any_of(devices.broken.begin(), devices.broken.end(), is_of_kind);
}

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
