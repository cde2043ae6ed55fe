// KServe v2's inference over REST: JSON with the binary extension, to an InferCall and back.
//
// Decisions where the standard is silent or OVMS falls short:
// - Inputs may come as JSON and as binary data, mixed in one request. `data` may be nested or flat; only the number of its
//   values counts. INT64, UINT64 and FP64 are read in full. FP16 and BF16 come as binary data only.
// - NaN and the infinities have no form in JSON. They are read as the strings "NaN", "Infinity", "-Infinity" and as the
//   bare words that Python's json writes, and written as bare words (json_writer.h).
// - null for a member that may be left out is taken for that. binary_data_size 0 needs no header.
// - Only the outputs that `outputs` names are returned, in that order. binary_data_output is the default for every output
//   that does not say binary_data itself, whether `outputs` is there or not.
// - A tensor in shared memory has its place as parameters, in requests and replies, and neither data nor a binary part.
// - The request parameter `timeout` is in microseconds; 0 is none. `priority` is an integer; 1 goes first, 0 is none. Both may
//   be decimal text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "protocol/http/http_message.h"
#include "serving/infer_call.h"
#include "tensor/signature.h"

namespace switchyard {

// How the client wants the outputs.
struct KserveOutputForm {
  bool binary_default = false;
  std::vector<std::pair<std::string, bool>> binary;  // by output, where it is said

  bool IsBinary(std::string_view output) const;
};

// The value of Inference-Header-Content-Length. InvalidArgument when it is no number from 0 to kMaxJsonLength.
StatusOr<std::optional<uint64_t>> ParseJsonLength(const std::optional<std::string>& header);

// Fills everything of `request` but model and version. Binary inputs stay where they lie in `body`. `json_length` as parsed
// from the header: without it the whole body is JSON. Only a model whose signature has no inputs may be called without any.
// Every fault of the request is InvalidArgument.
Status DecodeKserveInfer(HttpBody body, std::optional<uint64_t> json_length, const Signature& signature, TimePoint now,
                         DecodedRequest& request, KserveOutputForm& form);

// The reply to a call that was completed with OK. Large binary outputs are referred to, not copied. InvalidArgument when an
// output of type BYTES that is wanted as JSON is not UTF-8.
StatusOr<HttpReply> EncodeKserveInfer(const InferCall& call, const KserveOutputForm& form);

}  // namespace switchyard
