// A model as it was read, to the model as it is served: names, pre-processing, layouts, shapes, batch, and the signature that
// clients see.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>

#include "base/status.h"
#include "config/settings.h"
#include "runtime/openvino/name_mapping.h"
#include "runtime/openvino/ports.h"
#include "tensor/signature.h"

namespace switchyard {

// Gives the names of `mapping`, applies what is to be done to inputs (preprocess.h) and the layouts, then shapes and batch
// size, in place: names in settings are public ones, and shapes are what clients send. The answer are the public names.
// InvalidArgument when a name is not the model's, or the model refuses a setting (of a shape with the layer that does); the
// model is of no use then. `batch_size` is not applied when shapes are given, as OVMS does; shapes and batch sizes that are
// auto leave the model its own. Last comes dynamic_batching (batching.h).
StatusOr<PortNames> ApplySettings(std::shared_ptr<ov::Model>& model, const ModelSettings& settings, const NameMapping& mapping);

// `names` are ApplySettings' or PublicNames (ports.h). InvalidArgument when a type cannot be carried.
StatusOr<Signature> MakeSignature(const ov::Model& model, const PortNames& names);

}  // namespace switchyard
