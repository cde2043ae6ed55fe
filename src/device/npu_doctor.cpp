#include "device/npu_doctor.h"

#include <fmt/format.h>

#include <algorithm>

#include "device/host_facts.h"

namespace switchyard {
namespace {

constexpr uint32_t kAcceleratorClass = 0x1200;
constexpr const char* kDriverPage = "https://github.com/intel/linux-npu-driver/releases";
// OpenVINO's NPU plugin asks for it; Level Zero loaders such as 1.8.12 of Debian 12 lack it.
constexpr std::string_view kNeededFunction = "zeCommandListHostSynchronize";

Absence NoNpuNode(const SystemView& view) {
  const Container container = FindContainer(view);
  if (IsWsl(view)) {
    return {"WSL2 does not pass an NPU on to Linux: no /dev/accel/accel*",
            "run on Linux itself, or name GPU or CPU as target_device"};
  }
  const auto pci = IntelPciDevices(view, kAcceleratorClass, 4);
  const bool none = pci && pci->empty();
  if (container != Container::kNone) {
    Absence absence{"no /dev/accel/accel* in this container", none ? "on a host with an Intel NPU, " : ""};
    if (none) absence.reason += ", and the host's PCI bus shows no Intel NPU either";
    if (pci && !none) absence.reason += fmt::format(", though the host has the NPU {}", pci->front().Name());
    absence.remedy +=
        container == Container::kKubernetes
            ? "ask for the NPU in the pod's resources: limits: {npu.intel.com/accel: 1} (needs Intel's NPU device "
              "plugin for Kubernetes)"
            : StartAgain(container, PassFlags(DeviceKind::kNpu));
    return absence;
  }
  if (none) {
    return {
        "no Intel NPU on the PCI bus, so no /dev/accel/accel* of one",
        "use a machine with one (Core Ultra processors have it; it can be switched off in the BIOS), or another target_device"};
  }
  for (const PciDevice& npu : pci.value_or(std::vector<PciDevice>())) {
    if (npu.driver == "vfio-pci") return GivenAway(npu, "NPU", "intel_vpu/bind");
  }
  if (pci && !pci->front().driver.empty()) {
    return {fmt::format("no /dev/accel/accel*, though driver {} has the NPU {}", pci->front().driver, pci->front().Name()),
            fmt::format("see what the kernel says: sudo dmesg | grep intel_vpu; missing firmware comes with intel-fw-npu ({})",
                        kDriverPage)};
  }
  return {pci ? fmt::format("no /dev/accel/accel*: the kernel has no driver for the NPU {}", pci->front().Name())
              : "no /dev/accel/accel*",
          "sudo modprobe intel_vpu; if there is no such module, install a newer kernel"};
}

constexpr const char* kNewLevelZero =
    "install Level Zero 1.18.5 or newer (package libze1 of Debian 13, level-zero of "
    "https://github.com/oneapi-src/level-zero/releases)";

// `bytes` are the loader's: it holds the names of the drivers that it looks for, and the newer name only since 1.18.5. (The
// version in its file's name is not to be trusted: Debian 12's 1.8.12 calls itself 1.8.0.)
std::optional<Absence> WhyNoDriver(const SystemView& view, const std::string& loader, std::string_view bytes) {
  if (view.alt_npu_drivers || FindLibrary(view, "libze_intel_vpu.so.1")) return std::nullopt;
  if (!FindLibrary(view, "libze_intel_npu.so.1")) {
    return Absence{
        "no NPU driver library (libze_intel_npu.so.1)",
        fmt::format("install the NPU driver: intel-level-zero-npu, intel-driver-compiler-npu and intel-fw-npu from {}",
                    kDriverPage)};
  }
  if (bytes.find("libze_intel_vpu.so") != std::string_view::npos &&
      bytes.find("libze_intel_npu.so") == std::string_view::npos) {
    return Absence{fmt::format("the Level Zero loader {} is too old to look for the NPU driver libze_intel_npu.so.1", loader),
                   kNewLevelZero};
  }
  return std::nullopt;
}

std::optional<Absence> WhyNoLevelZero(const SystemView& view) {
  const auto library = FindLibrary(view, "libze_loader.so.1");
  if (!library) {
    return Absence{
        "no Level Zero loader (libze_loader.so.1)",
        fmt::format("{} (1.18.5 or newer: Debian 13's; Debian 12's is too old)", Install(view, "libze1", "oneapi-level-zero"))};
  }
  const std::string real = view.RealPath(*library).value_or(*library);
  const auto bytes = view.Read(real, size_t{64} << 20);
  if (!bytes) {
    return Absence{fmt::format("the Level Zero loader {} cannot be read", Printable(real)),
                   fmt::format("sudo chmod a+rx {}", Printable(real))};
  }
  if (bytes->find(kNeededFunction) == std::string::npos) {
    return Absence{fmt::format("the Level Zero loader {} is too old: it has no {}", Printable(real), kNeededFunction),
                   kNewLevelZero};
  }
  return WhyNoDriver(view, Printable(real), *bytes);
}

}  // namespace

std::optional<Absence> WhyNoNpu(const SystemView& view) {
  std::vector<DeviceNode> nodes = FindNodes(view, "/dev/accel", "accel", "/sys/class/accel");
  std::erase_if(nodes, [](const DeviceNode& node) { return !node.maybe_intel(); });
  if (nodes.empty()) return NoNpuNode(view);
  std::optional<Absence> closed = WhyClosed(view, nodes.front(), DeviceKind::kNpu);
  for (size_t i = 1; i < nodes.size() && closed; ++i) {
    if (!WhyClosed(view, nodes[i], DeviceKind::kNpu)) closed.reset();
  }
  if (closed) return closed;
  if (const auto folder = OpenVinoFolder(view); folder && !view.Exists(*folder + "/libopenvino_intel_npu_plugin.so")) {
    return Absence{fmt::format("this OpenVINO ({}) comes without its NPU plugin", *folder),
                   "use the image or the build that has it: make release_image NPU=1"};
  }
  if (auto absence = WhyNoLevelZero(view)) return absence;
  if (view.alt_npu_drivers) return std::nullopt;
  if (!FindLibraryBeginning(view, "libnpu_driver_compiler") &&
      !FindLibraryBeginning(view, "libopenvino_intel_npu_compiler.so")) {
    return Absence{"no NPU compiler (libnpu_driver_compiler.so of the driver, or OpenVINO's libopenvino_intel_npu_compiler.so)",
                   fmt::format("install intel-driver-compiler-npu from {}", kDriverPage)};
  }
  return std::nullopt;
}

}  // namespace switchyard
