#include "serving/call_metrics.h"

namespace switchyard {
namespace {

// The rows of the first input; without one, or without a batch dimension, it is one.
uint64_t BatchOf(const InferCall& call) {
  if (call.bound_inputs.empty()) return 1;
  const auto& shape = call.bound_inputs.front().shape;
  const auto dim = call.version->signature().inputs.front().batch_dim;
  return dim && *dim < shape.size() ? static_cast<uint64_t>(shape[*dim]) : 1;
}

// `model`: by its own name, where an alias was called.
void TellJournal(const InferCall& call, std::string_view model, const CallRecord& record, TimePoint now,
                 const CallJournal& journal) {
  if (!journal.Wants(call.trace)) return;
  CallStory story{.endpoint = call.endpoint,
                  .code = record.code,
                  .request_id = call.request.id.empty() ? call.header_id : call.request.id,
                  .model = model,
                  .version = {},
                  .device = record.device,
                  .trace = &call.trace,
                  .total = record.total,
                  .batch = record.batch,
                  .bytes_in = record.bytes_in,
                  .bytes_out = record.bytes_out};
  if (call.version) story.version = call.version->number_text();
  const TimePoint submitted = call.submitted.load(std::memory_order_relaxed);
  if (submitted != TimePoint{}) story.decode = submitted - call.received;
  // The later stages are there to be read only then: a device may still be at work on a call that ended otherwise.
  if (record.code == StatusCode::kOk) {
    story.queue = call.started - submitted;
    story.compute = call.ended - call.started;
    story.encode = now - call.ended;
  }
  journal.Record(story);
}

}  // namespace

void RecordCall(const InferCall& call, StatusCode code, TimePoint now, const Manager& manager, uint64_t bytes_out) {
  CallRecord record{.endpoint = call.endpoint, .code = code, .total = now - call.received};
  record.queue_full = call.queue_full.load(std::memory_order_relaxed);
  record.bytes_in = call.bytes;
  record.bytes_out = bytes_out;
  if (const std::string* const device = call.device.load(std::memory_order_relaxed)) record.device = *device;
  record.at = now;
  if (code == StatusCode::kOk) {
    record.input = call.submitted.load(std::memory_order_relaxed) - call.received;
    record.batch = BatchOf(call);
    record.wait = call.started - call.received;
    record.infer = call.ended - call.started;
  }
  if (call.version) {
    TellJournal(call, call.version->model_name(), record, now, manager.journal());
    // What joins calls counts what it joined.
    record.joined = call.version->batcher() != nullptr;
    call.version->metrics().Record(record);
    return;
  }
  const auto named = manager.Acquire(call.request.model_name, call.request.version, call.request.label);
  TellJournal(call, named.ok() ? (*named)->model_name() : manager.OwnName(call.request.model_name), record, now,
              manager.journal());
  if (named.ok()) (*named)->metrics().Record(record);
}

}  // namespace switchyard
