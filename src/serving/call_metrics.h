// Counts calls that are over in the metrics of their Versions, and tells the journal of them.
#pragma once

#include "base/status.h"
#include "base/timer.h"
#include "serving/infer_call.h"
#include "serving/manager.h"

namespace switchyard {

// `call` was answered with `code` at `now`, by `bytes_out` bytes. Once for each call, after its on_done or when it was refused
// before Infer. A call without a Version, refused early, is one of the Version that it names, if there is one.
void RecordCall(const InferCall& call, StatusCode code, TimePoint now, const Manager& manager, uint64_t bytes_out);

}  // namespace switchyard
