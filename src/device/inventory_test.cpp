#include "device/inventory.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

using Type = DeviceInfo::Type;

TEST(RecommendDevice, DiscreteGpuWithMostFreeMemoryThenIntegratedThenCpu) {
  const DeviceInfo cpu{"CPU", "", Type::kCpu};
  const DeviceInfo npu{"NPU", "", Type::kNpu};
  const DeviceInfo integrated{"GPU.0", "", Type::kIntegratedGpu, 100, 0};
  const DeviceInfo full{"GPU.1", "", Type::kDiscreteGpu, 100, 90};
  const DeviceInfo roomy{"GPU.2", "", Type::kDiscreteGpu, 50, 10};
  EXPECT_EQ(RecommendDevice({cpu, npu}), "CPU");
  EXPECT_EQ(RecommendDevice({cpu, npu, integrated}), "GPU.0");
  EXPECT_EQ(RecommendDevice({cpu, integrated, full, roomy}), "GPU.2");
  EXPECT_EQ(RecommendDevice({}), "CPU");
}

}  // namespace
}  // namespace switchyard
