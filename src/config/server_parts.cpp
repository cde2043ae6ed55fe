#include "config/server_parts.h"

#include <utility>

#include "base/log.h"
#include "config/device_values.h"
#include "config/json_text.h"
#include "config/metrics_list.h"

namespace switchyard {
namespace {

using rapidjson::Value;

Status ReadDevicePlugins(const Value& value, const std::string& base_dir, ServerConfig* server) {
  SY_ASSIGN_OR_RETURN(server->device_plugins, DevicePluginsOf(value, base_dir));
  return absl::OkStatus();
}

Status ReadLogLevel(const Value& value, const std::string&, ServerConfig* server) {
  if (!value.IsString()) return InvalidArgument("expected the name of a level, got {}", Describe(value));
  SY_ASSIGN_OR_RETURN(server->log_level, ParseLogLevel(Text(value)));
  return absl::OkStatus();
}

// The schema requires it of every "metrics".
Status ReadMetricsEnable(const Value& value, const std::string&, ServerConfig* server) {
  if (!value.IsBool()) return InvalidArgument("expected true or false, got {}", Describe(value));
  server->has_monitoring = true;
  server->metrics_enable = value.GetBool();
  return absl::OkStatus();
}

Status ReadMetricsList(const Value& value, const std::string&, ServerConfig* server) {
  if (!value.IsArray()) return InvalidArgument("expected a list of metrics' names, got {}", Describe(value));
  std::vector<std::string> names;
  for (const Value& name : value.GetArray()) {
    if (!name.IsString()) return InvalidArgument("expected the name of a metric, got {}", Describe(name));
    names.emplace_back(Text(name));
  }
  SY_RETURN_IF_ERROR(CheckMetricsList(names));
  server->metrics_list = std::move(names);
  return absl::OkStatus();
}

}  // namespace

const std::array<ServerPart, 4> kServerParts = {{
    {"/device_plugins", ReadDevicePlugins},
    {"/logging/level", ReadLogLevel},
    {"/monitoring/metrics/enable", ReadMetricsEnable},
    {"/monitoring/metrics/metrics_list", ReadMetricsList},
}};

}  // namespace switchyard
