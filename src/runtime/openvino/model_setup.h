// A model as it was read, to the model as it is served: layouts, shapes, batch, and the signature that clients see.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>

#include "base/status.h"
#include "config/settings.h"
#include "tensor/signature.h"

namespace switchyard {

// Applies the settings' layouts, then shapes and batch size, in place: shapes are what clients send, after a layout's
// transposition. InvalidArgument when a name is not the model's, or the model refuses a shape or layout; the model is of no use
// then. `batch_size` is not applied when shapes are given, as OVMS does.
Status ApplySettings(std::shared_ptr<ov::Model>& model, const ModelSettings& settings);

// Public names: of an input its tensor's name (of several, the one that the operation bears, else the first in the alphabet),
// of an output likewise, and `out_<index>` when it has none. Every name is unique. InvalidArgument when a type cannot be
// carried.
StatusOr<Signature> MakeSignature(const ov::Model& model);

}  // namespace switchyard
