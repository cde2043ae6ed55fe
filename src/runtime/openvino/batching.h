// Models whose calls are joined: the batch becomes a dimension that varies.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>

#include "base/status.h"
#include "config/settings.h"
#include "runtime/openvino/ports.h"

namespace switchyard {

// With settings.dynamic_batching, after every other setting was applied: the batch of each input becomes 1 to max_batch_size,
// in place; with a fixed batch_size it stays, for batches that are filled up to it. InvalidArgument, with the remedy: the model
// keeps state, an input has no batch, the model does not take a batch that varies or not so many rows, or an output does not
// have the rows of the inputs, so that nobody could tell whose they are. The model is of no use then.
Status PrepareBatching(ov::Model& model, const ModelSettings& settings, const PortNames& names);

}  // namespace switchyard
