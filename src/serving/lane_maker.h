// Loads a model for one target and makes a lane of it: infer requests, and the cost of an inference on the caller's thread.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "runtime/runtime.h"
#include "serving/files_guard.h"
#include "serving/lane.h"
#include "serving/warm_up.h"

namespace switchyard {

struct LaneRequest {
  LoadRequest load;
  std::shared_ptr<FilesGuard> files;  // null: whatever lies there is taken
  ReadRecorded read_recorded;         // may be empty: then a file of recorded requests is an error
  Lane::Options options;
  size_t inline_threads = 1;  // listeners' threads that may run a cheap model at the same time
};

// Whether a model's state goes with its settings. `has_state`: the model has variables; `batch_size`: what `device` joins by
// itself. InvalidArgument: "stateful" of a model without variables, or calls of several sequences in one batch.
Status CheckState(const ModelSettings& settings, bool has_state, int batch_size, const std::string& device);

// What was made of other files than `files` says is refused: Unavailable. Runs settings.warm_up before it returns. Made-up
// inputs that the model refuses are no fault of the model's; recorded ones are. A model with variables is left as it is, unless
// its requests are recorded. Blocks on the device: for its own thread.
StatusOr<std::shared_ptr<Lane>> MakeLane(Runtime& runtime, const Timer& timer, LaneRequest request);

// What a load is answered with that took longer than load_timeout_ms.
Status LoadedTooLate(const std::string& target, std::chrono::milliseconds limit);

}  // namespace switchyard
