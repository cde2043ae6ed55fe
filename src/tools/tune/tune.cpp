#include "tools/tune/tune.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "base/log.h"
#include "config/command_line.h"
#include "config/flags.h"
#include "config/model_values.h"
#include "config/text.h"
#include "device/cpu_facts.h"
#include "device/property_rules.h"
#include "device/system_view.h"
#include "device/target.h"
#include "tools/command.h"
#include "tools/entry_flags.h"
#include "tools/files.h"
#include "tools/model_flags.h"
#include "tools/plan_trial.h"
#include "tools/tune/model_trials.h"
#include "tools/tune/report.h"
#include "tools/tune/search.h"

namespace switchyard {
namespace {

using tune::Objective;

constexpr std::string_view kTuneHelp =
    "Finds the best settings of a model on this machine by measuring: device, hint, streams, threads, precision, batch and\n"
    "infer requests. What it loads and calls is what a server would, without the network.\n\n"
    "switchyard tune --model_path PATH [--target_device TARGET] [--objective throughput|latency|goodput] [...]\n"
    "  --objective NAME        throughput (default): inferences per second with every infer request busy; latency: the median\n"
    "                          of one call at a time; goodput: inferences per second while p99 stays within --p99_ms\n"
    "  --p99_ms N              the limit for goodput (default 20), and for that alone\n"
    "  --time_budget TIME      90s, 2m or seconds (default 60s)\n"
    "  --max_error E           the largest difference from what the CPU computes with f32, over the largest magnitude of that\n"
    "                          output; default 1e-3, or the default settings' own difference where that is larger\n"
    "  --input NAME=VALUE      as for `switchyard infer`: @file, JSON or random (default); may be repeated\n"
    "  --input_shape NAME=1,8  the shape of a random input, where the model leaves it open; may be repeated\n"
    "  --output FILE           write a config.json with the best settings, and beside it a picture (FILE with .svg)\n"
    "  --svg FILE              write the picture, throughput against latency, there\n"
    "  --json                  print a JSON object instead of the table\n"
    "All flags about one model, --device_plugin, --cpu_extension, --cache_dir and --strict are those of the server: see\n"
    "`switchyard --help`. Without --target_device every device is tried. Ctrl-C ends it with what was measured until then,\n"
    "as soon as a load that goes on has ended; a second one ends it at once.\n"
    "A model that keeps state between calls cannot be tuned, but with --stateful false.\n";

struct TuneArguments {
  std::vector<std::string> server;  // for the server's own parser
  tune::SearchOptions search;
  tune::ModelTrials::InputOptions inputs;
  std::string output;
  std::string svg;
  bool json = false;
  bool help = false;
  bool p99_given = false;
};

StatusOr<double> ParsePositive(std::string_view flag, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value > 0) || !std::isfinite(value)) {
    return InvalidArgument("--{}: expected a number above 0, got {}", flag, Quote(text));
  }
  return value;
}

StatusOr<std::chrono::duration<double>> ParseTime(std::string_view text) {
  double unit = 1;
  std::string_view number = text;
  if (number.ends_with('s')) {
    number.remove_suffix(1);
  } else if (number.ends_with('m')) {
    number.remove_suffix(1);
    unit = 60;
  }
  const StatusOr<double> value = ParsePositive("time_budget", number);
  if (!value.ok() || *value * unit < 1 || *value * unit > 86400) {
    return InvalidArgument("--time_budget: expected a time from 1s to 1440m, such as 60s or 5m, got {}", Quote(text));
  }
  return std::chrono::duration<double>(*value * unit);
}

StatusOr<std::pair<std::string, std::string>> ParsePair(std::string_view flag, std::string_view text) {
  const size_t at = text.find('=');
  if (at == 0 || at == std::string_view::npos || at + 1 == text.size()) {
    return InvalidArgument("--{}: expected NAME=VALUE, got {}", flag, Quote(text));
  }
  return std::pair(std::string(text.substr(0, at)), std::string(text.substr(at + 1)));
}

