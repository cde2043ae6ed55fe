// The devices that the runtime finds, and which one is taken when the user names none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

struct DeviceInfo {
  enum class Type { kCpu, kIntegratedGpu, kDiscreteGpu, kNpu, kOther };
  std::string name;  // "CPU", "GPU.0", "NPU": one naming everywhere (CanonicalDevice in device/target.h)
  std::string full_name;
  Type type = Type::kOther;
  uint64_t memory_total_bytes = 0;        // 0: not told
  uint64_t memory_used_bytes = 0;         // by this process
  std::string architecture;               // as the plugin tells it; may be empty
  std::string driver;                     // its version; empty: not told
  std::vector<std::string> capabilities;  // "FP32", "FP16", "INT8", "EXPORT_IMPORT", ... as the plugin tells them
};

// For people and JSON: "CPU", "integrated GPU", "discrete GPU", "NPU", "other".
std::string_view Name(DeviceInfo::Type type);

using Inventory = std::vector<DeviceInfo>;

// A kind of device ("GPU") whose driver crashed or hung when it was asked what is there.
struct BrokenDevice {
  std::string name;
  std::string reason;  // a clause without a full stop
};

struct DeviceList {
  Inventory found;
  std::vector<BrokenDevice> broken;
};

// The entry of that canonical name; null when it is not there. "GPU" and "GPU.0" are the same,
// and "NPU.4000" is the NPU if that is its architecture, or if it does not tell it.
const DeviceInfo* Find(const Inventory& inventory, std::string_view device);

// Whether one of the devices, broken ones included, is of that plugin: "GPU" for "GPU" and "GPU.1".
bool HasKind(const DeviceList& devices, std::string_view kind);

// OVMS's rule for an empty target_device: the discrete GPU with the most free memory, else the first integrated GPU, else CPU.
// An NPU is never taken unasked.
std::string RecommendDevice(const Inventory& inventory);

}  // namespace switchyard
