// The flags of the one model that a tool works on, which are the server's.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/command_line.h"
#include "config/settings.h"

namespace switchyard {

// `arguments`: the program's name, and what is not a flag of the tool's own. By the server's parser, but neither a port nor a
// name for the model is asked for. The settings have exactly one model.
std::variant<ServerSettings, SettingsError> ParseModelFlags(std::string_view tool, std::vector<std::string> arguments);

}  // namespace switchyard
