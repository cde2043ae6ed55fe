// An ov::Model as the graph that tools draw.
#pragma once

#include <memory>
#include <openvino/runtime/core.hpp>
#include <string>

#include "base/status.h"
#include "runtime/model_graph.h"

namespace switchyard {

// Without constants and what depends on constants alone. Asks the plugins when the canonical `target` is HETERO; Internal when
// they refuse.
StatusOr<ModelGraph> ReadGraph(ov::Core& core, const std::shared_ptr<ov::Model>& model, const std::string& target,
                               const ov::AnyMap& properties);

}  // namespace switchyard
