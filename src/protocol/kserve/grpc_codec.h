// KServe v2 over gRPC (package `inference`): messages to calls and back. No sockets. Every function is thread-safe and never
// blocks.
#pragma once

#include <google/protobuf/io/zero_copy_stream.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"
#include "base/timer.h"
#include "protocol/frame.h"
#include "protocol/rpc_service.h"
#include "serving/infer_call.h"

namespace switchyard::kserve {

// One ModelInferRequest of exactly `size` bytes, read once. raw_input_contents are copied once, to addresses aligned to
// kBufferAlignment. All inputs' elements stand either in their own `contents` or in raw_input_contents, one entry for each
// input, in order. BYTES in raw form: each element after its length in 4 bytes, little endian. Inputs in shared memory have
// neither: request.shared says where they are.
// The `timeout` parameter (microseconds) sets the deadline, counted from `now`; `priority` is a whole number. Negative
// dimensions are kept for the validator. InvalidArgument for everything that is wrong here; `request` then holds what could be
// read, the id above all.
Status DecodeInferRequest(google::protobuf::io::ZeroCopyInputStream& message, size_t size, TimePoint now,
                          DecodedRequest& request);

// A ModelInferResponse for a call that ended well. Elements always stand in raw_output_contents; large ones are referred to,
// not copied. An output in shared memory has its place as parameters, and an empty entry there, so that entries and outputs
// match.
Frame EncodeInferResponse(const InferCall& call);

// The same within a ModelStreamInferResponse.
Frame EncodeStreamResponse(const InferCall& call);
// A ModelStreamInferResponse with the error in band. `id` tells the client which of its requests failed; empty when unknown.
Frame EncodeStreamError(const Status& error, std::string_view id);

// inference.GRPCInferenceService, for the listener.
RpcService GrpcInferenceService();

}  // namespace switchyard::kserve
