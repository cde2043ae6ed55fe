#include "telemetry/call_journal.h"

#include <chrono>
#include <utility>

namespace switchyard {
namespace {

uint64_t ThresholdOf(double rate) {
  if (rate >= 1) return UINT64_MAX;
  return rate <= 0 ? 0 : static_cast<uint64_t>(rate * 18446744073709551616.0);
}

}  // namespace

CallJournal::CallJournal(std::unique_ptr<AccessLog> access_log, std::unique_ptr<SpanExporter> spans, double sample_rate)
    : access_log_(std::move(access_log)), spans_(std::move(spans)), threshold_(ThresholdOf(sample_rate)) {}

TraceContext CallJournal::Trace(std::string_view traceparent, std::string_view tracestate) const {
  TraceContext trace;
  if (!traceparent.empty() && ParseTraceParent(traceparent, trace)) {
    if (!tracestate.empty() && IsTraceState(tracestate)) trace.state = tracestate;
  } else if (spans_ != nullptr && threshold_ > 0 && RandomBits() <= threshold_) {
    trace.trace_id = NewTraceId();
    trace.flags = TraceContext::kSampled;
    trace.valid = true;
  }
  if (trace.valid) trace.span_id = NewSpanId();
  return trace;
}

void CallJournal::Record(const CallStory& story) const {
  const auto now = std::chrono::system_clock::now();
  if (access_log_ != nullptr) access_log_->Add(story, now);
  if (spans_ != nullptr && story.trace != nullptr && story.trace->valid && story.trace->sampled()) spans_->Add(story, now);
}

void CallJournal::ReopenFiles() const {
  if (access_log_ != nullptr) access_log_->Reopen();
}

void CallJournal::Close(Duration longest) const {
  if (access_log_ != nullptr) access_log_->Close(longest);
  if (spans_ != nullptr) spans_->Close(longest);
}

void CallJournal::Collect(MetricsPage& page) const {
  const auto add = [&](Family family, std::string_view result, uint64_t count) {
    page.Add(family, {{"result", result}}, static_cast<double>(count));
  };
  add(Family::kAccessLogLines, "written", access_log_ == nullptr ? 0 : access_log_->written());
  add(Family::kAccessLogLines, "dropped", access_log_ == nullptr ? 0 : access_log_->dropped());
  add(Family::kTracedRequests, "exported", spans_ == nullptr ? 0 : spans_->exported());
  add(Family::kTracedRequests, "dropped", spans_ == nullptr ? 0 : spans_->dropped());
  add(Family::kTracedRequests, "failed", spans_ == nullptr ? 0 : spans_->failed());
}

}  // namespace switchyard
