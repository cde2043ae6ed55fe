// Sends traces to an OpenTelemetry collector: OTLP over HTTP, as JSON.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "base/timer.h"
#include "telemetry/call_event.h"
#include "telemetry/event_queue.h"

namespace switchyard {

// Thread-safe. Each request becomes a span with one below it for each stage. They are sent in batches by a thread of its own; a
// collector that is slow or away costs the requests nothing: what finds no room is dropped and counted.
class SpanExporter {
 public:
  struct Options {
    // "http://host:4318": /v1/traces is appended, unless the URL ends with it.
    std::string endpoint;
    std::string service_name = "switchyard";
    std::string service_version;
    Duration delay = std::chrono::seconds(1);  // how long requests are gathered
    Duration timeout = std::chrono::seconds(10);
    Duration first_pause = std::chrono::seconds(1);  // before a batch is sent again; doubled each time
  };
  static constexpr int kTries = 4;

  // Does not ask whether the collector is there. InvalidArgument: no http:// or https:// URL.
  static StatusOr<std::unique_ptr<SpanExporter>> Start(Options options);
  // Sends what is there, for two seconds at most.
  ~SpanExporter();
  // The same, for at most so long, for a process that is about to end. What is added afterwards is lost.
  void Close(Duration longest);

  void Add(const CallStory& story, std::chrono::system_clock::time_point end);

  // Requests, not spans.
  uint64_t exported() const { return exported_.load(std::memory_order_relaxed); }
  uint64_t dropped() const { return queue_.dropped(); }
  uint64_t failed() const { return failed_.load(std::memory_order_relaxed); }

 private:
  class Connection;

  explicit SpanExporter(Options options);
  void Run();
  void Send(Connection& connection, const std::string& body, uint64_t count);
  bool OutOfTime() const;

  static constexpr size_t kCapacity = 2048;
  static constexpr size_t kBatch = 256;

  const Options options_;
  const std::string url_;
  EventQueue<CallEvent> queue_{kCapacity};
  Notification stopping_;
  Notification done_;
  std::atomic<TimePoint::rep> stop_at_{0};
  std::atomic<uint64_t> exported_{0};
  std::atomic<uint64_t> failed_{0};
  std::thread thread_;
};

// Checks what --otlp_endpoint may be.
Status CheckOtlpEndpoint(const std::string& url);

// What of it may be shown: without user, password, query and fragment.
std::string ShownEndpoint(std::string_view url);

// The document of spans: the head, each request's spans separated by commas, the tail.
std::string OtlpHead(const SpanExporter::Options& options);
void AppendOtlpSpans(std::string& out, const CallEvent& event);
std::string OtlpTail();

}  // namespace switchyard
