// config.json to model settings. The schema published in api/config.schema.json is the first judge: a fault of it condemns the
// whole file. A fault of one model's values (a shape that cannot be read) condemns that model alone.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "config/model_values.h"
#include "config/settings.h"

namespace switchyard {

// A larger config file is refused.
inline constexpr size_t kMaxConfigFileBytes = size_t{64} << 20;

struct ConfigFile {
  // Of two entries with one name the first counts, faulty or not; the other is left out, with a warning in the log.
  std::vector<ModelSettings> models;
  std::vector<FaultyModel> faulty_models;
  ServerConfig server;
  std::string text = {};  // as it was read; of LoadConfigFile alone
};

// `base_dir`: the folder of the file, against which relative paths are resolved. The error names the JSON pointer, what
// was expected and what came: `/model_config_list/0/config/nireq: expected a non-negative integer, got the string "two"`.
StatusOr<ConfigFile> ParseConfigFile(std::string_view text, const std::string& base_dir, Warnings warnings = Warnings::kLog);
// Reads the file and parses it. Blocks on the file. Errors begin with the path.
StatusOr<ConfigFile> LoadConfigFile(const std::string& path, Warnings warnings = Warnings::kLog);

// The file's text. Blocks on the file. Errors begin with the path.
StatusOr<std::string> ReadConfigText(const std::string& path);

// plugin_config as JSON text (the command line's form).
StatusOr<PropertyMap> ParsePluginConfig(std::string_view json);

}  // namespace switchyard
