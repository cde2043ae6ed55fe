// A load on a Version inside this process: as many calls in flight as asked for, each followed by the next.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"
#include "serving/infer_call.h"
#include "serving/version.h"
#include "tools/client_tensor.h"
#include "tools/tune/trial.h"

namespace switchyard::tune {

// A call with these inputs, which must stay until the device is done with them: `inputs` is shared with the call.
std::shared_ptr<InferCall> MakeCall(std::shared_ptr<const std::vector<ClientTensor>> inputs);

// One inference; blocks for it.
StatusOr<std::vector<ClientTensor>> InferOnce(Handle handle, std::shared_ptr<const std::vector<ClientTensor>> inputs);

// `acquire` gives a handle for each call, as a request would take one. The calls are made by as many threads as there are cores
// for them, since a cheap model runs on the caller's thread. Ends early when `interrupted` is set. Blocks until the last
// answer.
StatusOr<Figures> RunClosedLoop(const std::function<StatusOr<Handle>()>& acquire,
                                const std::vector<std::shared_ptr<const std::vector<ClientTensor>>>& inputs, size_t concurrency,
                                size_t threads, std::chrono::duration<double> duration, const std::atomic<bool>& interrupted);

}  // namespace switchyard::tune
