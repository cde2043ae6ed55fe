// The Manager's part that tells what its models are.
#include <utility>

#include "serving/executor.h"
#include "serving/model_map.h"

namespace switchyard {

ModelStatus Manager::StatusOf(const std::string& name, const Model& model) const {
  ModelStatus status{name, {}, model.labels, model.aliases, model.settings.version_policy};
  for (const auto& [number, entry] : model.entries) {
    VersionStatus version{number, entry.state, entry.error, entry.untaken};
    if (entry.slot != nullptr) {
      // A version that is loaded anew after a change goes on serving; one that no device serves does not.
      const Version& loaded = *entry.slot->get();
      version.state = loaded.executor().serving() ? VersionState::kAvailable : VersionState::kLoading;
      if (version.state == VersionState::kLoading) version.error = loaded.placer()->Why();
      if (version.error.ok()) version.error = model.fault;  // why it is no newer one
    }
    status.versions.push_back(version);
  }
  if (status.versions.empty()) {
    status.versions.push_back(VersionStatus{0, model.fault.ok() ? VersionState::kWanted : VersionState::kFailed, model.fault});
  }
  return status;
}

std::vector<ModelStatus> Manager::Statuses() const {
  MutexLock lock(&mutex_);
  std::vector<ModelStatus> statuses;
  for (const auto& [name, model] : models_) {
    const auto led = alias_led_to_.find(name);
    if (led == alias_led_to_.end() || led->second == name) statuses.push_back(StatusOf(name, *model));
  }
  return statuses;
}

StatusOr<ModelStatus> Manager::StatusOf(std::string_view name) const {
  MutexLock lock(&mutex_);
  const auto led = alias_led_to_.find(name);
  const auto model = led == alias_led_to_.end() ? models_.find(name) : models_.find(led->second);
  if (model == models_.end()) return Error(StatusCode::kNotFound, "Model with requested name is not found - Name: {}", name);
  return StatusOf(model->first, *model->second);
}

}  // namespace switchyard
