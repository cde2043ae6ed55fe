#include "tools/model_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace switchyard {

std::variant<ServerSettings, SettingsError> ParseModelFlags(std::string_view tool, std::vector<std::string> arguments) {
  const auto given = [&](std::string_view flag) {
    return std::any_of(arguments.begin() + 1, arguments.end(), [&](std::string_view argument) {
      return argument.starts_with(flag) && (argument.size() == flag.size() || argument[flag.size()] == '=');
    });
  };
  if (!given("--model_path")) {
    return SettingsError{kExitUsage,
                         fmt::format("expected --model_path PATH, a model's file or folder; see `switchyard {} --help`", tool)};
  }
  if (!given("--model_name")) arguments.insert(arguments.end(), {"--model_name", "model"});
  arguments.insert(arguments.end(), {"--port", "auto"});
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
  auto parsed = ParseCommandLine(static_cast<int>(pointers.size()), pointers.data(), "");
  if (auto* error = std::get_if<SettingsError>(&parsed)) return std::move(*error);
  CommandLine& line = std::get<CommandLine>(parsed);
  if (line.action == CommandLine::Action::kPrintAndExit || line.settings.models.size() != 1) {
    return SettingsError{kExitUsage, fmt::format("expected the flags of one model; see `switchyard {} --help`", tool)};
  }
  return std::move(line.settings);
}

}  // namespace switchyard
