#include <cstdio>
#include <optional>
#include <string_view>
#include <variant>

#include "config/command_line.h"
#include "runtime/openvino/child_main.h"
#include "runtime/openvino/model_converter.h"
#include "runtime/openvino/openvino_runtime.h"
#include "server/ready_file.h"
#include "server/recorded_requests.h"
#include "server/server.h"
#include "tools/check.h"
#include "tools/config_edit.h"
#include "tools/convert.h"
#include "tools/devices.h"
#include "tools/infer.h"
#include "tools/plan.h"
#include "tools/pull/pull.h"
#include "tools/tune/tune.h"

namespace switchyard {
namespace {

void Print(std::FILE* stream, std::string_view text) { std::fwrite(text.data(), 1, text.size(), stream); }

int Main(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "infer") return RunInfer(argc, argv);
  if (command == "devices") {
    return RunDevices(argc, argv, [](const DevicePlugins& plugins) {
      return MakeOpenVinoRuntime({.cpu_extension = "", .device_plugins = plugins});
    });
  }
  const auto make_runtime = [](const ServerSettings& settings) { return MakeOpenVinoRuntime(OpenVinoOptions::From(settings)); };
  if (command == "plan") return RunPlan(argc, argv, make_runtime);
  if (command == "check") return RunCheck(argc, argv, make_runtime, ReadRecordedRequests);
  if (command == "tune") return RunTune(argc, argv, make_runtime);
  if (command == "convert") return RunConvert(argc, argv, MakeModelConverter);
  if (command == "pull") return RunPull(argc, argv);
  if (IsConfigEdit(argc, argv)) return RunConfigEdit(argc, argv, make_runtime, ReadRecordedRequests);
  if (argc == 2) {
    if (const std::optional<int> exit_code = RunAsChild(argv[1]); exit_code.has_value()) return *exit_code;
  }
  const std::variant<CommandLine, SettingsError> parsed = ParseCommandLine(argc, argv, "OpenVINO " + OpenVinoVersion());
  if (const auto* error = std::get_if<SettingsError>(&parsed)) {
    // Whoever waits for the file must not take an earlier run for this one.
    ReadyFile(error->ready_file).Clear().IgnoreError();
    Print(stderr, "switchyard: " + error->message + "\n");
    return error->exit_code;
  }
  const CommandLine& command_line = std::get<CommandLine>(parsed);
  if (command_line.action == CommandLine::Action::kPrintAndExit) {
    Print(stdout, command_line.text);
    return kExitOk;
  }
  return RunServer(command_line.settings, argv[0]);
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) { return switchyard::Main(argc, argv); }
