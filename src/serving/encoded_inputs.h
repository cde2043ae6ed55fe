// Strings that stand for tensors: JPEG and PNG pictures on inputs of four dimensions, texts on U8 inputs of two. Turned into
// what the model takes before the validator sees the call, for every protocol.
#pragma once

#include <absl/functional/any_invocable.h>

#include <memory>

#include "base/status.h"
#include "config/settings.h"
#include "serving/decode_options.h"
#include "serving/infer_call.h"
#include "tensor/signature.h"

namespace switchyard {

// What strings stand for on an input that is not of strings: pictures where it has four dimensions; rows, each with zeros
// behind it, where it is U8 and has two.
enum class EncodedForm { kNone, kImages, kRows };
EncodedForm EncodedFormOf(const TensorSpec& spec);

// Goes on with the call, once and on any thread: with OK it is ready for the validator. `call` holds its Version.
using Decoded = absl::AnyInvocable<void(const std::shared_ptr<InferCall>& call, const Status&)>;

// Whether any input of the call is encoded. The call holds its Version.
bool HasEncodedInputs(const InferCall& call);

// The same of a request that is no call yet, on this thread and whatever its size: InvalidArgument as there.
Status DecodeInputs(const Signature& signature, const ModelSettings& settings, const DecodeOptions& options,
                    DecodedRequest& request);

// Decodes them: a few small ones on this thread, all others by the pool. `then` runs at the end, possibly before this returns;
// not when the call was answered meanwhile (cancelled, too late), which ends the decoding too. ResourceExhausted when too many
// calls wait for the pool, InvalidArgument for what is no picture or does not fit the input.
void DecodeInputs(const std::shared_ptr<InferCall>& call, const DecodeOptions& options, Decoded then);

}  // namespace switchyard
