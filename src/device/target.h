// A parsed `target_device`: a device, or a virtual device over an ordered list of devices. Pure text; whether a device is there
// is the Inventory's matter.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

// Grammar (upper case, no spaces inside names; spaces around separators are taken):
//   target  = device | "AUTO" [":" list] | "MULTI" [":" list] | "HETERO" [":" list] | "BATCH:" device ["(" number ")"]
//   list    = entry *("," entry)
//   entry   = device | "-" device          (exclusion; AUTO only)
//   device  = name ["." id]                CPU, GPU, GPU.1, GPU.0.1 (a tile), NPU, NPU.4000, or the name of a registered plugin
// "AUTO" and "MULTI" without a list mean every device that the policy may take (device/placement.h). An exclusion without an id
// excludes all devices of that name: "AUTO:-GPU" takes no GPU at all. In a list of AUTO or MULTI "GPU" means every GPU,
// elsewhere the first. "CPU.0" is taken as "CPU".
struct Target {
  enum class Kind { kDevice, kAuto, kMulti, kHetero, kBatch };
  Kind kind = Kind::kDevice;
  std::vector<std::string> devices;   // in the order of the text: their priority; exactly one for kDevice and kBatch
  std::vector<std::string> excluded;  // AUTO:-GPU; beside `devices` it changes nothing, alone it means all but these
  std::optional<uint32_t> batch;      // BATCH:CPU(16); none: the plugin chooses

  // The canonical text: "HETERO:GPU,CPU", "BATCH:CPU(16)".
  std::string ToString() const;
  friend bool operator==(const Target&, const Target&) = default;
};

// A longer target is refused.
inline constexpr size_t kMaxTargetBytes = 1024;

// InvalidArgument for an unknown virtual device, an empty or duplicate entry (where "GPU" is the first one, it and "GPU.0" are
// the same), an empty list ("HETERO:"), HETERO or BATCH alone, a batch of 0 or above 2^31 - 1, brackets or exclusions where
// none may stand, nesting (AUTO:MULTI), and a name that no device can have. The message names the entry, its position (from 1)
// and the remedy. `known` are the names without ids that exist beside CPU, GPU and NPU (registered plugins); any other name is
// an error that lists what is known. `what` begins the message: the setting that the text came from.
StatusOr<Target> ParseTarget(std::string_view text, const std::vector<std::string>& known = {},
                             std::string_view what = "target_device");

// The target of a model: its target_device, which must not be empty (the caller puts RecommendDevice()'s there). Where that is
// AUTO, MULTI or HETERO, the list may stand in plugin_config's MULTI_DEVICE_PRIORITIES ("GPU,CPU") instead; two lists that
// differ are an error, and so is that property with any other target.
StatusOr<Target> TargetOf(const ModelSettings& model, const std::vector<std::string>& known = {});

// The model's fallback_devices, in their order. Beside ParseTarget's errors: AUTO and MULTI, and an entry that stands twice.
StatusOr<std::vector<Target>> FallbacksOf(const ModelSettings& model, const std::vector<std::string>& known = {});

// "GPU.0" for "GPU" and "GPU.0"; "NPU" for "NPU" and "NPU.4000", but not for "NPU.7"; "CPU" for "CPU", "CPU.0" and "(CPU)";
// others as they are. The one naming of devices in JSON, labels and logs.
std::string CanonicalDevice(std::string_view device);

// The devices of a canonical target: {"GPU.0", "CPU"} of "HETERO:GPU.0,CPU", {"CPU"} of "BATCH:CPU(16)". At least one.
std::vector<std::string> DevicesOf(std::string_view target);
// The one of them that an error is most likely about: the first that is not the CPU, else the CPU.
std::string FaultyDevice(std::string_view target);

}  // namespace switchyard
