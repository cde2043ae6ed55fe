#include "protocol/kserve/metadata.h"

#include <charconv>

namespace switchyard::kserve {

StatusOr<std::optional<int64_t>> ParseVersion(std::string_view version) {
  if (version.empty()) return std::optional<int64_t>();
  int64_t number = 0;
  const auto [end, error] = std::from_chars(version.data(), version.data() + version.size(), number);
  // A number that no version has, however long it is.
  if (error == std::errc::result_out_of_range && end == version.data() + version.size()) return std::optional<int64_t>(-1);
  if (error != std::errc() || end != version.data() + version.size()) {
    return InvalidArgument("invalid model version format - Expected: a number, or nothing for the default version; Actual: {}",
                           version);
  }
  return number == 0 ? std::optional<int64_t>() : number;
}

StatusOr<ModelDescription> DescribeModel(const Manager& manager, std::string_view name, std::string_view version) {
  SY_ASSIGN_OR_RETURN(const std::optional<int64_t> number, ParseVersion(version));
  ModelDescription description;
  SY_ASSIGN_OR_RETURN(description.version, manager.Acquire(name, number));
  SY_ASSIGN_OR_RETURN(const ModelStatus status, manager.StatusOf(name));
  for (const VersionStatus& entry : status.versions) {
    if (entry.state == VersionState::kAvailable) description.versions.push_back(std::to_string(entry.version));
  }
  return description;
}

StatusOr<bool> IsModelReady(const Manager& manager, std::string_view name, std::string_view version) {
  SY_ASSIGN_OR_RETURN(const std::optional<int64_t> number, ParseVersion(version));
  return manager.ModelReady(name, number);
}

}  // namespace switchyard::kserve
