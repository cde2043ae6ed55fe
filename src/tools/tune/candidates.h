// What `tune` may try for a model: settings that differ from the server's default in device, hint, streams, threads, precision,
// batch or requests.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "config/settings.h"
#include "device/inventory.h"

namespace switchyard::tune {

enum class Objective {
  kThroughput,  // inferences per second, with every infer request busy
  kLatency,     // the median of one call at a time
  kGoodput,     // inferences per second at the highest concurrency that keeps p99 within a limit
};

struct Candidate {
  std::string label;  // unique: "CPU THROUGHPUT f32"
  ModelSettings settings;
  std::string why;  // a sentence: what it is good for
};

struct SpaceOptions {
  Objective objective = Objective::kThroughput;
  size_t cores = 1;  // that this process may use
};

// The default first (the settings as they are), then the others, the likelier ones before the less likely. `base` names a
// target to keep to it; with an empty one every device of `inventory` is tried. Keys that `base` sets in its plugin_config are
// kept as they are. Never two with the same settings. Pure.
std::vector<Candidate> MakeCandidates(const ModelSettings& base, const Inventory& inventory, const SpaceOptions& options);

// Neighbours of one that did well, which has `requests` infer requests: more and fewer of these; for a batch its waiting
// time, and where calls are joined the delay and the size. Pure.
std::vector<Candidate> Neighbours(const Candidate& candidate, size_t requests, Objective objective);

}  // namespace switchyard::tune
