// One entry of model_config_list to settings. For those who parse or judge config.json.
#pragma once

#include <rapidjson/document.h>

#include <string>

#include "base/status.h"
#include "config/model_values.h"
#include "config/settings.h"

namespace switchyard {

// `model->name` is set already. The entry's types are right: the schema has judged. The error begins with the key at fault
// and ": ".
Status ReadModelEntry(const rapidjson::Value& entry, const std::string& base_dir, ModelSettings* model,
                      Warnings warnings = Warnings::kLog);

}  // namespace switchyard
