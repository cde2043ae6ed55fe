// Runs a program to its end, with a time limit: for work that may crash or hang and must not take the server with it.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "base/status.h"

namespace switchyard {

struct SubprocessResult {
  // Exactly one of these tells how it ended.
  int exit_code = -1;                  // -1: not by exit
  int signal = 0;                      // the signal that ended it
  bool timed_out = false;              // ended by us, with SIGKILL, after `limit`
  std::string out;                     // the end of its stdout, 1 MiB at most
  std::string err;                     // the same of stderr
  std::chrono::milliseconds limit{0};  // the time it had

  // "exit code 1", "signal 6 (Aborted)", "no answer within 30 s".
  std::string How() const;
};

// Starts argv[0] (a path) by posix_spawn (never a bare fork: the server has threads), writes `input` to its stdin, and blocks
// until it has ended. The child gets no descriptor but its three streams, default signal handlers and no blocked signals. At
// the time limit its own children end with it, and so they do as soon as `cancelled` (which may be null) is set: it is in a
// process group of its own, and a terminal's Ctrl-C does not reach it. Errors: it could not be started; kCancelled.
// Thread-safe.
StatusOr<SubprocessResult> RunSubprocess(const std::vector<std::string>& argv, const std::string& input,
                                         std::chrono::milliseconds limit, const std::atomic<bool>* cancelled = nullptr);

// The path of the running program, to start it again as a child; "/proc/self/exe" when its file was replaced.
std::string OwnExecutable();

}  // namespace switchyard
