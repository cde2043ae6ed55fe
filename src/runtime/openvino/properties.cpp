#include "runtime/openvino/properties.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <openvino/runtime/properties.hpp>
#include <vector>

#include "base/log.h"
#include "device/cpu_facts.h"
#include "device/property_rules.h"
#include "device/target.h"
#include "runtime/openvino/convert.h"

namespace switchyard {
namespace {

// Why `device` is not there, in the plugin's words; empty when it has none.
std::string WhyMissing(ov::Core& core, const std::string& device) {
  try {
    core.get_property(device, ov::supported_properties);
    return "";
  } catch (const std::exception& exception) {
    return ReadableMessage(exception.what());
  }
}

// Whether the canonical name `device` is among the available ones. Asks its plugin alone.
bool IsThere(ov::Core& core, const std::string& device) {
  const std::vector<std::string> available = DevicesOfKind(core, device.substr(0, device.find('.')));
  return std::any_of(available.begin(), available.end(), [&](const std::string& name) {
    // "GPU.0.1" is a tile of "GPU.0", which the plugin judges.
    const std::string there = CanonicalDevice(name);
    return there == device || device.starts_with(there + ".");
  });
}

// Those of `properties` that `told` has, or that are OpenVINO's own.
ov::AnyMap Known(const PropertyMap& properties, const std::map<std::string, bool>& told) {
  ov::AnyMap result;
  for (const auto& [key, value] : properties) {
    if (key == kDeviceProperties || std::holds_alternative<PropertyMap>(value.value)) continue;
    if (told.contains(key) || IsCoreProperty(key)) result[key] = CanonicalText(key, value);
  }
  return result;
}

constexpr char kInferenceThreads[] = "INFERENCE_NUM_THREADS";

// For the CPU, where no number of threads is given.
void LimitThreads(const std::string& device, PropertyMap& properties) {
  if (CanonicalDevice(device) != "CPU") return;
  if (const auto threads = ThreadsForQuota(OwnCpuFacts())) {
    properties.try_emplace(kInferenceThreads, PropertyValue{int64_t{*threads}});
  }
}

}  // namespace

std::map<std::string, bool> ToldProperties(ov::Core& core, const std::string& device) {
  std::map<std::string, bool> told;
  try {
    for (const ov::PropertyName& name : core.get_property(device, ov::supported_properties)) {
      told[name] = name.is_mutable();
    }
  } catch (const std::exception& exception) {
    LogDebug("Device {} does not tell its properties: {}", device, ReadableMessage(exception.what()));
  }
  return told;
}

std::vector<std::string> DevicesOfKind(ov::Core& core, const std::string& kind) {
  std::vector<std::string> names;
  try {
    const std::vector<std::string> ids = core.get_property(kind, ov::available_devices);
    for (const std::string& id : ids) names.push_back(ids.size() == 1 ? kind : kind + "." + id);
  } catch (const std::exception& exception) {
    LogDebug("{} does not tell its devices: {}", kind, ReadableMessage(exception.what()));
  }
  return names;
}

Status CheckTarget(ov::Core& core, const std::string& target) {
  return Guarded(StatusCode::kInternal, "Cannot list the devices", [&]() -> Status {
    for (const std::string& device : DevicesOf(target)) {
      if (IsThere(core, CanonicalDevice(device))) continue;
      const std::string why = WhyMissing(core, device);
      const std::vector<std::string> others = DevicesOfKind(core, device.substr(0, device.find('.')));
      return Error(StatusCode::kNotFound, "target_device {}: there is no device {}{}{}", target, device,
                   why.empty() ? "" : " (" + why + ")",
                   others.empty() ? "" : fmt::format("; available: {}", fmt::join(others, ", ")));
    }
    return absl::OkStatus();
  });
}

ov::AnyMap MakeProperties(ov::Core& core, const std::string& target, const PropertyMap& plugin_config) {
  const std::vector<std::string> devices = DevicesOf(target);
  const size_t colon = target.find(':');
  std::map<std::string, bool> told;
  if (colon != std::string::npos) told = ToldProperties(core, target.substr(0, colon));
  for (const std::string& device : devices) told.merge(ToldProperties(core, device));

  PropertyMap flat = plugin_config;
  flat.erase(kDeviceProperties);
  flat.erase("MULTI_DEVICE_PRIORITIES");  // the target has the list
  const bool one = devices.size() == 1;
  if (one) {
    for (const auto& [key, value] : OwnProperties(plugin_config, CanonicalDevice(devices.front()))) {
      flat.insert_or_assign(key, value);
    }
  }
  SettleHint(flat);
  const bool limited = flat.contains(kInferenceThreads);
  if (one && !limited) LimitThreads(devices.front(), flat);
  // Compiling leaves half of the processor to those who serve, where the plugin would take all of it.
  const auto threads = told.find(ov::compilation_num_threads.name());
  if (colon == std::string::npos && threads != told.end() && threads->second) {
    flat.try_emplace(threads->first, PropertyValue{int64_t{std::max(1u, UsableProcessors() / 2)}});
  }
  ov::AnyMap properties = Known(flat, told);
  if (one) return properties;
  ov::AnyMap by_device;
  for (const std::string& device : devices) {
    PropertyMap own = OwnProperties(plugin_config, CanonicalDevice(device));
    if (!limited) LimitThreads(device, own);
    if (own.empty()) continue;
    if (flat.contains("NUM_STREAMS")) own.erase("PERFORMANCE_HINT");
    // A hint for all stays one for all: only what stands here is settled here.
    if (own.contains("NUM_STREAMS") || own.contains("PERFORMANCE_HINT")) SettleHint(own);
    by_device[device] = Known(own, ToldProperties(core, device));
  }
  if (!by_device.empty()) properties[kDeviceProperties] = std::move(by_device);
  return properties;
}

}  // namespace switchyard
