#include "device/fault.h"

#include <absl/strings/cord.h>

namespace switchyard {
namespace {
constexpr char kPayload[] = "switchyard/fault";
}

Fault ClassifyFault(std::string_view device, std::string_view message) {
  if (device == "CPU") return Fault::kModel;
  for (const char* text : {"CL_OUT_OF", "CL_MEM_OBJECT_ALLOCATION", "CL_DEVICE_NOT", "CL_INVALID_COMMAND_QUEUE", "ZE_RESULT_ERROR"}) {
    if (message.find(text) != message.npos) return Fault::kDevice;
  }
  return Fault::kUnclear;
}

Status MarkFault(Status status, Fault fault) {
  if (!status.ok() && fault != Fault::kNone) status.SetPayload(kPayload, absl::Cord(std::to_string(static_cast<int>(fault))));
  return status;
}

Fault FaultOf(const Status& status) {
  const auto payload = status.GetPayload(kPayload);
  return payload ? static_cast<Fault>(std::string(*payload)[0] - '0') : Fault::kNone;
}

}  // namespace switchyard
