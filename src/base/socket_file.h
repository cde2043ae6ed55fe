// The file of a Unix socket, before a server listens on it.
#pragma once

#include <string>

#include "base/status.h"

namespace switchyard {

// Makes way at `path` for a socket: removes a socket file that nobody listens on any more, and nothing else. Unavailable, with
// the remedy: a server listens there, it cannot be found out whether one does, or the file is no socket. InvalidArgument: the
// path does not fit into a socket's address. Does not wait. Of two servers that start there in the same moment, both may pass.
Status ClearSocketFile(const std::string& path);

}  // namespace switchyard
