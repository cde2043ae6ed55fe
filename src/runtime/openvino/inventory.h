// The devices that OpenVINO finds.
#pragma once

#include <openvino/runtime/core.hpp>
#include <string>

#include "device/inventory.h"

namespace switchyard {

// Asks each plugin for its devices, and each device for what it tells of itself; what it does not tell stays empty. Names are
// canonical. Loads the plugins and opens their drivers: blocks for as long as a broken one takes. Never throws.
Inventory ReadInventory(ov::Core& core);

// The same of the devices of one plugin alone ("GPU"); no other is loaded.
Inventory ReadInventory(ov::Core& core, const std::string& kind);

}  // namespace switchyard
