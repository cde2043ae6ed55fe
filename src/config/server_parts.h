// What config.json says of the server, beside its models. For those who parse or judge config.json.
#pragma once

#include <rapidjson/document.h>

#include <array>
#include <string>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

struct ServerPart {
  const char* pointer;  // "/logging/level": where it stands, if it does
  // Reads it into what it is about, which stays as it is when the value is refused.
  Status (*read)(const rapidjson::Value& value, const std::string& base_dir, ServerConfig* server);
};

extern const std::array<ServerPart, 4> kServerParts;

}  // namespace switchyard
