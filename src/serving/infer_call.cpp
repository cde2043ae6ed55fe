#include "serving/infer_call.h"

#include <utility>

#include "serving/batcher.h"
#include "serving/executor.h"

namespace switchyard {

bool InferCall::Complete(const Status& status) {
  if (completed_.exchange(true, std::memory_order_acq_rel)) return false;
  // Out of the call first: it may hold the call, and it may destroy what it captured.
  OnDone done = std::move(on_done);
  if (done) done(*this, status.ok() && request.shared != nullptr ? request.shared->Health() : status);
  return true;
}

void InferCall::Cancel(const Status& why) {
  const std::shared_ptr<InferCall> held = shared_from_this();
  if (Batcher* const batcher = batcher_.load()) {
    batcher->Cancel(*this, why);
  } else if (Executor* const executor = executor_.load()) {
    executor->Cancel(*this, why);
  } else {
    Complete(why);
  }
}

}  // namespace switchyard
