#include "device/fault.h"

#include <absl/strings/cord.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <string>

namespace switchyard {
namespace {

constexpr absl::string_view kPayload = "switchyard/fault";

// All texts are compared in lower case: the spelling differs between versions and drivers.
std::string ToLower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return c < 0x80 ? std::tolower(c) : c; });
  return lower;
}

template <size_t N>
bool HasAny(std::string_view text, const std::string_view (&parts)[N]) {
  return std::any_of(std::begin(parts), std::end(parts),
                     [&](std::string_view part) { return text.find(part) != std::string_view::npos; });
}

constexpr std::string_view kLost[] = {
    "cl_out_of_resources",
    "cl_out_of_host_memory",
    "cl_mem_object_allocation_failure",
    "cl_device_not_available",
    "cl_device_not_found",
    "cl_invalid_command_queue",
    "cl_invalid_context",
    "cl_exec_status_error_for_events_in_wait_list",
    "device lost",
    "device is lost",
    "device was lost",
    "device removed",
    "device hung",
    "device hang",
    "gpu hang",
};
constexpr std::string_view kFailed[] = {"error", "exception", "failed"};
// Calls that check no arguments of their own: what they report happened on the device.
constexpr std::string_view kWaits[] = {"clfinish", "clflush", "clwaitforevents"};
// The model's: what OpenVINO's core says of shapes and indices, whatever the device.
constexpr std::string_view kModelTexts[] = {"shape inference", "while validating node", "out of range", "incompatible shape"};
constexpr std::string_view kModelChecks[] = {"shape", "axis", "index", "dimension", "src/core/"};

// The number in "[GPU] clFinish, error code: -5", as the GPU plugin writes OpenCL's errors.
std::optional<int> ErrorCode(std::string_view text) {
  constexpr std::string_view kMark = "error code: ";
  const size_t at = text.find(kMark);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view number = text.substr(at + kMark.size());
  int code = 0;
  const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), code);
  if (error != std::errc()) return std::nullopt;
  return code;
}

// OpenCL's numbers of what kLost names.
bool IsLostCode(int code) {
  constexpr int kCodes[] = {-1, -2, -4, -5, -6, -14, -33, -34, -36};
  return std::find(std::begin(kCodes), std::end(kCodes), code) != std::end(kCodes);
}

// A refused argument, an unsupported feature or a model that does not compile is not the device's end; anything else of Level
// Zero while it computes is.
Fault LevelZero(std::string_view text) {
  constexpr std::string_view kMark = "ze_result_error_";
  bool found = false;
  for (size_t at = text.find(kMark); at != std::string_view::npos; at = text.find(kMark, at + 1)) {
    const std::string_view name = text.substr(at + kMark.size());
    if (name.rfind("invalid_", 0) != 0 && name.rfind("unsupported_", 0) != 0 && name.rfind("module_", 0) != 0) {
      return Fault::kDevice;
    }
    found = true;
  }
  return found ? Fault::kUnclear : Fault::kNone;
}

Fault OpenCl(std::string_view text) {
  const std::optional<int> code = ErrorCode(text);
  if (code.has_value() && IsLostCode(*code)) return Fault::kDevice;
  if (HasAny(text, kWaits) && HasAny(text, kFailed)) return Fault::kDevice;
  if (text.find("clenqueue") != std::string_view::npos && HasAny(text, kFailed)) {
    // Its other codes are of the arguments, such as a kernel that the device cannot run.
    return code.has_value() || text.find("cl_invalid_") != std::string_view::npos ? Fault::kUnclear : Fault::kDevice;
  }
  return Fault::kNone;
}

// "[GPU] CL_... exception", whichever error it names.
bool IsGpuException(std::string_view text) {
  constexpr std::string_view kMark = "[gpu] cl_";
  const size_t at = text.find(kMark);
  if (at == std::string_view::npos) return false;
  const std::string_view behind = text.substr(at + kMark.size());
  const size_t end = behind.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_");
  return end != std::string_view::npos && behind.substr(end).rfind(" exception", 0) == 0;
}

bool IsModelText(std::string_view text) {
  if (HasAny(text, kModelTexts)) return true;
  const size_t check = text.find("check '");
  return check != std::string_view::npos && text.find("' failed", check) != std::string_view::npos &&
         HasAny(text.substr(check), kModelChecks);
}

}  // namespace

Fault ClassifyFault(std::string_view device, std::string_view message) {
  if (device == "CPU") return Fault::kModel;
  const std::string text = ToLower(message);
  if (HasAny(text, kLost) || IsGpuException(text)) return Fault::kDevice;
  for (const Fault fault : {LevelZero(text), OpenCl(text)}) {
    if (fault != Fault::kNone) return fault;
  }
  if (text.find("exceeded max size of memory object allocation") != std::string::npos) return Fault::kUnclear;
  return IsModelText(text) ? Fault::kModel : Fault::kUnclear;
}

std::vector<std::string> BlamedDevices(const std::vector<std::string>& devices, std::string_view message) {
  const auto speaks_of = [&](std::string_view kind) {
    if (kind == "NPU") return message.find("ZE_RESULT") != message.npos || message.find("L0 ") != message.npos;
    return message.find("[GPU]") != message.npos || message.find("CL_") != message.npos;
  };
  std::vector<std::string> named;
  std::vector<std::string> others;
  for (const std::string& device : devices) {
    const std::string_view kind = std::string_view(device).substr(0, device.find('.'));
    if (kind == "CPU") continue;
    ((kind == "GPU" || kind == "NPU") && speaks_of(kind) ? named : others).push_back(device);
  }
  if (!named.empty()) return named;
  return others.empty() ? std::vector<std::string>{devices.front()} : others;
}

bool IsShapeFault(std::string_view text) {
  // A check of OpenVINO's shape inference: of its core, which the GPU's plugin uses, or of the CPU's plugin.
  constexpr std::string_view kCheck = "Check '";
  constexpr std::string_view kFailed = "' failed at ";
  constexpr std::string_view kFolder = "/shape_inference/";
  const size_t check = text.find(kCheck);
  if (check == std::string_view::npos) return false;
  const size_t failed = text.find(kFailed, check);
  if (failed == std::string_view::npos) return false;
  const std::string_view place = text.substr(failed + kFailed.size());
  return place.substr(0, place.find_first_of(": \n")).find(kFolder) != std::string_view::npos;
}

Status MarkFault(Status status, Fault fault) {
  if (fault == Fault::kNone) {
    status.ErasePayload(kPayload);
  } else {
    status.SetPayload(kPayload, absl::Cord(std::to_string(static_cast<int>(fault))));
  }
  return status;
}

Fault FaultOf(const Status& status) {
  const auto payload = status.GetPayload(kPayload);
  for (const Fault fault : {Fault::kModel, Fault::kDevice, Fault::kUnclear}) {
    if (payload.has_value() && *payload == std::to_string(static_cast<int>(fault))) return fault;
  }
  return Fault::kNone;
}

}  // namespace switchyard
