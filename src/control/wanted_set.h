// What is to be served: config.json's models, and what the API said of models since. For each model the last word counts.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/config_reading.h"
#include "config/settings.h"

namespace switchyard {

// A plain value: a change is tried on a copy. Not thread-safe.
class WantedSet {
 public:
  // `only_asked`: config.json's models are served only when the API asked for them.
  explicit WantedSet(bool only_asked = false) : only_asked_(only_asked) {}

  // The models of config.json. Of a model whose entry is new, changed or gone, what the API said is forgotten. Returns the
  // names of those.
  std::set<std::string> SetFile(std::vector<ModelSettings> models, std::vector<FaultyModel> faulty);

  // The API's word: serve it with these settings, serve it as it is known, don't.
  void Load(ModelSettings settings);
  void LoadKnown(const std::string& name) { said_[name].load = true; }
  void Unload(const std::string& name) { said_[name].load = false; }

  // What the API said last of a model; nothing when it said nothing.
  struct Said {
    bool load = false;
    std::optional<ModelSettings> settings;  // in place of the file's
    friend bool operator==(const Said&, const Said&) = default;
  };
  std::optional<Said> LastWord(const std::string& name) const;
  // Takes the last word back: as if it had been `before`.
  void Restore(const std::string& name, std::optional<Said> before);

  // The settings of a model that is served or could be; null when there are none.
  const ModelSettings* Known(const std::string& name) const;
  // The model that has the alias, where no model has that name; else the name itself.
  std::string OwnName(const std::string& name) const;
  // Whether config.json has an entry with these very settings.
  bool HasEntry(const ModelSettings& settings) const;
  // Why config.json's entry cannot be served; null when it can, or is not there.
  const FaultyModel* Faulty(const std::string& name) const;
  // Of every model that is known, faulty ones too.
  std::set<std::string> Names() const;

  // What the Manager is to be given.
  std::vector<ModelSettings> Models() const;
  std::vector<FaultyModel> FaultyModels() const;
  // Of two models that would be served under one name or alias: at the one of `asked` that has it, else at `pointer`.
  std::optional<ConfigFault> Conflict(const std::vector<CheckedModel>& asked, std::string pointer) const;

 private:
  bool IsWanted(const std::string& name) const;

  bool only_asked_;
  std::map<std::string, ModelSettings> file_;
  std::map<std::string, FaultyModel> faulty_;
  std::map<std::string, Said> said_;
};

}  // namespace switchyard
