#include "serving/absent_devices.h"

#include <fmt/format.h>

#include "device/doctor.h"
#include "device/system_view.h"

namespace switchyard {

std::vector<AbsentDevice> FindAbsentDevices(const DeviceList& devices) {
  std::vector<AbsentDevice> absent;
  for (const BrokenDevice& broken : devices.broken) absent.push_back({broken.name, broken.reason, std::string(kBrokenRemedy)});
  for (const std::string kind : {"GPU", "NPU"}) {
    if (HasKind(devices, kind)) continue;
    const Absence absence = DescribeAbsence(kind, SystemView::Own());
    absent.push_back({kind, absence.reason, absence.remedy});
  }
  return absent;
}

std::string ExplainAbsent(const std::vector<AbsentDevice>& absent, std::string_view target) {
  std::string text;
  for (const AbsentDevice& device : absent) {
    if (target.find(device.name) == target.npos || device.reason.empty()) continue;
    text += fmt::format(" ({}: {}; {})", device.name, device.reason, device.remedy);
  }
  return text;
}

}  // namespace switchyard
