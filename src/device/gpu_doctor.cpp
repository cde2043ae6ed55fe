#include "device/gpu_doctor.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/text.h"

namespace switchyard {
namespace {

constexpr uint32_t kDisplayClass = 0x03;

std::vector<DeviceNode> RenderNodes(const SystemView& view) { return FindNodes(view, "/dev/dri", "renderD", "/sys/class/drm"); }

// "; its render nodes belong to others: renderD128 (vendor 10de)", for hosts whose only nodes are another maker's.
std::string OthersNodes(const SystemView& view) {
  std::string others;
  for (const DeviceNode& node : RenderNodes(view)) {
    others += fmt::format("{}{} (vendor {:04x})", others.empty() ? "" : ", ", node.path, node.vendor.value_or(0));
  }
  return others.empty() ? "" : fmt::format("; what is there belongs to other makers' devices: {}", others);
}

Absence NoNodeInContainer(const SystemView& view, Container container, const std::optional<std::vector<PciDevice>>& pci) {
  Absence absence{fmt::format("no /dev/dri/renderD* of an Intel GPU in this container{}", OthersNodes(view)), ""};
  if (pci && !pci->empty()) absence.reason += fmt::format(", though the host has the GPU {}", pci->front().Name());
  const bool hopeless = pci && pci->empty();
  if (hopeless) absence.reason += ", and the host's PCI bus shows no Intel GPU either";
  absence.remedy = hopeless ? "on a host with an Intel GPU, " : "";
  absence.remedy +=
      container == Container::kKubernetes
          ? "ask for the GPU in the pod's resources: limits: {gpu.intel.com/i915: 1} (xe instead of i915 for newer "
            "GPUs; needs Intel's GPU device plugin for Kubernetes)"
          : StartAgain(container, PassFlags(DeviceKind::kGpu));
  return absence;
}

Absence NoGpuNode(const SystemView& view) {
  const Container container = FindContainer(view);
  const auto pci = IntelPciDevices(view, kDisplayClass, 2);
  if (container != Container::kNone) return NoNodeInContainer(view, container, pci);
  if (!pci) {
    return {fmt::format("no /dev/dri/renderD*{}", OthersNodes(view)),
            "load the kernel driver: sudo modprobe i915 (newer GPUs: xe)"};
  }
  if (pci->empty()) {
    return {fmt::format("no Intel GPU on the PCI bus, so no /dev/dri/renderD* of one{}", OthersNodes(view)),
            "use a machine with an Intel GPU (a virtual machine needs it passed through), or another target_device"};
  }
  for (const PciDevice& gpu : *pci) {
    if (gpu.driver == "vfio-pci") {
      return GivenAway(gpu, "GPU", "i915/bind (xe for newer GPUs)");
    }
  }
  const auto driven = std::find_if(pci->begin(), pci->end(), [](const PciDevice& gpu) { return !gpu.driver.empty(); });
  if (driven == pci->end()) {
    return {fmt::format("no /dev/dri/renderD*: the kernel has no driver for the GPU {}", pci->front().Name()),
            "sudo modprobe i915 (xe for newer GPUs); if that changes nothing, the kernel is older than the GPU: install a "
            "newer one"};
  }
  return {fmt::format("no /dev/dri/renderD*, though driver {} has the GPU {}", driven->driver, driven->Name()),
          "sudo udevadm trigger --subsystem-match=drm, and see what the kernel says: sudo dmesg | grep -iE 'i915|xe|drm'"};
}

std::optional<Absence> WhyNoWslDevice(const SystemView& view) {
  const Container container = FindContainer(view);
  const bool dxg = view.Exists("/dev/dxg"), libraries = view.IsFolder("/usr/lib/wsl/lib");
  if (dxg && libraries) return std::nullopt;
  Absence absence;
  if (!dxg)
    absence = {"WSL2: no /dev/dxg", "in Windows: install Intel's graphics driver, then run: wsl --update && wsl --shutdown"};
  else
    absence = {"WSL2: no /usr/lib/wsl/lib, the driver's libraries of Windows", "in Windows: wsl --update && wsl --shutdown"};
  if (container != Container::kNone) {
    absence.reason += " in this container";
    absence.remedy = StartAgain(container, "--device /dev/dxg --volume /usr/lib/wsl:/usr/lib/wsl");
  }
  return absence;
}

// The libraries that the ICD loader would open: the first word of each *.icd file.
struct Icd {
  std::string file;
  std::string library;
};
std::vector<Icd> FindIcds(const SystemView& view) {
  const std::string place = view.icd_vendors.empty() ? "/etc/OpenCL/vendors" : view.icd_vendors;
  std::vector<std::string> files;
  if (place.ends_with(".icd")) files.push_back(place);
  for (const std::string& name : view.List(place).value_or(std::vector<std::string>())) {
    if (name.ends_with(".icd")) files.push_back(place + "/" + name);
  }
  std::vector<Icd> icds;
  for (const std::string& file : files) {
    const std::string word = view.ReadWord(file);
    icds.push_back({Printable(file), Printable(Trim(std::string_view(word).substr(0, word.find('\n'))))});
  }
  return icds;
}

struct Driver {
  uint64_t build = 0;   // 24595 of 22.43.24595.41; rises with every release
  std::string version;  // as it was found
  bool legacy = false;  // Intel's package for Gen8 to Gen11
};

std::optional<Driver> InstalledPackage(std::string_view status, bool legacy) {
  const std::string name = legacy ? "\nPackage: intel-opencl-icd-legacy1\n" : "\nPackage: intel-opencl-icd\n";
  const size_t at = status.find(name);
  if (at == status.npos) return std::nullopt;
  const std::string_view entry = status.substr(at + 1, status.find("\n\n", at + 1) - at - 1);
  const std::string_view version = FieldOf(entry, "Version");
  const std::vector<std::string_view> parts = SplitText(version, '.');
  const auto build =
      parts.size() > 2 ? ParseNumber(parts[2].substr(0, parts[2].find_first_not_of("0123456789"))) : std::nullopt;
  if (!FieldOf(entry, "Status").ends_with(" installed") || !build) return std::nullopt;
  return Driver{*build, Printable(version), legacy};
}

// The regular package's before the legacy one's: both may be there.
std::vector<Driver> FindDrivers(const SystemView& view) {
  const std::string status = "\n" + view.Read("/var/lib/dpkg/status", size_t{64} << 20).value_or("");
  std::vector<Driver> drivers;
  for (const bool legacy : {false, true}) {
    if (auto driver = InstalledPackage(status, legacy)) drivers.push_back(*std::move(driver));
  }
  if (!drivers.empty()) return drivers;
  // The Level Zero half of the same release tells it in its name: libze_intel_gpu.so.1.6.32567.
  if (const auto library = FindLibrary(view, "libze_intel_gpu.so.1")) {
    const std::string version = VersionInName(view.RealPath(*library).value_or(""));
    const std::vector<uint64_t> parts = ParseVersion(version);
    if (parts.size() == 3) drivers.push_back({parts[2], version, false});
  }
  return drivers;
}

struct IdRange {
  uint32_t first;
  uint32_t last;
  const char* name;
};
// GPUs that drivers of older distributions do not know. 25.05.32567 is the oldest release whose list of supported platforms is
// known to name all of them; a device that works never comes here, so a release between costs nothing.
constexpr uint64_t kKnownGoodBuild = 32567;
constexpr const char* kKnownGood = "25.05.32567";
constexpr IdRange kNewer[] = {
    {0x7d40, 0x7d40, "Meteor Lake"}, {0x7d45, 0x7d45, "Meteor Lake"}, {0x7d55, 0x7d55, "Meteor Lake"},
    {0x7d60, 0x7d60, "Meteor Lake"}, {0x7dd5, 0x7dd5, "Meteor Lake"}, {0x7d41, 0x7d41, "Arrow Lake"},
    {0x7d51, 0x7d51, "Arrow Lake"},  {0x7d67, 0x7d67, "Arrow Lake"},  {0x7dd1, 0x7dd1, "Arrow Lake"},
    {0x6420, 0x6420, "Lunar Lake"},  {0x64a0, 0x64a0, "Lunar Lake"},  {0x64b0, 0x64b0, "Lunar Lake"},
    {0xe200, 0xe22f, "Battlemage"},
};
// Gen8 to Gen11: dropped from the regular packages since this release.
constexpr uint64_t kLastLegacyBuild = 30872;
constexpr IdRange kLegacy[] = {
    {0x1600, 0x163f, "Broadwell"},   {0x1900, 0x193f, "Skylake"},      {0x3184, 0x3185, "Gemini Lake"},
    {0x3e90, 0x3eaf, "Coffee Lake"}, {0x4500, 0x4571, "Elkhart Lake"}, {0x4e51, 0x4e71, "Jasper Lake"},
    {0x5900, 0x593f, "Kaby Lake"},   {0x5a84, 0x5a85, "Apollo Lake"},  {0x8a50, 0x8a7f, "Ice Lake"},
    {0x9b00, 0x9bff, "Comet Lake"},
};

template <size_t N>
const char* FindName(const IdRange (&table)[N], uint32_t device) {
  const auto found = std::find_if(std::begin(table), std::end(table),
                                  [&](const IdRange& row) { return row.first <= device && device <= row.last; });
  return found == std::end(table) ? nullptr : found->name;
}

std::optional<Absence> Misfit(const Driver& driver, uint32_t device) {
  const char* newer = FindName(kNewer, device);
  if (newer != nullptr && !driver.legacy && driver.build < kKnownGoodBuild) {
    return Absence{
        fmt::format("the GPU driver {} is most likely too old for this GPU ({}, {:04x})", driver.version, newer, device),
        fmt::format("install intel-opencl-icd {} or newer (https://github.com/intel/compute-runtime/releases)", kKnownGood)};
  }
  const char* legacy = FindName(kLegacy, device);
  if (legacy != nullptr && !driver.legacy && driver.build >= kLastLegacyBuild) {
    return Absence{fmt::format("the GPU driver {} is too new for this GPU ({}, {:04x}): it serves Gen12 and later",
                               driver.version, legacy, device),
                   "install intel-opencl-icd-legacy1 (https://github.com/intel/compute-runtime/releases/tag/24.35.30872.22)"};
  }
  if (legacy == nullptr && driver.legacy) {
    return Absence{fmt::format("the GPU driver {} is too old for this GPU ({:04x}): it is the one for Gen8 to Gen11",
                               driver.version, device),
                   "install intel-opencl-icd (https://github.com/intel/compute-runtime/releases)"};
  }
  return std::nullopt;
}

// Nothing where one of the drivers fits one of the GPUs, or none is told of.
std::optional<Absence> WhyDriverDoesNotFit(const SystemView& view) {
  std::vector<uint32_t> devices;
  for (const DeviceNode& node : IntelRenderNodes(view)) {
    if (node.device) devices.push_back(*node.device);
  }
  if (devices.empty()) {
    for (const PciDevice& gpu : IntelPciDevices(view, kDisplayClass, 2).value_or(std::vector<PciDevice>())) {
      devices.push_back(gpu.device);
    }
  }
  std::optional<Absence> first;
  for (const Driver& driver : FindDrivers(view)) {
    for (const uint32_t device : devices) {
      auto misfit = Misfit(driver, device);
      if (!misfit) return std::nullopt;
      if (!first) first = std::move(misfit);
    }
  }
  return first;
}

std::optional<Absence> WhyNoOpenCl(const SystemView& view) {
  if (!FindLibrary(view, "libOpenCL.so.1")) {
    return Absence{"no OpenCL loader (libOpenCL.so.1)", Install(view, "ocl-icd-libopencl1", "ocl-icd")};
  }
  const std::string install = Install(view, "intel-opencl-icd", "intel-compute-runtime");
  std::string others;
  for (const Icd& icd : FindIcds(view)) {
    const size_t slash = icd.library.rfind('/');
    const std::string name = slash == std::string::npos ? icd.library : icd.library.substr(slash + 1);
    if (!name.starts_with("libigdrcl")) {
      others += fmt::format("{}{}", others.empty() ? "" : ", ", name.empty() ? icd.file : name);
      continue;
    }
    if (slash == std::string::npos ? FindLibrary(view, name).has_value() : view.Exists(icd.library))
      return WhyDriverDoesNotFit(view);
    return Absence{fmt::format("{} names Intel's OpenCL driver {}, which is not there", icd.file, icd.library), install};
  }
  const std::string place = view.icd_vendors.empty() ? "/etc/OpenCL/vendors" : Printable(view.icd_vendors);
  return Absence{fmt::format("no OpenCL driver (ICD) for Intel GPUs in {}{}", place,
                             others.empty() ? "" : fmt::format(", only {}", others)),
                 install};
}

}  // namespace

std::vector<DeviceNode> IntelRenderNodes(const SystemView& view) {
  std::vector<DeviceNode> nodes = RenderNodes(view);
  std::erase_if(nodes, [](const DeviceNode& node) { return !node.maybe_intel(); });
  return nodes;
}

std::string GpuDriverVersion(const SystemView& view) {
  const std::vector<Driver> drivers = FindDrivers(view);
  return drivers.empty() ? "" : drivers.front().version;
}

std::optional<Absence> WhyNoGpu(const SystemView& view) {
  const std::vector<DeviceNode> nodes = IntelRenderNodes(view);
  if (IsWsl(view)) {
    if (auto absence = WhyNoWslDevice(view)) return absence;
  } else if (nodes.empty()) {
    return NoGpuNode(view);
  } else {
    std::optional<Absence> closed;
    for (const DeviceNode& node : nodes) {
      auto why = WhyClosed(view, node, DeviceKind::kGpu);
      if (!why) {
        closed.reset();
        break;
      }
      if (!closed) closed = std::move(why);
    }
    if (closed) return closed;
  }
  if (const auto folder = OpenVinoFolder(view); folder && !view.Exists(*folder + "/libopenvino_intel_gpu_plugin.so")) {
    return Absence{fmt::format("this OpenVINO ({}) comes without its GPU plugin", *folder),
                   "use the image or the build that has it: make release_image GPU=1"};
  }
  return WhyNoOpenCl(view);
}

}  // namespace switchyard
