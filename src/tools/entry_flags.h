// The flags of one model as its entry in config.json has them.
#pragma once

#include <rapidjson/document.h>

#include <string_view>

#include "base/status.h"
#include "config/flags.h"

namespace switchyard {

// Is it a flag that an entry has as a key of the same name? Not model_name and model_path.
bool IsEntryFlag(std::string_view name);

// Adds every one of them that was given to `entry`, an object, in the form that config.json has it in. InvalidArgument: JSON
// that cannot be read.
Status AddEntryFlags(const GivenFlags& flags, rapidjson::Document::AllocatorType& memory, rapidjson::Value* entry);

}  // namespace switchyard
