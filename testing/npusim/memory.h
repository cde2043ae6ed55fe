// Memory of the simulated device, which is the host's.
#pragma once

#include <cstdint>

namespace npusim {

constexpr uint64_t kTotalMemory = 2ull << 30;

uint64_t AllocatedBytes();

}  // namespace npusim
