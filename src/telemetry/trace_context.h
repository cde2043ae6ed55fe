// W3C Trace Context: which trace a request belongs to.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace switchyard {

// What a request brought, or what was made up for it, and the span that stands for it here.
struct TraceContext {
  std::array<uint8_t, 16> trace_id{};
  std::array<uint8_t, 8> parent_id{};  // the caller's span; zero: the trace begins here
  std::array<uint8_t, 8> span_id{};    // ours
  uint8_t flags = 0;
  bool valid = false;  // otherwise the request belongs to no trace
  std::string state;   // tracestate, handed on as it came

  bool sampled() const { return (flags & kSampled) != 0; }
  bool has_parent() const { return parent_id != std::array<uint8_t, 8>{}; }
  static constexpr uint8_t kSampled = 1;
};

// Fills trace_id, parent_id, flags and valid from a traceparent header. False, and `context` untouched, for one that the
// standard calls invalid: lengths, capitals, zeros, version ff. A later version is read as far as this one goes.
bool ParseTraceParent(std::string_view header, TraceContext& context);

// Is it a list of at most 32 key=value members in at most 512 characters?
bool IsTraceState(std::string_view header);

// "00-<trace>-<our span>-<flags>", for whoever comes next.
std::string TraceParentOf(const TraceContext& context);

// A random number, of a generator of the thread's own that is not predictable from outside but no secret either.
uint64_t RandomBits();
std::array<uint8_t, 8> NewSpanId();
std::array<uint8_t, 16> NewTraceId();

void AppendHex(std::string& out, const uint8_t* bytes, size_t count);

}  // namespace switchyard
