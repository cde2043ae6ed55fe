// The one validator behind every protocol, with one order of checks (OVMS's): number of inputs, then for each input of the
// model its presence, the signs of its dimensions, element type, rank, batch, the other dimensions, and the size of the
// payload. Texts keep OVMS's shape, since people search for them.
#pragma once

#include "base/status.h"
#include "serving/infer_call.h"
#include "tensor/signature.h"

namespace switchyard {

// Fills call.bound_inputs (the signature's order) and call.wanted_outputs, or says what is wrong (InvalidArgument).
Status ValidateAndBind(const Signature& signature, InferCall& call);

}  // namespace switchyard
