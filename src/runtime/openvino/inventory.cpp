#include "runtime/openvino/inventory.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <openvino/runtime/intel_gpu/properties.hpp>
#include <openvino/runtime/intel_npu/properties.hpp>
#include <openvino/runtime/properties.hpp>
#include <utility>

#include "base/log.h"
#include "device/target.h"
#include "runtime/openvino/convert.h"
#include "runtime/openvino/properties.h"

namespace switchyard {
namespace {

// What a device tells of a property; nothing when it does not know it. One that is refused leaves the others be.
template <typename Property>
std::optional<typename Property::value_type> Ask(ov::Core& core, const std::string& device, const Property& property) {
  std::optional<typename Property::value_type> value;
  const Status asked = Guarded(StatusCode::kInternal, fmt::format("{}: {}", device, property.name()), [&]() -> Status {
    value = core.get_property(device, property);
    return absl::OkStatus();
  });
  if (!asked.ok()) LogDebug("{}", Message(asked));
  return value;
}

DeviceInfo::Type TypeOf(ov::Core& core, const std::string& device) {
  const std::string kind = device.substr(0, device.find('.'));
  if (kind == "CPU") return DeviceInfo::Type::kCpu;
  if (kind == "NPU") return DeviceInfo::Type::kNpu;
  if (kind != "GPU") return DeviceInfo::Type::kOther;
  return Ask(core, device, ov::device::type) == ov::device::Type::DISCRETE ? DeviceInfo::Type::kDiscreteGpu
                                                                           : DeviceInfo::Type::kIntegratedGpu;
}

DeviceInfo DescribeDevice(ov::Core& core, const std::string& name) {
  DeviceInfo device{.name = CanonicalDevice(name)};
  device.full_name = Ask(core, name, ov::device::full_name).value_or("");
  device.type = TypeOf(core, name);
  device.architecture = Ask(core, name, ov::device::architecture).value_or("");
  device.capabilities = Ask(core, name, ov::device::capabilities).value_or(std::vector<std::string>());
  switch (device.type) {
    case DeviceInfo::Type::kIntegratedGpu:
    case DeviceInfo::Type::kDiscreteGpu: {
      device.memory_total_bytes = Ask(core, name, ov::intel_gpu::device_total_mem_size).value_or(0);
      const auto used = Ask(core, name, ov::intel_gpu::memory_statistics).value_or(std::map<std::string, uint64_t>());
      for (const auto& [kind, bytes] : used) {
        // An integrated GPU's memory is the host's.
        if (kind == "usm_device" || device.type == DeviceInfo::Type::kIntegratedGpu) device.memory_used_bytes += bytes;
      }
      break;
    }
    case DeviceInfo::Type::kNpu:
      device.memory_total_bytes = Ask(core, name, ov::intel_npu::device_total_mem_size).value_or(0);
      device.memory_used_bytes = Ask(core, name, ov::intel_npu::device_alloc_mem_size).value_or(0);
      if (const auto driver = Ask(core, name, ov::intel_npu::driver_version)) device.driver = std::to_string(*driver);
      break;
    default:
      break;
  }
  return device;
}

}  // namespace

Inventory ReadInventory(ov::Core& core) {
  Inventory inventory;
  const Status listed = Guarded(StatusCode::kInternal, "Cannot list the devices", [&]() -> Status {
    for (const std::string& name : core.get_available_devices()) inventory.push_back(DescribeDevice(core, name));
    return absl::OkStatus();
  });
  if (!listed.ok()) LogWarning("{}", Message(listed));
  return inventory;
}

Inventory ReadInventory(ov::Core& core, const std::string& kind) {
  Inventory inventory;
  for (const std::string& name : DevicesOfKind(core, kind)) inventory.push_back(DescribeDevice(core, name));
  return inventory;
}

}  // namespace switchyard
