#include <cstdio>
#include <string_view>
#include <variant>

#include "config/command_line.h"
#include "runtime/openvino/openvino_runtime.h"
#include "server/server.h"
#include "tools/infer.h"

int main(int argc, char** argv) {
  using namespace switchyard;
  if (argc > 1 && std::string_view(argv[1]) == "infer") return RunInfer(argc, argv);
  const auto parsed = ParseCommandLine(argc, argv, "OpenVINO " + OpenVinoVersion());
  if (const auto* error = std::get_if<SettingsError>(&parsed)) {
    std::fprintf(stderr, "switchyard: %s\n", error->message.c_str());
    return error->exit_code;
  }
  const CommandLine& command_line = std::get<CommandLine>(parsed);
  if (command_line.action == CommandLine::Action::kPrintAndExit) {
    std::fwrite(command_line.text.data(), 1, command_line.text.size(), stdout);
    return kExitOk;
  }
  return RunServer(command_line.settings, argv[0]);
}
