// How much of a device's memory a model needs at least, reckoned from its graph: an estimate, made before anything is compiled.
#pragma once

#include <cstdint>
#include <openvino/core/any.hpp>
#include <openvino/core/model.hpp>
#include <openvino/core/type/element_type.hpp>
#include <string>

#include "base/status.h"

namespace switchyard {

struct MemoryNeed {
  uint64_t constants = 0;            // the weights, at the precision that the device computes in
  uint64_t tensors_per_request = 0;  // inputs and outputs
  uint64_t requests = 1;
  // Stays at the largest number where it would not fit.
  uint64_t total() const;
};

// Weights of any real type count at `execution` (a device keeps them so, however the file keeps them), others at their own
// size. A dimension that is not known counts at its smallest, at least 1: what is reckoned is needed in any case.
MemoryNeed NeedOf(const ov::Model& model, const ov::element::Type& execution, uint64_t requests);

// What a GPU computes a model in when it is compiled with `properties`: f16, unless INFERENCE_PRECISION_HINT or
// EXECUTION_MODE_HINT says otherwise.
ov::element::Type GpuPrecision(const ov::AnyMap& properties);

// ResourceExhausted when `need` is more than `total` less `used`, which is what this process has taken of the device already.
// The message has the figures and what can be done.
Status CheckFits(const MemoryNeed& need, const std::string& target, uint64_t total, uint64_t used);

}  // namespace switchyard
