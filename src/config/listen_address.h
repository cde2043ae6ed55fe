// --port and --grpc_bind_address (or REST's two) to where a listener listens.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

// Flags as given, without their dashes in the names.
struct ListenFlags {
  std::string port_flag;
  std::string bind_flag;
  std::optional<std::string> port;  // "0" to "65535", or "auto"
  std::optional<std::string> bind;  // IPv4, IPv6, host names and unix:/path, separated by commas
};

// Port 0 (the default) is off, unless a unix: path is bound, which needs no port.
StatusOr<ListenAddress> ParseListenAddress(const ListenFlags& flags);

}  // namespace switchyard
