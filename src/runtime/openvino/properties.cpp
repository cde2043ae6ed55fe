#include "runtime/openvino/properties.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <openvino/runtime/properties.hpp>
#include <set>
#include <type_traits>

#include "base/log.h"
#include "runtime/openvino/canary.h"
#include "runtime/openvino/convert.h"

namespace switchyard {
namespace {

constexpr std::string_view kDeviceProperties = "DEVICE_PROPERTIES";
constexpr std::array<std::string_view, 4> kVirtual = {"AUTO", "MULTI", "HETERO", "BATCH"};
// Taken when compiling, though no device lists them all.
constexpr std::array<std::string_view, 8> kAlwaysKnown = {"ENABLE_MMAP",        "CACHE_DIR",         "CACHE_MODE",
                                                          "AUTO_BATCH_TIMEOUT", "DEVICE_PROPERTIES", "MULTI_DEVICE_PRIORITIES",
                                                          "NUM_STREAMS",        "PERFORMANCE_HINT"};

bool IsThere(const std::vector<std::string>& available, const std::string& device) {
  return std::any_of(available.begin(), available.end(), [&](const std::string& name) {
    // "GPU" stands for "GPU.0"; "NPU.4000" is a name for "NPU" that the plugin judges.
    return name == device || name.starts_with(device + ".") || device.starts_with(name + ".");
  });
}

// Why `device` is not there, in the plugin's words; empty when it has none.
std::string WhyMissing(ov::Core& core, const std::string& device) {
  try {
    core.get_property(device, ov::supported_properties);
    return "";
  } catch (const std::exception& exception) {
    return ReadableMessage(exception.what());
  }
}

std::set<std::string> KnownKeys(ov::Core& core, const TargetParts& target) {
  std::set<std::string> keys(kAlwaysKnown.begin(), kAlwaysKnown.end());
  std::vector<std::string> devices = target.Workers();
  if (target.is_virtual() && target.devices.empty()) devices = core.get_available_devices();
  devices.push_back(target.name);
  for (const std::string& device : devices) {
    try {
      for (const ov::PropertyName& name : core.get_property(device, ov::supported_properties)) keys.insert(name);
    } catch (const std::exception& exception) {
      LogDebug("Device {} does not tell its properties: {}", device, ReadableMessage(exception.what()));
    }
  }
  return keys;
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::string Nearest(const std::string& key, const std::set<std::string>& known) {
  std::string nearest;
  size_t best = key.size() / 2 + 1;
  for (const std::string& candidate : known) {
    if (const size_t distance = EditDistance(key, candidate); distance < best) best = distance, nearest = candidate;
  }
  return nearest;
}

Status CheckKey(const std::string& key, const std::string& device, const std::set<std::string>& known) {
  if (known.contains(key)) return absl::OkStatus();
  const std::string nearest = Nearest(key, known);
  return InvalidArgument("plugin_config: {} has no property \"{}\"{}", device, key,
                         nearest.empty() ? "; `core.get_property(device, SUPPORTED_PROPERTIES)` lists what it has"
                                         : fmt::format("; did you mean {}?", nearest));
}

// As text: every plugin parses every property's text, while some refuse an integer (NUM_STREAMS on GPU).
std::string ToText(const PropertyValue& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, bool>)
          return v ? "YES" : "NO";
        else if constexpr (std::is_same_v<T, std::string>)
          return v;
        else if constexpr (std::is_same_v<T, PropertyMap>)
          return "";
        else
          return fmt::format("{}", v);
      },
      value.value);
}

// OVMS translates what OpenVINO before 2022 called these.
void TranslateOldNames(PropertyMap& config) {
  const auto rename = [&config](const std::string& from, const std::string& to, PropertyValue value) {
    LogWarning("plugin_config: {} is an old name; use {}", from, to);
    config.erase(from);
    config.try_emplace(to, std::move(value));
  };
  for (const std::string device : {"CPU", "GPU"}) {
    const std::string key = device + "_THROUGHPUT_STREAMS";
    const auto found = config.find(key);
    if (found == config.end()) continue;
    const PropertyValue value = found->second;
    if (ToText(value) == device + "_THROUGHPUT_AUTO")
      rename(key, "PERFORMANCE_HINT", PropertyValue{std::string("THROUGHPUT")});
    else
      rename(key, "NUM_STREAMS", value);
  }
  if (const auto found = config.find("CPU_THREADS_NUM"); found != config.end()) {
    const PropertyValue value = found->second;
    rename("CPU_THREADS_NUM", "INFERENCE_NUM_THREADS", value);
  }
}

