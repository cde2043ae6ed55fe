#include "tools/plan.h"

#include <unistd.h>

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/log.h"
#include "config/command_line.h"
#include "protocol/rest/ledger.h"
#include "tools/command.h"
#include "tools/files.h"
#include "tools/graph_page.h"
#include "tools/model_flags.h"
#include "tools/plan_trial.h"

namespace switchyard {
namespace {

constexpr std::string_view kPlanHelp =
    "Tells what a server would make of a model: loads it once for each device that its target names, and prints where it\n"
    "runs, what came of the settings, and why that is not what was asked for.\n\n"
    "switchyard plan --model_path PATH [--target_device TARGET] [--plugin_config JSON] [--json] [--html FILE]\n"
    "  --json        print the object of GET /v1/models/{model}/placement\n"
    "  --html FILE   write a page with the model's graph, coloured by device; it needs nothing but a browser\n"
    "All flags about one model, --device_plugin, --cpu_extension, --cache_dir and --strict are those of the server: see\n"
    "`switchyard --help`. Exit code: 0, 1 when the model cannot be served (with the reason), 64 when the command line is at\n"
    "fault.\n";

struct PlanArguments {
  std::vector<std::string> server;  // for the server's own parser
  std::optional<std::string> html;  // the file's path
  bool json = false;
  bool help = false;
  bool config_file = false;
};

bool Is(std::string_view argument, std::string_view flag) {
  return argument == flag || (argument.starts_with(flag) && argument.substr(flag.size()).starts_with('='));
}

PlanArguments SortPlanArguments(int argc, const char* const* argv) {
  PlanArguments sorted;
  sorted.server.emplace_back(argv[0]);
  for (int i = 2; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--json") {
      sorted.json = true;
    } else if (argument == "--html") {
      const bool follows = i + 1 < argc && !std::string_view(argv[i + 1]).starts_with("--");
      sorted.html = follows ? argv[++i] : "";
    } else if (argument.starts_with("--html=")) {
      sorted.html = argument.substr(std::string_view("--html=").size());
    } else if (argument == "--help" || argument == "-h") {
      sorted.help = true;
    } else {
      sorted.config_file = sorted.config_file || Is(argument, "--config_path");
      sorted.server.emplace_back(argument);
    }
  }
  return sorted;
}

int ReportPlan(const PlanArguments& arguments, const ServerSettings& settings, Runtime& runtime) {
  PlanGraph drawn;
  const auto progress = [](const std::string& step) { Tell("plan", step); };
  const auto report = TryPlan(settings, runtime, progress, arguments.html ? &drawn : nullptr);
  if (!report.ok()) {
    return Fail("plan", kExitFailure, fmt::format("model {}: {}", settings.models.front().name, Message(report.status())));
  }
  if (arguments.html) {
    const GraphPageText about = {
        .title = settings.models.front().base_path, .target = drawn.target, .summary = PlanText(*report)};
    if (const Status written = WriteFile(*arguments.html, GraphPage(about, drawn.graph)); !written.ok()) {
      return Fail("plan", kExitFailure, fmt::format("--html {}", Message(written)));
    }
  }
  const std::string text = arguments.json ? EncodePlacement(*report) + "\n" : PlanText(*report);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kExitOk;
}

}  // namespace

int RunPlan(int argc, const char* const* argv, PlanRuntimeFactory make_runtime) {
  const PlanArguments arguments = SortPlanArguments(argc, argv);
  if (arguments.help) {
    std::fwrite(kPlanHelp.data(), 1, kPlanHelp.size(), stdout);
    return kExitOk;
  }
  if (arguments.config_file) {
    return Fail("plan", kExitUsage,
                "--config_path: a plan is made of one model; give --model_path and the model's flags instead");
  }
  if (arguments.html && arguments.html->empty())
    return Fail("plan", kExitUsage, "--html: expected the path of the file to write");
  LogToStderr();  // from the first warning about a flag on: the answer alone is on stdout
  const auto parsed = ParseModelFlags("plan", arguments.server);
  if (const auto* error = std::get_if<SettingsError>(&parsed)) return Fail("plan", error->exit_code, error->message);
  const auto& settings = std::get<ServerSettings>(parsed);
  const auto runtime = make_runtime(settings);
  if (!runtime.ok()) return Fail("plan", kExitFailure, Message(runtime.status()));
  const int code = ReportPlan(arguments, settings, **runtime);
  std::fflush(stdout);
  // A compiler that did not return is still at work, and the ends of drivers are known to hang.
  _exit(code);
}

}  // namespace switchyard
