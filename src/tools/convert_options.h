// The command line of `switchyard convert`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "runtime/conversion.h"

namespace switchyard {

struct ConvertOptions {
  enum class Precision { kFp32, kFp16, kInt8 };
  ConversionRequest request;
  std::string output;  // the folder of version folders
  Precision precision = Precision::kFp32;
  // INT8 alone.
  std::vector<std::string> calibration;  // "[INPUT=]FILE_OR_FOLDER"
  std::string labels;
  std::optional<int> samples;  // calibrate with at most so many; default: 300
  std::string python;  // one that has what INT8 needs; empty: an environment is made and thrown away
  bool json = false;
  bool help = false;
};

extern const std::string_view kConvertHelp;

// The arguments behind `convert`. InvalidArgument names the flag, what was expected and what came.
StatusOr<ConvertOptions> ParseConvertOptions(const std::vector<std::string>& arguments);

// "(1,3,224,224)", "[1,3,224,224]", "data[1,3,224,224],info[1,3]", or an object of them by input.
StatusOr<std::map<std::string, PartialShape>> ParseInputShapes(std::string_view text);
// The same for numbers: "[1,2,3]", "data[1,2,3],info[4]".
StatusOr<std::map<std::string, std::vector<float>>> ParseInputNumbers(std::string_view text, bool scale);

}  // namespace switchyard
