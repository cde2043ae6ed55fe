// What every subcommand says on stderr, and with what it ends.
#pragma once

#include <atomic>
#include <string_view>

#include "config/command_line.h"

namespace switchyard {

// Writes "switchyard COMMAND: TEXT" and a new line to stderr.
void Tell(std::string_view command, std::string_view text);

// Of a command that was ended by a signal, as a shell has it for Ctrl-C.
inline constexpr int kExitInterrupted = 130;

// From now on SIGINT and SIGTERM set what this returns, which is false at first, and end nothing by themselves: the command
// cleans up and ends. A second signal ends the process as it always does, for a step that takes too long.
const std::atomic<bool>& CatchInterrupts();
// How a command ends that failed so: kExitInterrupted where it was cancelled, else kExitFailure.
int ExitOf(const Status& failure);

// Tells it, and returns `exit_code` for the command's end.
int Fail(std::string_view command, int exit_code, std::string_view message);

}  // namespace switchyard
