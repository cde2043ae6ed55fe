// What a model runs before it serves: requests that somebody recorded, or inputs of zeros.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "runtime/runtime.h"
#include "serving/infer_call.h"
#include "tensor/buffer.h"
#include "tensor/signature.h"
#include "tensor/tensor_view.h"

namespace switchyard {

// Reads recorded requests of a model with this signature. Set by whoever knows the protocols' formats.
using ReadRecorded = std::function<StatusOr<std::vector<DecodedRequest>>(const std::string& file, const Signature& signature)>;

// The same, with pictures and texts decoded as a client's are. Empty when `read` is.
ReadRecorded DecodeRecorded(const ReadRecorded& read, const ModelSettings& settings, uint64_t max_image_pixels);

// The requests of a file, each valid for the signature and bound to its inputs. InvalidArgument names the file, the request and
// what is wrong with it; Unimplemented when `read` is empty. Blocks on the file.
StatusOr<std::vector<std::shared_ptr<InferCall>>> RecordedCalls(const std::string& file, const ReadRecorded& read,
                                                                const Signature& signature);

// Inputs of zeros that fit the signature, as small as it leaves them. Not for strings.
struct ZeroInputs {
  explicit ZeroInputs(const Signature& signature);
  std::vector<Buffer> memory;
  std::vector<TensorView> views;
};

// All of warm_up.file's requests, and again until there were warm_up.requests. `requests` are all those of the model; BATCH's,
// which run together, run together. Blocks on the device. An error of RecordedCalls, or of an inference.
Status RunRecorded(const WarmUp& warm_up, const ReadRecorded& read, const CompiledModel& model,
                   const std::vector<std::unique_ptr<InferRequest>>& requests);

// ZeroInputs, warm_up.requests times; not with strings, nor where they would leave a state behind. Blocks on the device.
Status RunMadeUp(const WarmUp& warm_up, const CompiledModel& model, const std::vector<std::unique_ptr<InferRequest>>& requests);

}  // namespace switchyard
