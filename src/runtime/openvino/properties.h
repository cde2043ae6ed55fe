// plugin_config and target_device to what OpenVINO takes.
#pragma once

#include <openvino/core/any.hpp>
#include <openvino/runtime/core.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

// "HETERO:GPU.1,CPU(4)": the part before the colon, and the names behind it without their numbers in brackets. A name alone has
// no `devices`. AUTO's exclusions ("AUTO:-GPU") are left out.
struct TargetParts {
  std::string name;
  std::vector<std::string> devices;
  // AUTO, MULTI, HETERO, BATCH: a device made of others.
  bool is_virtual() const;
  // Those that do the work: `devices`, or the name itself.
  std::vector<std::string> Workers() const;
};
TargetParts ParseTarget(std::string_view target);

// NotFound when a device of `target` is not there, with the devices that are and what the plugin says. AUTO and MULTI may name
// devices that are missing, as long as one is there.
Status CheckTarget(ov::Core& core, const std::string& target);

// The properties for compiling on `target`: keys checked against what the target and its devices know (InvalidArgument names
// the key, the device and the nearest key), values in the form that every plugin reads, OVMS's old names translated, LATENCY by
// default.
StatusOr<ov::AnyMap> MakeProperties(ov::Core& core, const std::string& target, const PropertyMap& plugin_config);

// After a failed compilation: the entry of `properties` that is at fault, found by compiling a model of one operation with
// each alone; OK when none is.
Status FindFaultyProperty(ov::Core& core, const std::string& target, const ov::AnyMap& properties);

}  // namespace switchyard
