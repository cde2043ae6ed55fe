// Says why a GPU or an NPU is not there, and what to do about it. OpenVINO says "no device", or names another cause; the true
// one is in the machine's files.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "device/system_view.h"

namespace switchyard {

enum class DeviceKind { kGpu, kNpu };

struct Absence {
  std::string reason;  // a clause without a full stop: "no /dev/dri/renderD* in this container"
  std::string remedy;  // likewise; commands are complete
};

// The first cause that keeps an Intel GPU or NPU from this process, in the order in which they must be removed; nothing when
// every file that the device needs looks right. Reads files for some milliseconds, and on the own machine opens the device's
// nodes: call it when the device is missing. Never fails.
std::optional<Absence> WhyAbsent(DeviceKind kind, const SystemView& view);

// The same for a device by its name ("GPU", "GPU.1", "NPU", any other) that the runtime did not find: there is always an
// answer. `plugin_message`: what the runtime itself said, shown where the files don't tell; may be empty.
Absence DescribeAbsence(std::string_view device, const SystemView& view, std::string_view plugin_message = "");

// What helps a device whose driver crashes or hangs.
inline constexpr std::string_view kBrokenRemedy =
    "see what the kernel says: sudo dmesg; update the driver; a reset or a restart of the machine helps a device that hangs";

// "reason; remedy", for an error message.
std::string ExplainAbsence(std::string_view device, const SystemView& view, std::string_view plugin_message = "");

}  // namespace switchyard
