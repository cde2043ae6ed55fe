// A model of one operation: what a device must be able to compute to be alive.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>

namespace switchyard {

// ReLU on FP32 [1,1].
std::shared_ptr<ov::Model> OneOperation();

}  // namespace switchyard
