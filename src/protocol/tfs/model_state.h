// A version's state as TensorFlow-Serving reports it, over gRPC and REST alike.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serving/manager.h"

namespace switchyard::tfs {

struct ReportedVersion {
  int64_t version = 0;
  int state = 0;                   // the number of ModelVersionStatus.State
  std::string_view state_name;     // "AVAILABLE"
  int error_code = 0;              // the number of tensorflow.error.Code: OK or UNKNOWN
  std::string_view error_name;     // "OK", "UNKNOWN"
  std::string error_message;       // "OK" when all is well; of a failed version: why
};

// A failed version is END with UNKNOWN, as TensorFlow-Serving has it.
ReportedVersion Report(const VersionStatus& status);

// One version, or all of them in ascending order without one (0 means that too). A model without a version that could be tried
// has its one entry, of version 0. NotFound: no such model or version.
StatusOr<std::vector<ReportedVersion>> ReportModel(const Manager& manager, std::string_view model,
                                                   std::optional<int64_t> version);

}  // namespace switchyard::tfs
