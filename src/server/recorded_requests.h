// Requests that somebody recorded, for warming a model up.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "serving/infer_call.h"
#include "tensor/signature.h"

namespace switchyard {

// Of a .npy file: one request of a model with one input. Of any other: the body of a KServe inference request in JSON, or a
// JSON list of such bodies. At least one. InvalidArgument says what is wrong. Reads the file; blocks.
StatusOr<std::vector<DecodedRequest>> ReadRecordedRequests(const std::string& file, const Signature& signature);

}  // namespace switchyard
