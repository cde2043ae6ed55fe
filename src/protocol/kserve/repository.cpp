#include "protocol/kserve/repository.h"

#include <utility>

#include "config/text.h"

namespace switchyard::kserve {

Status CheckRepositoryName(std::string_view name) {
  if (name.empty()) return absl::OkStatus();
  return InvalidArgument("There is no repository {}; expected no repository_name, since there is one repository here",
                         Quote(name));
}

std::vector<IndexedModel> IndexOf(const ModelControl& control, bool only_ready) {
  std::vector<IndexedModel> index = control.Index();
  if (only_ready) std::erase_if(index, [](const IndexedModel& model) { return model.state != "READY"; });
  return index;
}

Status LoadParameters::AddText(const std::string& name, std::string text) {
  if (name != "config") return AddOther(name);
  config_ = std::move(text);
  return absl::OkStatus();
}

Status LoadParameters::AddOther(const std::string& name) const {
  if (name == "config") {
    return InvalidArgument("Parameter config: expected a string, the JSON text of the model's \"config\" in config.json");
  }
  if (name.starts_with("file:")) {
    return InvalidArgument(
        "Parameter {}: this server takes no model files by this call; put them where it can read them, and name the folder "
        "as base_path in the parameter config",
        Quote(name));
  }
  return InvalidArgument("Parameter {} is not known here; expected config", Quote(name));
}

Status CheckUnloadParameter(std::string_view name) {
  if (name == "unload_dependents") return absl::OkStatus();
  return InvalidArgument("Parameter {} is not known here; expected unload_dependents or none", Quote(name));
}

}  // namespace switchyard::kserve
