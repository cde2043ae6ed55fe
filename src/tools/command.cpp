#include "tools/command.h"

#include <fmt/format.h>
#include <signal.h>

#include <cstdio>
#include <string>

namespace switchyard {

void Tell(std::string_view command, std::string_view text) {
  // In one piece: progress comes from several threads.
  const std::string line = fmt::format("switchyard {}: {}\n", command, text);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

namespace {
std::atomic<bool> interrupted{false};
}  // namespace

const std::atomic<bool>& CatchInterrupts() {
  interrupted.store(false);
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted.store(true); };
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  return interrupted;
}

int ExitOf(const Status& failure) { return failure.code() == StatusCode::kCancelled ? kExitInterrupted : kExitFailure; }

int Fail(std::string_view command, int exit_code, std::string_view message) {
  Tell(command, message);
  return exit_code;
}

}  // namespace switchyard
