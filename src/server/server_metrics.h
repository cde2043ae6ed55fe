// What is read off the server at each scrape.
#pragma once

#include <string>

#include "serving/manager.h"
#include "telemetry/metrics_registry.h"

namespace switchyard {

// Versions' queues and infer requests, devices' states, the process and the build. `manager` and `timer` must outlive every
// scrape.
void AddServerCollectors(MetricsRegistry& metrics, const Manager& manager, const Timer& timer);

}  // namespace switchyard
