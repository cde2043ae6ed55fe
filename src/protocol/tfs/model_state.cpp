#include "protocol/tfs/model_state.h"

namespace switchyard::tfs {
namespace {

struct State {
  int number;
  std::string_view name;
};

State StateOf(VersionState state) {
  switch (state) {
    case VersionState::kWanted: return {10, "START"};
    case VersionState::kLoading: return {20, "LOADING"};
    case VersionState::kAvailable: return {30, "AVAILABLE"};
    case VersionState::kUnloading: return {40, "UNLOADING"};
    case VersionState::kGone:
    case VersionState::kFailed: break;
  }
  return {50, "END"};
}

}  // namespace

ReportedVersion Report(const VersionStatus& status) {
  const State state = StateOf(status.state);
  ReportedVersion reported{status.version, state.number, state.name, 0, "OK", "OK"};
  if (status.state == VersionState::kFailed) {
    reported.error_code = 2;
    reported.error_name = "UNKNOWN";
    reported.error_message = std::string(Message(status.error));
  } else if (status.state == VersionState::kLoading && !status.error.ok()) {
    // Loaded, but no device serves it at the moment.
    reported.error_code = 14;
    reported.error_name = "UNAVAILABLE";
    reported.error_message = std::string(Message(status.error));
  } else if (status.state == VersionState::kAvailable && !status.error.ok()) {
    // It serves well; what was to take its place does not.
    reported.error_message = std::string(Message(status.error));
  }
  return reported;
}

StatusOr<std::vector<ReportedVersion>> ReportModel(const Manager& manager, std::string_view model,
                                                   std::optional<int64_t> version) {
  SY_ASSIGN_OR_RETURN(const ModelStatus status, manager.StatusOf(model));
  const int64_t wanted = version.value_or(0);
  std::vector<ReportedVersion> reported;
  for (const VersionStatus& entry : status.versions) {
    if (wanted == 0 || entry.version == wanted) reported.push_back(Report(entry));
  }
  if (reported.empty() && wanted != 0) {
    return Error(StatusCode::kNotFound, "Model with requested version is not found - Name: {}; Version: {}", model, wanted);
  }
  return reported;
}

}  // namespace switchyard::tfs
