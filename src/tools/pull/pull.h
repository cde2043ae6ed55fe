// `switchyard pull`: a model from the network into a repository that a server can serve.
#pragma once

namespace switchyard {

// `argv` as main has it: the program, `pull`, its flags. What is there in the end goes to stdout, as a line or with --json as
// an object; progress and errors to stderr. Returns the exit code: 0, also when the very same files were there already; 1 when
// the model cannot be had, and then no version is made; 64 when the command line is at fault.
int RunPull(int argc, const char* const* argv);

}  // namespace switchyard
