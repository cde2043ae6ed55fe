// What came of a load, asked of the compiled model.
#pragma once

#include <cstdint>
#include <openvino/core/model.hpp>
#include <openvino/runtime/compiled_model.hpp>
#include <string>

#include "runtime/runtime.h"

namespace switchyard {

// `model` is what was compiled, `cached` says that a cache was used. What the device does not tell stays empty. The times are
// not filled in. Throws what OpenVINO throws.
LoadFacts MakeFacts(const ov::Model& model, const ov::CompiledModel& compiled, const std::string& target, uint32_t nireq,
                    bool cached);

// Whether it was imported from a cache.
bool FromCache(const ov::CompiledModel& compiled);

}  // namespace switchyard
