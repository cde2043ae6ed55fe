// The devices that the runtime finds, and which one is taken when the user names none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

struct DeviceInfo {
  enum class Type { kCpu, kIntegratedGpu, kDiscreteGpu, kNpu, kOther };
  std::string name;  // "CPU", "GPU.0", "NPU": one naming everywhere
  std::string full_name;
  Type type = Type::kOther;
  uint64_t memory_total_bytes = 0;  // 0: not told
  uint64_t memory_used_bytes = 0;   // by this process
};

using Inventory = std::vector<DeviceInfo>;

// OVMS's rule for an empty target_device: the discrete GPU with the most free memory, else the first integrated GPU, else CPU.
// An NPU is never taken unasked.
std::string RecommendDevice(const Inventory& inventory);

}  // namespace switchyard
