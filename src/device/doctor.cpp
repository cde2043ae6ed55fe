#include "device/doctor.h"

#include <fmt/format.h>

#include <algorithm>

#include "device/gpu_doctor.h"
#include "device/npu_doctor.h"
#include "device/target.h"

namespace switchyard {
namespace {

Absence NothingFound(DeviceKind kind, std::string_view plugin_message) {
  Absence absence{fmt::format("every file that OpenVINO's {} plugin needs is there, and it finds no device all the same",
                              kind == DeviceKind::kGpu ? "GPU" : "NPU"),
                  kind == DeviceKind::kGpu
                      ? "see what the driver says: `clinfo`, and set OPENVINO_LOG_LEVEL=5; install the newest intel-opencl-icd "
                        "(https://github.com/intel/compute-runtime/releases)"
                      : "see what the plugin says: set OV_NPU_LOG_LEVEL=LOG_DEBUG; install the newest driver "
                        "(https://github.com/intel/linux-npu-driver/releases)"};
  if (!plugin_message.empty()) absence.reason += fmt::format(" (it says: {})", Printable(plugin_message));
  return absence;
}

// "GPU.2" where GPUs are there, but not so many.
Absence NoSuchGpu(std::string_view device, uint64_t number, const SystemView& view, std::string_view plugin_message) {
  const std::vector<DeviceNode> nodes = IntelRenderNodes(view);
  uint64_t open = 0;
  std::optional<Absence> closed;
  for (const DeviceNode& node : nodes) {
    auto why = WhyClosed(view, node, DeviceKind::kGpu);
    if (!why)
      ++open;
    else if (!closed)
      closed = std::move(why);
  }
  if (closed) return *closed;
  if (open > number || open == 0) return NothingFound(DeviceKind::kGpu, plugin_message);
  Absence absence{
      fmt::format("{} would be Intel GPU number {}, and {} {} here", device, number + 1, open, open == 1 ? "is" : "are"),
      open == 1 ? "name GPU.0" : fmt::format("name one of GPU.0 to GPU.{}", open - 1)};
  const Container container = FindContainer(view);
  const auto pci = IntelPciDevices(view, 0x03, 2);
  if (container != Container::kNone && pci && pci->size() > open) {
    absence.reason += fmt::format(", though the host has {}", pci->size());
    absence.remedy += fmt::format(", or {}", StartAgain(container, PassFlags(DeviceKind::kGpu)));
  }
  return absence;
}

}  // namespace

std::optional<Absence> WhyAbsent(DeviceKind kind, const SystemView& view) {
  return kind == DeviceKind::kGpu ? WhyNoGpu(view) : WhyNoNpu(view);
}

Absence DescribeAbsence(std::string_view device, const SystemView& view, std::string_view plugin_message) {
  const std::string name = CanonicalDevice(device);
  const size_t dot = name.find('.');
  const std::string kind = name.substr(0, dot);
  if (kind == "GPU") {
    if (auto absence = WhyNoGpu(view)) return *std::move(absence);
    const auto number = dot == std::string::npos ? std::nullopt : ParseNumber(std::string_view(name).substr(dot + 1));
    return NoSuchGpu(Printable(name), number.value_or(0), view, plugin_message);
  }
  if (kind == "NPU") {
    if (auto absence = WhyNoNpu(view)) return *std::move(absence);
    return NothingFound(DeviceKind::kNpu, plugin_message);
  }
  if (kind == "CPU") {
    return {"OpenVINO comes without its CPU plugin (libopenvino_intel_cpu_plugin.so)", "install OpenVINO again"};
  }
  return {
      fmt::format("no plugin has registered a device {}{}", Printable(name),
                  plugin_message.empty() ? "" : fmt::format(" ({})", Printable(plugin_message))),
      fmt::format("name CPU, GPU or NPU, or register the plugin: --device_plugin {}=/path/of/its/library.so", Printable(kind))};
}

std::string ExplainAbsence(std::string_view device, const SystemView& view, std::string_view plugin_message) {
  const Absence absence = DescribeAbsence(device, view, plugin_message);
  return absence.reason + "; " + absence.remedy;
}

}  // namespace switchyard
