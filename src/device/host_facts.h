// What the doctor finds out about a machine before it judges: containers, PCI devices, device nodes, libraries.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "device/doctor.h"
#include "device/system_view.h"

namespace switchyard {

inline constexpr uint32_t kIntelVendor = 0x8086;

enum class Container { kNone, kDocker, kPodman, kKubernetes, kOther };
Container FindContainer(const SystemView& view);
bool IsWsl(const SystemView& view);  // Windows Subsystem for Linux 2, and containers on it

struct PciDevice {
  std::string address;  // "0000:00:02.0"
  uint32_t vendor = 0;
  uint32_t device = 0;
  std::string driver;        // the kernel's; empty: none is bound
  std::string Name() const;  // "8086:7d55 at 0000:00:02.0"
};
// Intel's devices whose PCI class begins with `class_prefix` (0x03: displays, 0x1200: accelerators; `digits` of hex). Nothing
// when the bus cannot be looked at.
std::optional<std::vector<PciDevice>> IntelPciDevices(const SystemView& view, uint32_t class_prefix, int digits);

// Why there is no node for a device that vfio-pci has. `kind` is "GPU", `bind` where it goes back to ("intel_vpu/bind").
Absence GivenAway(const PciDevice& device, std::string_view kind, std::string_view bind);

struct DeviceNode {
  std::string path;                // "/dev/dri/renderD128"
  std::optional<uint32_t> vendor;  // of the PCI device behind it; none: not told
  std::optional<uint32_t> device;
  uint32_t gid = 0;
  uint32_t mode = 0;
  bool maybe_intel() const { return vendor.value_or(kIntelVendor) == kIntelVendor; }
};
// The nodes `folder`/`prefix`<number>, by number; their PCI devices from `class_folder` ("/sys/class/drm").
std::vector<DeviceNode> FindNodes(const SystemView& view, std::string_view folder, std::string_view prefix,
                                  std::string_view class_folder);

// Why `node` cannot be opened, and what lets this user in; nothing when it can.
std::optional<Absence> WhyClosed(const SystemView& view, const DeviceNode& node, DeviceKind kind);

// "docker run --device /dev/dri ..." with `flags`, for the container at hand.
std::string StartAgain(Container container, std::string_view flags);
std::string PassFlags(DeviceKind kind);  // "--device /dev/dri --group-add=..."

// How a package is installed here: "sudo apt-get install libze1". `fedora` is its name there.
std::string Install(const SystemView& view, std::string_view debian, std::string_view fedora);

// The file that the dynamic loader would take for `name`, or one that begins with it; nothing when there is none.
std::optional<std::string> FindLibrary(const SystemView& view, std::string_view name);
std::optional<std::string> FindLibraryBeginning(const SystemView& view, std::string_view prefix);
// The folder that OpenVINO was loaded from; nothing for a made-up root.
std::optional<std::string> OpenVinoFolder(const SystemView& view);
// "1.8.12" of "libze_loader.so.1.8.12"; empty when the name holds no version.
std::string VersionInName(std::string_view path);
// [1, 8, 12] of "1.8.12"; empty when it is none.
std::vector<uint64_t> ParseVersion(std::string_view version);

}  // namespace switchyard
