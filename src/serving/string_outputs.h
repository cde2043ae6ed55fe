// OVMS's convention for models without string tensors: a U8 output of two dimensions whose name ends with "_string" is strings.
#pragma once

#include "tensor/signature.h"
#include "tensor/tensor_view.h"

namespace switchyard {

bool GivesStringRows(const TensorSpec& spec);

// Each row up to its first zero, as a tensor of strings with one dimension.
OutputTensor ToStrings(const OutputTensor& rows);

}  // namespace switchyard
