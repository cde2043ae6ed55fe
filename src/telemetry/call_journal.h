// Who is told of every inference request: the access log, and traces.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "telemetry/access_log.h"
#include "telemetry/call_event.h"
#include "telemetry/metrics.h"
#include "telemetry/span_exporter.h"
#include "telemetry/trace_context.h"

namespace switchyard {

// Thread-safe. Without either sink it only reads what requests say of their traces, so that it can be handed on.
class CallJournal {
 public:
  CallJournal() = default;
  // `sample_rate`: the share of the requests without a traceparent that begin a trace of their own, when there is an exporter.
  CallJournal(std::unique_ptr<AccessLog> access_log, std::unique_ptr<SpanExporter> spans, double sample_rate);

  // What a request belongs to, by its headers (empty: it had none). A traceparent that is not valid is as if it were not there;
  // so is a tracestate without one, or one that is not valid.
  TraceContext Trace(std::string_view traceparent, std::string_view tracestate) const;

  bool Wants(const TraceContext& trace) const {
    return access_log_ != nullptr || (spans_ != nullptr && trace.valid && trace.sampled());
  }
  // A request is over, now. Only when it Wants it.
  void Record(const CallStory& story) const;

  // Opens the access log's file by its name again.
  void ReopenFiles() const;
  // Writes and sends what is there, for at most so long, when the process is about to end.
  void Close(Duration longest) const;
  void Collect(MetricsPage& page) const;

 private:
  const std::unique_ptr<AccessLog> access_log_;
  const std::unique_ptr<SpanExporter> spans_;
  const uint64_t threshold_ = 0;  // of 2^64
};

}  // namespace switchyard
