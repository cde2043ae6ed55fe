// What is placed where, for one Version: what the ledger, the metrics and `plan` tell.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/runtime.h"

namespace switchyard {

std::string_view Name(LoadFacts::Cache cache);  // "hit", "miss", "off"

using Layers = std::map<std::string, std::map<std::string, int>>;  // by device, and by type

// Of whatever type.
inline int64_t CountLayers(const std::map<std::string, int>& types) {
  int64_t count = 0;
  for (const auto& [type, number] : types) count += number;
  return count;
}

// One candidate of the plan.
struct TargetPlacement {
  std::string target;                          // "GPU.0", "HETERO:GPU.0,CPU"
  std::string device;                          // the first of its devices
  std::vector<std::string> execution_devices;  // empty until it is compiled
  // "serving", "standby", "compiling", "failed" (see `reason`), "lost" (its device is), "idle" (not compiled, not needed).
  std::string state;
  std::string reason;
  std::optional<LoadFacts> facts;  // of what is compiled
  size_t num_requests = 0;
  uint64_t requests_served = 0;  // since the version was loaded; of a shape's instance, since that was
};

// An instance of a model whose shape is "auto", beside the one of the model's own shape.
struct ShapePlacement {
  std::string shape;   // "image (1,3,300,400)"
  std::string state;   // "serving", "compiling", "failed"
  std::string reason;  // why it failed
  uint64_t requests_served = 0;
  uint64_t memory_bytes = 0;  // as far as its devices tell
};

// How calls are joined, with dynamic_batching.
struct BatchingReport {
  uint32_t max_batch_size = 0;
  uint32_t max_delay_us = 0;
  uint64_t batches = 0;  // inferences that ended well, and the calls in them
  uint64_t calls = 0;
  std::vector<std::pair<size_t, double>> cost_us;  // what an inference takes, by its rows: of those that ran
};

struct PlacementReport {
  std::string target_device;                   // as asked for
  std::vector<std::string> execution_devices;  // where calls run now
  bool helping = false;                        // a helper serves while a better device compiles
  std::vector<TargetPlacement> targets;        // in the plan's order
  std::vector<std::string> reasons;            // sentences: why it is not what was asked for
  bool auto_shapes = false;                    // shape or batch size is "auto"
  std::optional<BatchingReport> batching;      // with dynamic_batching
  std::vector<ShapePlacement> shapes;          // with auto_shapes: the last used first

  // The first that serves; null when none does.
  const TargetPlacement* Serving() const {
    for (const TargetPlacement& target : targets) {
      if (target.state == "serving") return &target;
    }
    return nullptr;
  }

  // Of all that serve; where two of them have a device, the first one's.
  Layers ServingLayers() const {
    Layers layers;
    for (const TargetPlacement& target : targets) {
      if (target.state == "serving" && target.facts) layers.insert(target.facts->layers.begin(), target.facts->layers.end());
    }
    return layers;
  }
};

}  // namespace switchyard
