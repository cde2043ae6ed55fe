// The ledger as JSON: what each device is doing, and what of a model is placed where. api/openapi.yaml has both shapes.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/timer.h"
#include "serving/device_monitor.h"
#include "serving/manager.h"
#include "serving/placement_report.h"

namespace switchyard {

// {"devices":[...]}. `now` and `wall` are the same moment on the monitor's clock and on the wall's: `since` is told in UTC.
// What is not told (no memory, no reason) is null.
std::string EncodeDevices(const std::vector<DeviceReport>& devices, TimePoint now, std::chrono::system_clock::time_point wall);

// One flat object. The figures at its top are those of what serves: with several at once the sums of requests and memory, the
// layers of all of them, and the first's for the rest; null when nothing serves. In `by_device` a target stands under its first
// device; where several begin with the same one, each stands under its own name.
std::string EncodePlacement(const PlacementReport& placement);

// What `manager` tells of its devices, with the memory that this process uses filled in: the process's own on the CPU, the sum
// of what its models take on the others.
std::vector<DeviceReport> ReadDevices(const Manager& manager);

}  // namespace switchyard
