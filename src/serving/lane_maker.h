// Loads a model for one target and makes a lane of it: infer requests, and the cost of an inference on the caller's thread.
#pragma once

#include <memory>

#include "base/status.h"
#include "runtime/runtime.h"
#include "serving/lane.h"

namespace switchyard {

struct LaneRequest {
  LoadRequest load;
  Lane::Options options;
  size_t inline_threads = 1;  // listeners' threads that may run a cheap model at the same time
};

// Blocks on the device: for its own thread.
StatusOr<std::shared_ptr<Lane>> MakeLane(Runtime& runtime, const Timer& timer, LaneRequest request);

}  // namespace switchyard
