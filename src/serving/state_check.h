// Whether a model's state goes with its settings.
#pragma once

#include <string>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

// `has_state`: the model has variables; `batch_size`: what `device` joins by itself. InvalidArgument: "stateful" of a model
// without variables, or calls of several sequences in one batch.
Status CheckState(const ModelSettings& settings, bool has_state, int batch_size, const std::string& device);

}  // namespace switchyard
