// One inference request that is over, as the access log and traces tell it.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
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

// Text of at most N bytes within the object; longer text is cut.
template <size_t N>
class ShortText {
 public:
  void Set(std::string_view text) {
    size_ = static_cast<uint16_t>(std::min(text.size(), N));
    std::copy_n(text.data(), size_, bytes_);
  }
  std::string_view view() const { return {bytes_, size_}; }

 private:
  uint16_t size_ = 0;
  char bytes_[N];
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
  ShortText<128> request_id;
  ShortText<255> model;
  ShortText<20> version;
  ShortText<64> device;
  ShortText<512> trace_state;

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
    trace_state.Set(traced ? std::string_view(story.trace->state) : std::string_view());
    end_ns = std::chrono::nanoseconds(end.time_since_epoch()).count();
    decode_ns = nanoseconds(story.decode);
    queue_ns = nanoseconds(story.queue);
    compute_ns = nanoseconds(story.compute);
    encode_ns = nanoseconds(story.encode);
    total_ns = nanoseconds(story.total);
    batch = story.batch;
    bytes_in = story.bytes_in;
    bytes_out = story.bytes_out;
    request_id.Set(story.request_id);
    model.Set(story.model);
    version.Set(story.version);
    device.Set(story.device);
  }
};

}  // namespace switchyard
