// The command line, OVMS's flags and ours, to settings. Parses and validates; opens nothing but the config file.
#pragma once

#include <string>
#include <variant>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

// Exit codes of the program, as OVMS has them (sysexits' EX_USAGE).
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 64;

struct CommandLine {
  enum class Action { kServe, kPrintAndExit };
  Action action = Action::kServe;
  std::string text;         // what kPrintAndExit prints on stdout: help or version
  ServerSettings settings;  // kServe
};

// What went wrong while settings were made: `exit_code` is kExitUsage for a faulty command line, kExitFailure for a faulty
// config file. The message says what was expected, what came, and what to do.
struct SettingsError {
  int exit_code = kExitUsage;
  std::string message;
  std::string ready_file = {};  // of the server that does not start; empty: none, or the command line could not be read
};

// `versions` is what --version prints after the program's own.
std::variant<CommandLine, SettingsError> ParseCommandLine(int argc, const char* const* argv, const std::string& versions);

}  // namespace switchyard
