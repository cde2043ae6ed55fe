// Quantization by NNCF, a Python library, in an environment of its own.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace switchyard {

struct Int8Request {
  std::string fp32_xml;
  std::string int8_xml;  // is written
  std::vector<std::string> calibration;
  std::string labels;
  int samples = 300;
  std::string python;  // empty: an environment is made and thrown away
};

// On samples that were not calibrated with.
struct Int8Result {
  int calibrated_with = 0;
  bool made_up = false;
  int samples = 0;
  double largest_difference = 0;
  double largest_value = 0;
  double mean_difference = 0;
  std::optional<double> top1_agreement;  // 0 to 1; for answers that are one score for each class
  std::optional<double> accuracy_fp32;   // 0 to 1; with labels
  std::optional<double> accuracy_int8;
};

// Blocks for minutes, until `cancelled` is set: kCancelled, and nothing is left behind. `progress` is told each step.
// InvalidArgument: a calibration file is faulty; FailedPrecondition: there is no Python, or the environment cannot be made,
// with the remedy; Internal: NNCF fails.
StatusOr<Int8Result> QuantizeToInt8(const Int8Request& request, const std::function<void(const std::string&)>& progress,
                                    const std::atomic<bool>& cancelled);

}  // namespace switchyard
