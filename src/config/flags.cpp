#include "config/flags.h"

#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "config/text.h"

namespace switchyard {
namespace {

constexpr size_t kHelpColumn = 38;
constexpr size_t kHelpWidth = 110;
constexpr size_t kCommandHelpColumn = 73;

std::vector<std::string_view> ServedNames() {
  std::vector<std::string_view> names;
  for (const FlagGroup& group : FlagGroups()) {
    for (const FlagSpec& flag : group.flags) names.push_back(flag.name);
  }
  return names;
}

bool Contains(const std::vector<std::string_view>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void AppendWrapped(std::string_view text, size_t column, std::string* out) {
  size_t used = column;
  for (const std::string_view word : Split(text, ' ')) {
    if (used > column && used + 1 + word.size() > kHelpWidth) {
      *out += '\n';
      out->append(column, ' ');
      used = column;
    } else if (used > column) {
      *out += ' ';
      ++used;
    }
    *out += word;
    used += word.size();
  }
  *out += '\n';
}

// `--name=value` and `--name` alike; a single dash is a common slip.
std::string NameOf(std::string_view argument) {
  const size_t begin = std::min(argument.find_first_not_of('-'), argument.size());
  return std::string(argument.substr(
      begin, argument.find('=') == std::string_view::npos ? std::string_view::npos : argument.find('=') - begin));
}

Status UnknownCommand(std::string_view argument) {
  std::vector<std::string_view> names;
  for (const CommandSpec& command : Commands()) names.push_back(command.name);
  const std::string_view nearest = Nearest(argument, names);
  return InvalidArgument("{} is no command{}; the commands are {}, and a server is started by flags alone: see --help",
                         Quote(argument), nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest),
                         fmt::join(names, ", "));
}

// `first`: it is what stands behind the program's name, where a command would.
Status UnknownArgument(std::string_view argument, bool first) {
  if (argument.substr(0, 1) != "-" && first) return UnknownCommand(argument);
  if (argument.substr(0, 1) != "-") {
    return InvalidArgument("unexpected argument {}: expected flags, which begin with --; put values with blanks in quotes",
                           Quote(argument));
  }
  const std::string name = NameOf(argument);
  std::vector<std::string_view> known = ServedNames();
  known.insert(known.end(), UnservedFlags().begin(), UnservedFlags().end());
  const std::string_view nearest = Contains(known, name) ? std::string_view(name) : Nearest(name, known);
  const std::string shown = Quote(argument.substr(0, argument.find('=')));
  if (!nearest.empty())
    return InvalidArgument("unknown flag {}; did you mean --{}? See --help for all of them", shown, nearest);
  return InvalidArgument("unknown flag {}; see --help for all of them", shown);
}

// CLI11's own words are for its own vocabulary.
Status Reworded(const CLI::ParseError& error) {
  const std::string text = error.what();
  if (error.get_name() == "ArgumentMismatch" && text.rfind("--", 0) == 0) {
    return InvalidArgument("{} needs a value, and none came; see --help", text.substr(0, text.find(':')));
  }
  return InvalidArgument("{}; see --help", text);
}

// The values as they count, from all that were given.
StatusOr<std::vector<std::string>> ValuesOf(const FlagSpec& flag, std::vector<std::string> values) {
  const std::vector<std::string_view> served = ServedNames();
  for (std::string& value : values) {
    if (flag.value.empty() || flag.form == FlagSpec::Form::kYesNo) {
      if (flag.form == FlagSpec::Form::kYesNo && value.empty()) value = "true";
      if (value == "true" || value == "false") continue;
      if (flag.value.empty()) {
        return InvalidArgument("--{} is a switch: expected no value, true or false; got {}", flag.name, Quote(value));
      }
      return InvalidArgument("--{}: expected true or false, got {}", flag.name, Quote(value));
    }
    if (value.rfind("--", 0) == 0 && (Contains(served, NameOf(value)) || Contains(UnservedFlags(), NameOf(value)))) {
      return InvalidArgument("--{} needs a value, and the flag {} came", flag.name, Quote(value));
    }
  }
  if (flag.form != FlagSpec::Form::kRepeated) values.erase(values.begin(), values.end() - 1);
  return values;
}

}  // namespace

std::string HelpText() {
  std::string text = fmt::format(
      "Switchyard {}: serves models on the OpenVINO Runtime over KServe v2 and TensorFlow-Serving, gRPC and REST.\n\n"
      "Usage:\n"
      "  switchyard --model_name NAME --model_path PATH --port PORT [flags]     serve one model\n"
      "  switchyard --config_path FILE --port PORT --rest_port PORT [flags]     serve the models of a config file\n",
      SWITCHYARD_VERSION);
  for (const CommandSpec& command : Commands()) {
    const std::string usage = fmt::format("switchyard {} {}", command.name, command.arguments);
    text += fmt::format("  {:<{}}{}\n", usage, kCommandHelpColumn - 2, command.help);
  }
  text += "\nFlags are given as --flag value or --flag=value.\n";
  for (const FlagGroup& group : FlagGroups()) {
    text += fmt::format("\n{}:\n", group.title);
    for (const FlagSpec& flag : group.flags) {
      std::string left = fmt::format("  {}--{}", flag.name == "help" ? "-h, " : "", flag.name);
      if (flag.form == FlagSpec::Form::kYesNo) {
        left += fmt::format(" [{}]", flag.value);
      } else if (!flag.value.empty()) {
        left += fmt::format(" {}", flag.value);
      }
      if (left.size() + 2 > kHelpColumn) {
        text += left + "\n" + std::string(kHelpColumn, ' ');
      } else {
        text += fmt::format("{:<{}}", left, kHelpColumn);
      }
      const std::string help =
          flag.fallback.empty() ? std::string(flag.help) : fmt::format("{} [{}]", flag.help, flag.fallback);
      AppendWrapped(help, kHelpColumn, &text);
    }
  }
  return text;
}

StatusOr<GivenFlags> GivenFlags::Parse(int argc, const char* const* argv) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  std::vector<std::pair<const FlagSpec*, CLI::Option*>> options;
  for (const FlagGroup& group : FlagGroups()) {
    for (const FlagSpec& flag : group.flags) {
      const std::string name(flag.name);
      const std::string dashed = (name == "help" ? "-h,--" : "--") + name;
      // No type is given, so that every value arrives as it was written: "[1,2]", "(1,3)", "-1".
      CLI::Option* option = flag.value.empty() ? app.add_flag(dashed) : app.add_option(dashed);
      if (flag.form == FlagSpec::Form::kYesNo) option->expected(0, 1);
      // CLI11 keeps them all; which of them count is judged below.
      option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
      options.emplace_back(&flag, option);
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return Reworded(error);
  }

  // Values first: a flag that was taken for the value of the one before it explains what is left over.
  GivenFlags given;
  for (const auto& [flag, option] : options) {
    if (option->count() == 0) continue;
    SY_ASSIGN_OR_RETURN(given.values_[std::string(flag->name)], ValuesOf(*flag, option->results()));
  }
  for (const std::string& argument : app.remaining()) {
    const std::string name = argument.rfind("--", 0) == 0 ? NameOf(argument) : "";
    if (name.empty() || !Contains(UnservedFlags(), name)) {
      // What stands behind a flag that is not served may be its value; that flag is named below.
      if (!given.unserved_.empty() && argument.rfind("--", 0) != 0) continue;
      return UnknownArgument(argument, argument == argv[1]);
    }
    if (given.unserved_.empty()) given.unserved_ = name;
  }
  return given;
}

}  // namespace switchyard