Status Take(std::string_view flag, const std::string& value, TuneArguments* arguments) {
  if (flag == "objective") {
    for (const Objective objective : {Objective::kThroughput, Objective::kLatency, Objective::kGoodput}) {
      if (value != tune::Name(objective)) continue;
      arguments->search.objective = objective;
      return absl::OkStatus();
    }
    return InvalidArgument("--objective: expected throughput, latency or goodput, got {}", Quote(value));
  }
  if (flag == "p99_ms") {
    SY_ASSIGN_OR_RETURN(arguments->search.p99_ms, ParsePositive(flag, value));
    arguments->p99_given = true;
  } else if (flag == "time_budget") {
    SY_ASSIGN_OR_RETURN(arguments->search.time_budget, ParseTime(value));
  } else if (flag == "max_error") {
    SY_ASSIGN_OR_RETURN(arguments->search.max_error, ParsePositive(flag, value));
  } else if (flag == "input") {
    SY_ASSIGN_OR_RETURN(auto pair, ParsePair(flag, value));
    arguments->inputs.texts.insert_or_assign(std::move(pair.first), std::move(pair.second));
  } else if (flag == "input_shape") {
    SY_ASSIGN_OR_RETURN(const auto pair, ParsePair(flag, value));
    SY_ASSIGN_OR_RETURN(const PartialShape shape, ParseShape(fmt::format("({})", Trim(pair.second))));
    if (!shape.is_static()) return InvalidArgument("--input_shape: expected numbers such as 1,128, got {}", Quote(pair.second));
    arguments->inputs.shapes.insert_or_assign(pair.first, shape.ToShape());
  } else {
    (flag == "output" ? arguments->output : arguments->svg) = value;
    if (value.empty()) return InvalidArgument("--{}: expected the path of the file to write", flag);
  }
  return absl::OkStatus();
}

StatusOr<TuneArguments> SortTuneArguments(int argc, const char* const* argv) {
  TuneArguments sorted;
  sorted.server.emplace_back(argv[0]);
  for (int i = 2; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const size_t equals = argument.find('=');
    const std::string_view name = argument.substr(0, equals);
    bool own = false;
    for (const std::string_view flag :
         {"objective", "p99_ms", "time_budget", "max_error", "input", "input_shape", "output", "svg"}) {
      if (name.size() != flag.size() + 2 || !name.starts_with("--") || name.substr(2) != flag) continue;
      own = true;
      if (equals == std::string_view::npos && i + 1 >= argc) return InvalidArgument("--{}: a value is missing", flag);
      const std::string value(equals != std::string_view::npos ? argument.substr(equals + 1) : std::string_view(argv[++i]));
      SY_RETURN_IF_ERROR(Take(flag, value, &sorted));
    }
    if (own) continue;
    if (argument == "--json") {
      sorted.json = true;
    } else if (argument == "--help" || argument == "-h") {
      sorted.help = true;
    } else if (name == "--config_path") {
      return InvalidArgument("--config_path: one model is tuned at a time; give --model_path and the model's flags instead");
    } else {
      sorted.server.emplace_back(argument);
    }
  }
  if (sorted.p99_given && sorted.search.objective != Objective::kGoodput) {
    return InvalidArgument("--p99_ms: it is the limit of --objective goodput; expected that beside it, got --objective {}",
                           tune::Name(sorted.search.objective));
  }
  if (!sorted.output.empty() && sorted.svg.empty()) {
    sorted.svg =
        sorted.output.substr(0, sorted.output.ends_with(".json") ? sorted.output.size() - 5 : sorted.output.size()) + ".svg";
  }
  return sorted;
}

// The entry of config.json that the flags amount to.
StatusOr<rapidjson::Document> EntryOf(const TuneArguments& arguments) {
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments.server) pointers.push_back(argument.c_str());
  SY_ASSIGN_OR_RETURN(const GivenFlags flags, GivenFlags::Parse(static_cast<int>(pointers.size()), pointers.data()));
  rapidjson::Document entry(rapidjson::kObjectType);
  SY_RETURN_IF_ERROR(AddEntryFlags(flags, entry.GetAllocator(), &entry));
  return entry;
}

// What has no key in config.json.
void AddExtensionNotes(const ServerSettings& settings, std::vector<std::string>* notes) {
  for (const auto& [flag, path] : {std::pair("cpu_extension", settings.cpu_extension),
                                   std::pair("tokenizers_extension", settings.tokenizers_extension)}) {
    if (!path.empty()) notes->push_back(fmt::format("It was measured with --{0} {1}: start the server with it", flag, path));
  }
}

int ReportTuned(tune::Result result, const TuneArguments& arguments, const ServerSettings& settings) {
  AddExtensionNotes(settings, &result.notes);
  const std::string text =
      arguments.json ? tune::ResultJson(result, arguments.search) : tune::ResultText(result, arguments.search);
  std::fwrite(text.data(), 1, text.size(), stdout);
  const auto write = [](const std::string& path, const std::string& content) {
    const Status written = path.empty() ? absl::OkStatus() : WriteFile(path, content);
    if (!written.ok()) Fail("tune", kExitFailure, Message(written));
    return written.ok();
  };
  const auto entry = EntryOf(arguments);
  if (!entry.ok()) return Fail("tune", kExitUsage, Message(entry.status()));
  const bool written = write(arguments.output, tune::ConfigText(result, arguments.search, *entry, settings.device_plugins));
  return write(arguments.svg, tune::ResultSvg(result)) && written ? kExitOk : kExitFailure;
}

