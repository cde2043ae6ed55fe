#include "control/wanted_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "config/text.h"

namespace switchyard {
namespace {

// Where of a model's entry the name stands; empty when it does not.
std::string PlaceOf(const std::string& name, const ModelSettings& model) {
  if (model.name == name) return "/name";
  const auto found = std::find(model.aliases.begin(), model.aliases.end(), name);
  return found == model.aliases.end() ? "" : fmt::format("/aliases/{}", found - model.aliases.begin());
}

}  // namespace

std::set<std::string> WantedSet::SetFile(std::vector<ModelSettings> models, std::vector<FaultyModel> faulty) {
  std::map<std::string, ModelSettings> file;
  for (ModelSettings& model : models) {
    std::string name = model.name;
    file.emplace(std::move(name), std::move(model));
  }
  std::set<std::string> changed;
  for (const auto& [name, settings] : file) {
    const auto before = file_.find(name);
    if (before == file_.end() || !(before->second == settings)) changed.insert(name);
  }
  for (const auto& [name, settings] : file_) {
    if (file.count(name) == 0) changed.insert(name);
  }
  for (const auto& [name, model] : faulty_) changed.insert(name);
  faulty_.clear();
  for (FaultyModel& model : faulty) {
    changed.insert(model.name);
    std::string name = model.name;
    faulty_.emplace(std::move(name), std::move(model));
  }
  file_ = std::move(file);
  for (const std::string& name : changed) {
    // Where only the API loads, an entry that changed stays loaded, as it is now; one that is gone goes.
    const auto said = said_.find(name);
    if (said == said_.end()) continue;
    said->second.settings.reset();
    if (!only_asked_ || file_.count(name) == 0) said_.erase(said);
  }
  return changed;
}

bool WantedSet::HasEntry(const ModelSettings& settings) const {
  const auto entry = file_.find(settings.name);
  return entry != file_.end() && entry->second == settings;
}

void WantedSet::Load(ModelSettings settings) {
  Said& said = said_[settings.name];
  said.load = true;
  said.settings = std::move(settings);
}

std::optional<WantedSet::Said> WantedSet::LastWord(const std::string& name) const {
  const auto said = said_.find(name);
  return said == said_.end() ? std::nullopt : std::optional<Said>(said->second);
}

void WantedSet::Restore(const std::string& name, std::optional<Said> before) {
  said_.erase(name);
  if (before) said_.emplace(name, *std::move(before));
}

const ModelSettings* WantedSet::Known(const std::string& name) const {
  const auto said = said_.find(name);
  if (said != said_.end() && said->second.settings) return &*said->second.settings;
  const auto found = file_.find(name);
  return found == file_.end() ? nullptr : &found->second;
}

std::string WantedSet::OwnName(const std::string& name) const {
  const std::set<std::string> names = Names();
  if (names.contains(name)) return name;
  for (const std::string& one : names) {
    const ModelSettings* const known = Known(one);
    if (known != nullptr && std::find(known->aliases.begin(), known->aliases.end(), name) != known->aliases.end()) return one;
  }
  return name;
}

const FaultyModel* WantedSet::Faulty(const std::string& name) const {
  const auto found = faulty_.find(name);
  return found == faulty_.end() ? nullptr : &found->second;
}

std::set<std::string> WantedSet::Names() const {
  std::set<std::string> names;
  for (const auto& [name, settings] : file_) names.insert(name);
  for (const auto& [name, model] : faulty_) names.insert(name);
  for (const auto& [name, said] : said_) names.insert(name);
  return names;
}

bool WantedSet::IsWanted(const std::string& name) const {
  const auto said = said_.find(name);
  return said == said_.end() ? !only_asked_ : said->second.load;
}

std::vector<ModelSettings> WantedSet::Models() const {
  std::vector<ModelSettings> models;
  for (const std::string& name : Names()) {
    const ModelSettings* const settings = Known(name);
    if (settings != nullptr && IsWanted(name)) models.push_back(*settings);
  }
  return models;
}

std::vector<FaultyModel> WantedSet::FaultyModels() const {
  std::vector<FaultyModel> models;
  for (const auto& [name, model] : faulty_) {
    if (Known(name) == nullptr && IsWanted(name)) models.push_back(model);
  }
  return models;
}

std::optional<ConfigFault> WantedSet::Conflict(const std::vector<CheckedModel>& asked, std::string pointer) const {
  std::map<std::string, std::string> taken;  // to whose it is
  const std::vector<ModelSettings> models = Models();
  for (const ModelSettings& model : models) taken.emplace(model.name, model.name);
  for (const ModelSettings& model : models) {
    for (const std::string& alias : model.aliases) {
      const auto [owner, is_new] = taken.emplace(alias, model.name);
      if (is_new) continue;
      const auto shown = [this](const std::string& name) {
        const auto said = said_.find(name);
        return Quote(name) + (said != said_.end() && said->second.settings ? ", which a call loaded" : "");
      };
      for (const CheckedModel& one : asked) {
        if (const std::string place = PlaceOf(alias, one.settings); !place.empty()) pointer = one.pointer + place;
      }
      return ConfigFault{std::move(pointer), "names that no other model has",
                         fmt::format("the alias {} of model {}, and the same name of model {}; give one of them another, or "
                                     "unload a model",
                                     Quote(alias), shown(model.name), shown(owner->second))};
    }
  }
  return std::nullopt;
}

}  // namespace switchyard
