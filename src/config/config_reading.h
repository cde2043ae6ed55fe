// A configuration judged whole: every fault at once, where config_file.h stops at the first.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/config_fault.h"
#include "config/config_file.h"
#include "config/settings.h"

namespace switchyard {

// One model of a file that is being judged whole.
struct CheckedModel {
  ModelSettings settings;             // what could be read; faulty keys have their defaults
  std::string pointer;                // of its entry: "/model_config_list/0/config"
  std::set<std::string> faulty_keys;  // with a fault in the list already
};

struct ConfigReading {
  std::vector<ConfigFault> faults;  // empty: `file` is what ParseConfigFile makes of it, and no model of it is faulty
  std::vector<CheckedModel> models;
  ConfigFile file;  // where there are faults, what is good of "server"
};

// Judges every value of a file, not only up to its first fault: syntax, schema, values, and names that are there twice.
// `strict`: what would be a warning about settings is a fault.
ConfigReading ReadWholeConfig(std::string_view text, const std::string& base_dir, bool strict = false);

// One model's entry alone, JSON text of what stands under "config". Its name is `name`; an entry that gives another is faulty,
// as is one without base_path when `default_path` is empty. Pointers are from the entry: "/nireq".
struct EntryReading {
  std::vector<ConfigFault> faults;
  CheckedModel model;
};
EntryReading ReadModelEntry(std::string_view text, const std::string& name, const std::string& default_path,
                            const std::string& base_dir, bool strict = false);

}  // namespace switchyard
