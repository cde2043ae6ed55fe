// From a request line to what is asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/http/http_message.h"
#include "serving/version_label.h"

namespace switchyard {

enum class RouteKind {
  kServerLive,       // GET /v2/health/live
  kServerReady,      // GET /v2/health/ready
  kServerMetadata,   // GET /v2
  kModelMetadata,    // GET /v2/models/{m}[/versions/{v}]
  kModelReady,       // GET /v2/models/{m}[/versions/{v}]/ready
  kStatistics,       // GET /v2/models/stats, /v2/models/{m}[/versions/{v}]/stats
  kModelConfig,      // GET /v2/models/{m}[/versions/{v}]/config
  kInfer,            // POST /v2/models/{m}[/versions/{v}]/infer
  kTfsStatus,        // GET /v1/models/{m}[/versions/{v}|/labels/{l}]
  kTfsMetadata,      // GET .../metadata
  kTfsPredict,       // POST ...:predict
  kTfsUnsupported,   // POST ...:classify, ...:regress
  kConfigStatus,     // GET /v1/config
  kConfigReload,     // POST /v1/config/reload
  kRepositoryIndex,  // POST /v2/repository/index
  kModelLoad,        // POST /v2/repository/models/{m}/load
  kModelUnload,      // POST .../unload
  kMetrics,          // GET /metrics
  kDevices,          // GET /v1/devices
  kPlacement,        // GET /v1/models/{m}[/versions/{v}]/placement
  kLogSettings,      // GET /v2/logging
  kLogChange,        // POST /v2/logging
  kRegionStatus,     // GET /v2/{system,cuda}sharedmemory[/region/{r}]/status
  kRegionAdd,        // POST /v2/{system,cuda}sharedmemory/region/{r}/register
  kRegionRemove,     // POST /v2/{system,cuda}sharedmemory[/region/{r}]/unregister
};

struct Route {
  RouteKind kind = RouteKind::kServerLive;
  std::string model;
  std::optional<int64_t> version;  // none: the default one; version 0 says the same
  VersionLabel label;              // in place of a version
  std::string verb;                // kTfsUnsupported: "classify"
  std::string region;              // of shared memory; empty: all
  bool cuda = false;
};

// Finds the route, or what to answer instead: 400 for a path that cannot be read, 404 for an unknown one and for a version
// beyond 63 bits, 405 with Allow for a known path with another method, and 200 with Allow for OPTIONS. HEAD is taken for GET.
// The query is ignored, and so are further slashes before the path. Names may be percent-encoded.
struct RouteResult {
  std::optional<HttpReply> answer;
  Route route;
};
RouteResult FindRoute(std::string_view method, std::string_view target);

}  // namespace switchyard
