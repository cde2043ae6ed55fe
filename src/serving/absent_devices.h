// The kinds of accelerators that the runtime does not find, with the doctor's word on each.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "device/inventory.h"
#include "serving/device_monitor.h"

namespace switchyard {

// Those that are broken, and "GPU", "NPU" of which none is found. Reads this machine's files.
std::vector<AbsentDevice> FindAbsentDevices(const DeviceList& devices);

// What is said of the devices that `target` names, in brackets, to be put behind an error message.
std::string ExplainAbsent(const std::vector<AbsentDevice>& absent, std::string_view target);

}  // namespace switchyard
