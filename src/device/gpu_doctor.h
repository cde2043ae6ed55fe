// The GPU's half of WhyAbsent (doctor.h), which has the contract.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "device/doctor.h"
#include "device/host_facts.h"

namespace switchyard {

std::optional<Absence> WhyNoGpu(const SystemView& view);
// Render nodes of Intel GPUs, and of those whose maker is not told.
std::vector<DeviceNode> IntelRenderNodes(const SystemView& view);
// The version of Intel's OpenCL driver, by the package or the library that is installed: OpenVINO does not tell it. Empty when
// neither says so.
std::string GpuDriverVersion(const SystemView& view);

}  // namespace switchyard
