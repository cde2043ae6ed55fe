// TensorFlow-Serving's REST: :predict in its four JSON layouts, status and metadata.
//
// Decisions where TensorFlow Serving and OVMS differ or are silent:
// - Malformed JSON is 400. Numbers are converted to the model's element type, fractions cut off for integer types as OVMS
//   does, and each is checked against the type's range. FP16 and BF16 are rounded. BOOL takes true, false, 0 and 1.
// - NaN and the infinities are read as the strings and bare words of Python's json, and written as bare words.
// - Strings become elements of inputs of type BYTES, as they are or as {"b64": "..."}; so they do for inputs that take pictures
//   (b64 alone) or rows of text in their place (serving/encoded_inputs.h), whose shape is their number.
// - Outputs of type BYTES are strings; {"b64": "..."} where one is not UTF-8 or the output's name ends with "_bytes".
// - A row request's answer needs outputs with one common first dimension.
#pragma once

#include <string>

#include <absl/types/span.h>

#include "base/status.h"
#include "protocol/http/http_message.h"
#include "protocol/tfs/model_state.h"
#include "serving/infer_call.h"
#include "serving/manager.h"
#include "tensor/signature.h"

namespace switchyard {

// Fills inputs of `request`; `rows` says whether it was in row format. Names point into `signature` or the request's own
// memory. Every fault is InvalidArgument.
Status DecodeTfsPredict(const HttpBody& body, const Signature& signature, DecodedRequest& request, bool& rows);

// The JSON body of the reply to a call that was completed with OK.
StatusOr<std::string> EncodeTfsPredict(const InferCall& call, bool rows);

// {"model_version_status":[...]}; versions are strings, as protobuf's JSON has 64-bit integers.
std::string EncodeTfsStatus(absl::Span<const tfs::ReportedVersion> versions);
// {"<model>":{"model_version_status":[...]},...}, with "labels":{"stable":3} and "aliases":[...] of models that have some.
std::string EncodeTfsConfigStatus(absl::Span<const ModelStatus> models);
// GetModelMetadataResponse as protobuf's JSON has it.
std::string EncodeTfsMetadata(const Version& version);

}  // namespace switchyard
