// Between gRPC's types and ours: messages, errors, deadlines.
#pragma once

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <string_view>

#include "base/status.h"
#include "base/timer.h"
#include "protocol/frame.h"
#include "telemetry/trace_context.h"

namespace switchyard::grpc_listener {

// Calls `read` with the message as a stream and its size in bytes, without gathering it first.
template <typename Read>
auto ReadMessage(grpc::ByteBuffer& message, Read read) {
  grpc::Slice slice;
  if (message.TrySingleSlice(&slice).ok()) {
    google::protobuf::io::ArrayInputStream stream(slice.begin(), static_cast<int>(slice.size()));
    return read(stream, slice.size());
  }
  grpc::ProtoBufferReader stream(&message);
  return read(stream, message.Length());
}

// Refers to what the frame refers to.
grpc::ByteBuffer ToByteBuffer(Frame frame);

// The text is cut to what clients take in a trailer.
grpc::Status ToGrpcStatus(const Status& status);

// What a client says of its request outside the message: W3C's trace context and x-request-id. Views into `context`.
struct RequestHeaders {
  std::string_view traceparent, tracestate, request_id;
};
RequestHeaders HeadersOf(const grpc::ServerContext& context);
// Before the first message goes out.
void PassOn(const TraceContext& trace, grpc::ServerContext& context);

// The call's deadline on our clock, which says `now` at this moment; kNoDeadline when it has none.
TimePoint DeadlineOf(const grpc::ServerContext& context, TimePoint now);

// Why a call that gRPC reports as cancelled ended.
Status WhyCancelled(TimePoint deadline, TimePoint now);

// What a handler's exception becomes.
Status HandlerFailed(const char* what);

}  // namespace switchyard::grpc_listener
