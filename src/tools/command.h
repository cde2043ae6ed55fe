// What every subcommand says on stderr, and with what it ends.
#pragma once

#include <string_view>

#include "config/command_line.h"

namespace switchyard {

// Writes "switchyard COMMAND: TEXT" and a new line to stderr.
void Tell(std::string_view command, std::string_view text);

// Tells it, and returns `exit_code` for the command's end.
int Fail(std::string_view command, int exit_code, std::string_view message);

}  // namespace switchyard
