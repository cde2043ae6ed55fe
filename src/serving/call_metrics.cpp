#include "serving/call_metrics.h"

namespace switchyard {

void RecordCall(const InferCall& call, StatusCode code, TimePoint now, const Manager& manager) {
  CallRecord record{.endpoint = call.endpoint, .code = code, .total = now - call.received};
  if (const std::string* const device = call.device.load(std::memory_order_relaxed)) record.device = *device;
  if (code == StatusCode::kOk) {
    record.wait = call.started - call.received;
    record.infer = call.ended - call.started;
  }
  if (call.version) {
    call.version->metrics().Record(record);
    return;
  }
  const auto named = manager.Acquire(call.request.model_name, call.request.version, call.request.label);
  if (named.ok()) (*named)->metrics().Record(record);
}

}  // namespace switchyard
