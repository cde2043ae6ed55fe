// The NPU's extensions to Level Zero: above all the one that compiles and executes graphs.
#pragma once

#include <cstdint>
#include <vector>

namespace npusim {

struct Extension {
  const char* name;
  uint32_t version;
  void** table;  // its functions, in the order that the interface fixes; null where it has none of its own
};

std::vector<Extension> Extensions();

}  // namespace npusim
