// `switchyard infer`: a client for the server's four protocols, so that nobody needs another one to try it.
#pragma once

namespace switchyard {

// `argv` as main has it: the program, `infer`, then the flags. Blocks until every call has ended. Results go to stdout, errors
// and progress to stderr. Returns the exit code: 0; 1 when a call failed; 64 when the command line is at fault.
int RunInfer(int argc, const char* const* argv);

}  // namespace switchyard
