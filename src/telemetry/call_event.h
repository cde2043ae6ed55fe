// One inference request that is over, as the access log and traces tell it.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string_view>

#include "base/status.h"
#include "base/timer.h"
#include "telemetry/model_metrics.h"
#include "telemetry/trace_context.h"

namespace switchyard {

// As the request's thread knows it; views into what the call holds.
struct CallStory {
  Endpoint endpoint = Endpoint::kKserveGrpcInfer;
  StatusCode code = StatusCode::kOk;
  std::string_view request_id;
  std::string_view model;
  std::string_view version;  // empty: not known
  std::string_view device;   // empty: none had it
  const TraceContext* trace = nullptr;
  // Stages follow one another: decode (until the Executor had it), queue (until the device had it), compute, encode. Those that
  // the call did not come to, or did not end well, are not there.
  std::optional<Duration> decode, queue, compute, encode;
  Duration total{0};
  uint64_t batch = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

// The texts of an event, one behind the other within the object; each is cut where it is longer than its limit. Room for all of
// them is a kilobyte, and what a usual event writes and reads of it a cache line.
class EventTexts {
 public:
  enum Which : size_t { kRequestId, kModel, kVersion, kDevice, kTraceState };
  static constexpr std::array<size_t, 5> kLongest = {128, 255, 20, 64, 512};
  static constexpr size_t kAll = std::accumulate(kLongest.begin(), kLongest.end(), size_t{0});

  void Set(const std::array<std::string_view, kLongest.size()>& texts) {
    size_t end = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      const size_t size = std::min(texts[i].size(), kLongest[i]);
      std::copy_n(texts[i].data(), size, bytes_ + end);
      end += size;
      ends_[i] = static_cast<uint16_t>(end);
    }
  }
  std::string_view Get(Which which) const {
    const size_t begin = which == 0 ? 0 : ends_[which - 1];
    return {bytes_ + begin, ends_[which] - begin};
  }

 private:
  std::array<uint16_t, kLongest.size()> ends_;
  char bytes_[kAll];
};

// The same with its text, for an EventQueue: filled over and over without allocating.
struct CallEvent {
  static constexpr int64_t kNone = -1;

  Endpoint endpoint;
  StatusCode code;
  bool traced;
  uint8_t flags;
  std::array<uint8_t, 16> trace_id;
  std::array<uint8_t, 8> parent_id;
  std::array<uint8_t, 8> span_id;
  int64_t end_ns;  // since the epoch
  int64_t decode_ns, queue_ns, compute_ns, encode_ns, total_ns;
  uint64_t batch, bytes_in, bytes_out;
  EventTexts texts;

  void Set(const CallStory& story, std::chrono::system_clock::time_point end) {
    const auto nanoseconds = [](const std::optional<Duration>& time) {
      return time ? std::max<int64_t>(0, std::chrono::nanoseconds(*time).count()) : kNone;
    };
    endpoint = story.endpoint;
    code = story.code;
    traced = story.trace != nullptr && story.trace->valid;
    if (traced) {
      flags = story.trace->flags;
      trace_id = story.trace->trace_id;
      parent_id = story.trace->parent_id;
      span_id = story.trace->span_id;
    }
    end_ns = std::chrono::nanoseconds(end.time_since_epoch()).count();
    decode_ns = nanoseconds(story.decode);
    queue_ns = nanoseconds(story.queue);
    compute_ns = nanoseconds(story.compute);
    encode_ns = nanoseconds(story.encode);
    total_ns = nanoseconds(story.total);
    batch = story.batch;
    bytes_in = story.bytes_in;
    bytes_out = story.bytes_out;
    texts.Set({story.request_id, story.model, story.version, story.device,
               traced ? std::string_view(story.trace->state) : std::string_view()});
  }
};

}  // namespace switchyard
