// What a model says of itself beside its tensors.
#pragma once

#include <openvino/core/model.hpp>
#include <optional>
#include <vector>

#include "tensor/signature.h"

namespace switchyard {

// The model's rt_info "model_info", where tools of OpenVINO keep labels, thresholds and the like; none when it has none. Values
// are as OpenVINO writes them as text; what it cannot write, and what is nested deeper than anybody nests it, is left out.
std::optional<std::vector<ModelInfo>> ReadModelInfo(const ov::Model& model);

}  // namespace switchyard
