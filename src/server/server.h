// The composition root: builds the objects, starts them in order and stops them in order.
#pragma once

#include <string>

#include "config/settings.h"

namespace switchyard {

// Serves until SIGTERM or SIGINT. Returns the exit code. `program` is how the user called the program, for the requests it
// prints.
int RunServer(const ServerSettings& settings, const std::string& program);

}  // namespace switchyard
