// target and plugin_config to what OpenVINO takes.
#pragma once

#include <map>
#include <openvino/core/any.hpp>
#include <openvino/runtime/core.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

// The key of plugin_config whose value has properties for each device by itself.
inline const std::string kDeviceProperties = "DEVICE_PROPERTIES";

// The properties that a device's plugin tells, and whether each can be set; empty when it tells none. "HETERO" and the like
// too.
std::map<std::string, bool> ToldProperties(ov::Core& core, const std::string& device);

// The devices of one plugin ("GPU") by OpenVINO's names: "GPU.0", "GPU.1", but "GPU" alone where there is one. Loads no other
// plugin; never throws.
std::vector<std::string> DevicesOfKind(ov::Core& core, const std::string& kind);

// NotFound when a device of the canonical `target` is not there, with what its plugin says and the others that it has.
Status CheckTarget(ov::Core& core, const std::string& target);

// The properties for compiling on the canonical `target`: keys that none of its devices knows are left out, a device's own ones
// (DEVICE_PROPERTIES) go before those for all, values are text, which every plugin reads. LATENCY when neither a hint nor
// streams are given; half of the processor's threads for compiling, where the plugin takes that; for the CPU no more inference
// threads than the control groups' quota has time for, unless their number is given. DEVICE_PROPERTIES stay for HETERO alone;
// elsewhere there is one device to take them. Throws what OpenVINO throws.
ov::AnyMap MakeProperties(ov::Core& core, const std::string& target, const PropertyMap& plugin_config);

}  // namespace switchyard
