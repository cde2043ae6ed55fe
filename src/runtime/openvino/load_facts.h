// What came of a load, asked of the compiled model.
#pragma once

#include <cstdint>
#include <openvino/core/model.hpp>
#include <openvino/core/partial_shape.hpp>
#include <openvino/runtime/compiled_model.hpp>
#include <string>

#include "runtime/runtime.h"

namespace switchyard {

// The rows that BATCH's compiled model takes for each row of the source model, by the shapes of one input of both; 1 where they
// cannot be compared. A GPU's plugin tells shapes with ones appended: (4,10,1,1) for (1,10).
int BatchFactor(const ov::PartialShape& source, const ov::PartialShape& compiled);

// `model` is what was compiled, `cached` says that a cache was used. What the device does not tell stays empty. The times are
// not filled in. Throws what OpenVINO throws.
LoadFacts MakeFacts(const ov::Model& model, const ov::CompiledModel& compiled, const std::string& target, uint32_t nireq,
                    bool cached);

// Whether it was imported from a cache.
bool FromCache(const ov::CompiledModel& compiled);

}  // namespace switchyard
