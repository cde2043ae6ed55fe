// The devices that are there, asked for in a child process.
#pragma once

#include <chrono>
#include <openvino/runtime/core.hpp>

#include "device/inventory.h"
#include "runtime/openvino/openvino_runtime.h"

namespace switchyard {

// A driver that is loaded stays, with tens of megabytes, and one that crashes takes its process along: neither is for a server
// whose models may never ask for that device. One child asks for all; if it ends, or has not answered within `limit`, one for
// each kind finds who is to blame. `core` is asked only where no child can be started. Blocks; never throws.
DeviceList ListDevices(const OpenVinoOptions& options, ov::Core& core, std::chrono::milliseconds limit);

}  // namespace switchyard
