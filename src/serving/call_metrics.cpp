#include "serving/call_metrics.h"

namespace switchyard {
namespace {

// The rows of the first input; a number alone is one.
uint64_t BatchOf(const InferCall& call) {
  if (call.bound_inputs.empty()) return 0;
  const auto& shape = call.bound_inputs.front().shape;
  return shape.empty() ? 1 : static_cast<uint64_t>(shape.front());
}

}  // namespace

void RecordCall(const InferCall& call, StatusCode code, TimePoint now, const Manager& manager, uint64_t bytes_out) {
  CallRecord record{.endpoint = call.endpoint, .code = code, .total = now - call.received};
  record.queue_full = call.queue_full;
  record.bytes_in = call.bytes;
  record.bytes_out = bytes_out;
  if (const std::string* const device = call.device.load(std::memory_order_relaxed)) record.device = *device;
  if (code == StatusCode::kOk) {
    // What joins calls counts what it joined.
    if (!call.version || call.version->batcher() == nullptr) record.batch = BatchOf(call);
    record.wait = call.started - call.received;
    record.infer = call.ended - call.started;
  }
  if (call.version) {
    call.version->metrics().Record(record);
    return;
  }
  const auto named = manager.Acquire(call.request.model_name, call.request.version);
  if (named.ok()) (*named)->metrics().Record(record);
}

}  // namespace switchyard
