// TensorFlow-Serving over gRPC (packages `tensorflow.serving` and `tensorflow`): messages to calls and back. No sockets. Every
// function is thread-safe and never blocks.
#pragma once

#include <google/protobuf/io/zero_copy_stream.h>

#include <cstddef>

#include "base/status.h"
#include "base/timer.h"
#include "protocol/frame.h"
#include "protocol/rpc_service.h"
#include "serving/infer_call.h"
#include "tensor/signature.h"

namespace switchyard::tfs {

// One PredictRequest of exactly `size` bytes, read once. Elements stand in tensor_content (copied once, to an address aligned
// to kBufferAlignment) or, when that is empty, in the *_val field of their dtype. Version 0 is the default version.
// signature_name is ignored, as OVMS does. InvalidArgument for everything that is wrong here.
Status DecodePredictRequest(google::protobuf::io::ZeroCopyInputStream& message, size_t size, TimePoint now,
                            DecodedRequest& request);

// TensorFlow's abbreviation: fewer values than the shape has elements stand for all of them, the last one repeated. Spelled out
// here, once the model's signature says that it takes such a shape: a few bytes must not make the server fill memory that no
// model asked for. Strings too, also those that stand for a tensor (serving/encoded_inputs.h). At most 1 GiB in one request, a
// string with its text each time, else InvalidArgument.
Status ExpandValues(const Signature& signature, DecodedRequest& request);

// A PredictResponse for a call that ended well. Elements stand in tensor_content, large ones referred to, not copied; strings
// in string_val.
Frame EncodePredictResponse(const InferCall& call);

// For the listener. PredictionService: Predict and GetModelMetadata; ModelService: GetModelStatus and
// HandleReloadConfigRequest. The others answer UNIMPLEMENTED.
RpcService PredictionService();
RpcService ModelService();

}  // namespace switchyard::tfs
