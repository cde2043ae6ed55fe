#include "protocol/kserve/metadata.h"

#include <charconv>

namespace switchyard::kserve {

std::vector<std::string_view> Extensions(const Manager& manager) {
  std::vector<std::string_view> names = {"binary_tensor_data", "logging",  "model_configuration",
                                         "model_repository",   "sequence", "statistics"};
  if (manager.shared_memory() != nullptr) names.push_back("system_shared_memory");
  return names;
}

VersionText ParseVersion(std::string_view version) {
  if (version.empty()) return {};
  int64_t number = 0;
  const auto [end, error] = std::from_chars(version.data(), version.data() + version.size(), number);
  // Also a number that is longer than any version's: the Manager says of it what it says of others.
  if (error != std::errc() || end != version.data() + version.size()) return {{}, {std::string(version), true}};
  return {number == 0 ? std::optional<int64_t>() : number, {}};
}

StatusOr<ModelDescription> DescribeModel(const Manager& manager, std::string_view name, std::string_view version) {
  const VersionText text = ParseVersion(version);
  ModelDescription description;
  SY_ASSIGN_OR_RETURN(description.version, manager.Acquire(name, text.number, text.label));
  SY_ASSIGN_OR_RETURN(const ModelStatus status, manager.StatusOf(name));
  for (const VersionStatus& entry : status.versions) {
    if (entry.state == VersionState::kAvailable) description.versions.push_back(std::to_string(entry.version));
  }
  return description;
}

StatusOr<bool> IsModelReady(const Manager& manager, std::string_view name, std::string_view version) {
  const VersionText text = ParseVersion(version);
  const auto labelled = manager.VersionOf(name, text.label);
  if (labelled.status().code() == StatusCode::kInvalidArgument) return labelled.status();
  return manager.ModelReady(name, text.number, text.label);
}

}  // namespace switchyard::kserve
