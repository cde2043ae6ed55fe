// Whose fault an inference's error is. Only the caller's is a 4xx; a device's moves its models elsewhere.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace switchyard {

enum class Fault {
  kNone,     // no error, or one of the caller's or of our own
  kModel,    // the model cannot compute this: the same on every device
  kDevice,   // the device is lost, out of resources or out of memory: a new generation may work again
  kUnclear,  // an error of a device other than the CPU whose text tells neither
};

// By the text of the runtime's exception. `device` is the canonical name of the device that ran the inference; an error on
// "CPU" is never the device's. An allocation that is larger than the device ever makes is kUnclear: a caller's large input must
// not take the device from everybody.
Fault ClassifyFault(std::string_view device, std::string_view message);

// Which of a target's devices an error of it may speak of: all of the kind that its text names, else all; never the CPU where
// there is another. One at least.
std::vector<std::string> BlamedDevices(const std::vector<std::string>& devices, std::string_view message);

// Whether the runtime's exception, its text as it came, says that shapes do not fit each other where the model's own shape
// inference looked at them: for a model with open inputs, whose shapes the caller chose, that is the caller's fault.
bool IsShapeFault(std::string_view text);

// The mark travels with the status (a payload, which Annotate keeps). OK takes no mark; kNone removes one.
Status MarkFault(Status status, Fault fault);
Fault FaultOf(const Status& status);

}  // namespace switchyard