StatusOr<ov::AnyMap> ConvertDeviceProperties(ov::Core& core, const PropertyMap& devices) {
  ov::AnyMap result;
  for (const auto& [device, value] : devices) {
    const auto* properties = std::get_if<PropertyMap>(&value.value);
    if (properties == nullptr) {
      return InvalidArgument(
          "plugin_config: {}/{} must be an object of properties, for example {{\"CPU\": {{\"NUM_STREAMS\": 2}}}}",
          kDeviceProperties, device);
    }
    const std::set<std::string> known = KnownKeys(core, ParseTarget(device));
    ov::AnyMap converted;
    for (const auto& [key, property] : *properties) {
      SY_RETURN_IF_ERROR(CheckKey(key, device, known));
      if (std::holds_alternative<PropertyMap>(property.value)) {
        return InvalidArgument("plugin_config: {}/{}/{} must be a string, number or boolean", kDeviceProperties, device, key);
      }
      converted[key] = ToText(property);
    }
    result[device] = std::move(converted);
  }
  return result;
}

}  // namespace

bool TargetParts::is_virtual() const { return std::find(kVirtual.begin(), kVirtual.end(), name) != kVirtual.end(); }

std::vector<std::string> TargetParts::Workers() const { return devices.empty() ? std::vector<std::string>{name} : devices; }

TargetParts ParseTarget(std::string_view target) {
  TargetParts parts;
  const size_t colon = target.find(':');
  parts.name = target.substr(0, colon);
  if (colon == std::string_view::npos) return parts;
  std::string_view rest = target.substr(colon + 1);
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view item = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    const std::string_view device = item.substr(0, item.find('('));
    if (!device.empty() && device.front() != '-') parts.devices.emplace_back(device);
  }
  return parts;
}

Status CheckTarget(ov::Core& core, const std::string& target) {
  return Guarded(StatusCode::kInternal, "Cannot list the devices", [&]() -> Status {
    const TargetParts parts = ParseTarget(target);
    if (parts.is_virtual() && parts.devices.empty()) return absl::OkStatus();
    const std::vector<std::string> available = core.get_available_devices();
    const std::vector<std::string> workers = parts.Workers();
    const auto missing =
        std::find_if(workers.begin(), workers.end(), [&](const auto& device) { return !IsThere(available, device); });
    if (missing == workers.end()) return absl::OkStatus();
    const bool one_is_enough = parts.name == "AUTO" || parts.name == "MULTI";
    if (one_is_enough && std::any_of(workers.begin(), workers.end(), [&](const auto& d) { return IsThere(available, d); })) {
      LogWarning("{}: device {} is not there; going on without it", target, *missing);
      return absl::OkStatus();
    }
    const std::string why = WhyMissing(core, *missing);
    return Error(StatusCode::kNotFound, "target_device {}: there is no device {}{}; available: {}", target, *missing,
                 why.empty() ? "" : " (" + why + ")", fmt::join(available, ", "));
  });
}

StatusOr<ov::AnyMap> MakeProperties(ov::Core& core, const std::string& target, const PropertyMap& plugin_config) {
  PropertyMap config = plugin_config;
  TranslateOldNames(config);
  if (!config.contains("PERFORMANCE_HINT") && !config.contains("NUM_STREAMS")) {
    config["PERFORMANCE_HINT"] = PropertyValue{std::string("LATENCY")};
  }
  const std::set<std::string> known = KnownKeys(core, ParseTarget(target));
  ov::AnyMap properties;
  for (const auto& [key, value] : config) {
    SY_RETURN_IF_ERROR(CheckKey(key, target, known));
    const auto* nested = std::get_if<PropertyMap>(&value.value);
    if (nested == nullptr) {
      properties[key] = ToText(value);
    } else if (key == kDeviceProperties) {
      SY_ASSIGN_OR_RETURN(ov::AnyMap converted, ConvertDeviceProperties(core, *nested));
      properties[key] = std::move(converted);
    } else {
      return InvalidArgument("plugin_config: {} must be a string, number or boolean; objects stand only under {}", key,
                             kDeviceProperties);
    }
  }
  return properties;
}

Status FindFaultyProperty(ov::Core& core, const std::string& target, const ov::AnyMap& properties) {
  const std::shared_ptr<ov::Model> model = OneOperation();
  const auto try_with = [&](const ov::AnyMap& some, std::string_view context) {
    return Guarded(StatusCode::kInvalidArgument, context, [&]() -> Status {
      core.compile_model(model, target, some);
      return absl::OkStatus();
    });
  };
  if (!try_with({}, "").ok()) return absl::OkStatus();
  for (const auto& [key, value] : properties) {
    if (key == ov::cache_dir.name()) continue;
    const std::string text = key == kDeviceProperties ? "the object given" : "\"" + value.as<std::string>() + "\"";
    SY_RETURN_IF_ERROR(try_with({{key, value}}, fmt::format("plugin_config: {} refuses {} for {}", target, text, key)));
  }
  return absl::OkStatus();
}

}  // namespace switchyard
