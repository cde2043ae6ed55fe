// What the program does when it runs as a child of itself: work that may crash or hang, for the parent to hear of.
#pragma once

#include <optional>
#include <string_view>

namespace switchyard {

// Runs the hidden subcommand `name` ("probe-properties", "compile-once", "list-devices") and returns the exit code; nothing for
// any other name. The request is on stdin, the answer goes to stdout (runtime/openvino/child_protocol.h); whatever libraries
// print there goes to stderr. To be called before any thread is started: limits and signals of the process are set.
std::optional<int> RunAsChild(std::string_view name);

}  // namespace switchyard
