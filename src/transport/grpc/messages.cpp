#include "transport/grpc/messages.h"

#include <grpc/support/time.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/utf8.h"

namespace switchyard::grpc_listener {
namespace {

// Clients limit all trailers of a call to 8 KiB, and each byte may take three on the wire.
constexpr size_t kMaxErrorText = 1024;
// Up to here one copied slice is cheaper than several.
constexpr size_t kSingleSlice = 8192;

template <typename Owner>
void DeleteOwner(void* owner) {
  delete static_cast<Owner*>(owner);
}

grpc::Slice ToSlice(Frame::Segment& segment) {
  if (segment.data != nullptr) {
    auto* const owner = new std::shared_ptr<const void>(std::move(segment.owner));
    return grpc::Slice(const_cast<std::byte*>(segment.data), segment.size, DeleteOwner<std::shared_ptr<const void>>, owner);
  }
  if (segment.own.size() <= 256) return grpc::Slice(segment.own);
  auto* const text = new std::string(std::move(segment.own));
  return grpc::Slice(text->data(), text->size(), DeleteOwner<std::string>, text);
}

}  // namespace

grpc::ByteBuffer ToByteBuffer(Frame frame) {
  auto& segments = frame.segments();
  if (segments.size() == 1) {
    const grpc::Slice slice = ToSlice(segments.front());
    return grpc::ByteBuffer(&slice, 1);
  }
  if (frame.size() <= kSingleSlice) {
    const grpc::Slice slice(frame.Flatten());
    return grpc::ByteBuffer(&slice, 1);
  }
  std::vector<grpc::Slice> slices;
  slices.reserve(segments.size());
  for (Frame::Segment& segment : segments) slices.push_back(ToSlice(segment));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

grpc::Status ToGrpcStatus(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), MakeUtf8(CutUtf8(Message(status), kMaxErrorText)));
}

RequestHeaders HeadersOf(const grpc::ServerContext& context) {
  RequestHeaders headers;
  for (const auto& [name, value] : context.client_metadata()) {
    const std::string_view key(name.data(), name.size()), text(value.data(), value.size());
    std::string_view* const header = key == "traceparent"    ? &headers.traceparent
                                     : key == "tracestate"   ? &headers.tracestate
                                     : key == "x-request-id" ? &headers.request_id
                                                             : nullptr;
    // A second value, where the library hands on both: of the traceparent neither counts, of the others the first does.
    if (header != nullptr) *header = header->empty() ? text : header == &headers.traceparent ? std::string_view("?") : *header;
  }
  return headers;
}

void PassOn(const TraceContext& trace, grpc::ServerContext& context) {
  if (!trace.valid) return;
  context.AddInitialMetadata("traceparent", TraceParentOf(trace));
  if (!trace.state.empty()) context.AddInitialMetadata("tracestate", trace.state);
}

TimePoint DeadlineOf(const grpc::ServerContext& context, TimePoint now) {
  const gpr_timespec deadline = context.raw_deadline();
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) return kNoDeadline;
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  // A client may say any number of hours; a clock counts nanoseconds in 64 bits.
  constexpr int64_t kForever = int64_t{100} * 365 * 24 * 3600;
  if (left.tv_sec >= kForever) return kNoDeadline;
  return now + std::chrono::seconds(left.tv_sec) + std::chrono::nanoseconds(left.tv_nsec);
}

Status WhyCancelled(TimePoint deadline, TimePoint now) {
  if (now >= deadline)
    return Error(StatusCode::kDeadlineExceeded,
                 "The deadline of the call passed before its inference "
                 "ended");
  return Error(StatusCode::kCancelled, "The client cancelled the call or went away");
}

Status HandlerFailed(const char* what) { return Error(StatusCode::kInternal, "The call failed inside the server: {}", what); }

}  // namespace switchyard::grpc_listener
