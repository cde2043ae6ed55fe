// `switchyard convert`: OpenVINO IR of any model that is served, checked against its source.
#pragma once

#include <absl/functional/any_invocable.h>

#include <memory>

#include "base/status.h"
#include "runtime/conversion.h"

namespace switchyard {

using ConverterFactory = absl::AnyInvocable<StatusOr<std::unique_ptr<ModelConverter>>()>;

// `argv` as main has it: the program, `convert`, its flags (tools/convert_options.h). What was written goes to stdout, as text
// or with --json as an object; progress, warnings and errors to stderr. Returns the exit code: 0; 1 when the model cannot be
// converted, or is not what its source is, and then nothing is left behind; 64 when the command line is at fault.
int RunConvert(int argc, const char* const* argv, ConverterFactory make_converter);

}  // namespace switchyard
