// Cross-origin resource sharing: what a browser is told of whose pages may call this server.
#pragma once

#include <string>
#include <string_view>

#include "config/settings.h"

namespace switchyard {

// Appends the header fields of the reply to a request with this `Origin`, each with its "\r\n"; none when the origin is not
// allowed, but for Vary. `preflight`: the request asks beforehand (OPTIONS). Thread-safe.
void AppendCors(const CorsSettings& settings, std::string_view origin, bool preflight, std::string& head);

}  // namespace switchyard
