// What both of KServe's front ends say and refuse about the model repository.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "control/model_control.h"

namespace switchyard::kserve {

// There is one repository, without a name.
Status CheckRepositoryName(std::string_view name);

// The models, or only those that are ready.
std::vector<IndexedModel> IndexOf(const ModelControl& control, bool only_ready);

// What the parameters of a load ask for: `config`, the text of a model's entry as config.json has it under "config". Files
// that are sent along, and whatever else, are InvalidArgument.
class LoadParameters {
 public:
  Status AddText(const std::string& name, std::string text);
  // Of another type than text.
  Status AddOther(const std::string& name) const;
  std::optional<std::string> TakeConfig() { return std::move(config_); }

 private:
  std::optional<std::string> config_;
};

// Of an unload: `unload_dependents` is taken, and there are none.
Status CheckUnloadParameter(std::string_view name);

}  // namespace switchyard::kserve