// What no candidate would change, found before the time is spent.
Status CheckFirst(const TuneArguments& arguments, const ModelSettings& model, Runtime& runtime) {
  for (const std::string& path : {arguments.output, arguments.svg}) {
    if (path.empty()) continue;
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) {
      return InvalidArgument("--{}: expected a file, got the folder {}", path == arguments.output ? "output" : "svg",
                             Quote(path));
    }
    if (!folder.empty() && !std::filesystem::is_directory(folder, error)) {
      return Error(StatusCode::kNotFound, "--{}: expected a file in a folder that is there, got {}",
                   path == arguments.output ? "output" : "svg", Quote(path));
    }
    if (const Status writable = CheckWritable(path); !writable.ok()) {
      return Annotate(writable, path == arguments.output ? "--output" : "--svg");
    }
  }
  SY_ASSIGN_OR_RETURN(const VersionFiles files, PickVersion(model));
  if (model.stateful.has_value() && !*model.stateful) return absl::OkStatus();
  const LoadRequest request{.settings = model, .version = files.version, .model_path = files.model_path, .target = "CPU"};
  const StatusOr<ModelGraph> graph = runtime.Graph(request);
  if (!graph.ok()) return absl::OkStatus();  // the trials say what is wrong, or do without the CPU
  if (!KeepsState(*graph)) return absl::OkStatus();
  return InvalidArgument(
      "the model keeps state between calls (it has variables), and what is measured are calls that belong to no sequence: it "
      "cannot be tuned; --stateful false measures it with a fresh state for each call");
}

int RunTrials(TuneArguments& arguments, const ServerSettings& settings, Runtime& runtime,
              const std::atomic<bool>& interrupted) {
  const auto cores = static_cast<size_t>(std::max(1, ReadCpuFacts(SystemView::Own()).usable()));
  arguments.search.cores = cores;
  ModelSettings base = settings.models.front();
  std::error_code error;
  // What is written may lie in another folder.
  if (base.base_path.find("://") == std::string::npos)
    base.base_path = std::filesystem::absolute(base.base_path, error).string();
  if (const StatusOr<Target> target = ParseTarget(base.target_device); target.ok() && target->kind == Target::Kind::kDevice) {
    base.target_device = CanonicalDevice(base.target_device);
  }
  if (const Status checked = CheckFirst(arguments, base, runtime); !checked.ok()) {
    return Fail("tune", kExitFailure, fmt::format("model {}: {}", base.name, Message(checked)));
  }
  const auto candidates = tune::MakeCandidates(base, runtime.Devices(kListLimit).found, {arguments.search.objective, cores});
  ThreadTimer timer;
  tune::ModelTrials trials(settings, runtime, timer, arguments.inputs, cores, interrupted);
  const auto progress = [](const std::string& step) { Tell("tune", step); };
  auto result = tune::Search(candidates, trials, timer, arguments.search, progress, interrupted);
  if (!result.ok()) {
    return Fail("tune", ExitOf(result.status()), fmt::format("model {}: {}", base.name, Message(result.status())));
  }
  return ReportTuned(*std::move(result), arguments, settings);
}

}  // namespace

int RunTune(int argc, const char* const* argv, const TuneRuntimeFactory& make_runtime) {
  StatusOr<TuneArguments> arguments = SortTuneArguments(argc, argv);
  if (!arguments.ok()) return Fail("tune", kExitUsage, Message(arguments.status()));
  if (arguments->help) {
    std::fwrite(kTuneHelp.data(), 1, kTuneHelp.size(), stdout);
    return kExitOk;
  }
  LogToStderr();  // from the first warning about a flag on: the answer alone is on stdout
  auto parsed = ParseModelFlags("tune", arguments->server);
  if (const auto* error = std::get_if<SettingsError>(&parsed)) return Fail("tune", error->exit_code, error->message);
  auto& settings = std::get<ServerSettings>(parsed);
  for (ModelSettings& model : settings.models) {
    // What is given under an old name is kept to as well.
    std::vector<std::string> notes;
    model.plugin_config = WithoutOldNames(model.plugin_config, &notes);
    for (const std::string& note : notes) LogWarning("{}", note);
  }
  const std::atomic<bool>& interrupted = CatchInterrupts();
  const auto runtime = make_runtime(settings);
  if (!runtime.ok()) return Fail("tune", kExitFailure, Message(runtime.status()));
  return RunTrials(*arguments, settings, **runtime, interrupted);
}

}  // namespace switchyard
