// What the kernel says of this process.
#pragma once

#include "telemetry/metrics.h"

namespace switchyard {

// For MetricsRegistry::AddCollector. Reads /proc/self; what cannot be read there is left out.
void CollectProcess(MetricsPage& page);

}  // namespace switchyard
