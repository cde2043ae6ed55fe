// Which port of a compiled model is which of the model that it was compiled from. Devices keep the order, but for HETERO, whose
// ports come in the order of the parts that it made of the model.
#pragma once

#include <openvino/core/model.hpp>
#include <openvino/runtime/compiled_model.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "runtime/openvino/ports.h"

namespace switchyard {

// By index in the model that was compiled (the signature's order): the index in the compiled one.
struct PortOrder {
  std::vector<size_t> inputs;
  std::vector<size_t> outputs;
};

// Pairs are found by the names of their tensors, then by those of their operations; two outputs of one value may stand for each
// other. `names` are the public ones, for messages, `target` what it was compiled for. Internal when the numbers differ, when
// names do not tell which is which (on devices that keep the order, the place does), or when a pair's element types or shapes
// do not fit.
StatusOr<PortOrder> FindPortOrder(const ov::Model& model, const ov::CompiledModel& compiled, const PortNames& names,
                                  const std::string& target);

// The same for the ports of one `kind` ("input").
StatusOr<std::vector<size_t>> MatchPorts(const std::vector<Port>& model, const std::vector<Port>& compiled,
                                         const std::vector<std::string>& names, std::string_view kind,
                                         const std::string& target);

}  // namespace switchyard
