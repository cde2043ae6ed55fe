// Rows of several calls in one tensor, and back.
#pragma once

#include <cstddef>
#include <vector>

#include "base/status.h"
#include "serving/infer_call.h"
#include "tensor/signature.h"

namespace switchyard {

// The rows of a validated and bound call: the size of its inputs' batch dimensions, which must agree (InvalidArgument).
StatusOr<size_t> RowsOf(const Signature& signature, const InferCall& call);

// Whether two such calls have the same shapes in all dimensions but the batch.
bool MayJoin(const Signature& signature, const InferCall& a, const InferCall& b);

// Binds `batch` to the rows of all the calls, in their order; zeros (empty strings) follow up to `rows`, the size of the whole
// batch. One call that fills it is not copied: `batch` then reads that call's memory. Anything else is copied once, into memory
// of `batch`. Unavailable: there is none; `batch` is of no use then.
Status JoinInputs(const Signature& signature, const std::vector<std::shared_ptr<InferCall>>& calls, size_t rows,
                  InferCall& batch);

// Rows [first, first + count) of a batch's output of `total` rows. Where the batch is the first dimension this is a view that
// shares the owner of the memory that the device wrote; anything else is copied. Internal: the output has other rows.
// Unavailable: there is no memory for the copy.
StatusOr<OutputTensor> SliceOutput(const TensorSpec& spec, const OutputTensor& whole, size_t first, size_t count, size_t total);

}  // namespace switchyard
