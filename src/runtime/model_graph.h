// A model's operations as they are given to devices: for drawings.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "base/status.h"
#include "tensor/signature.h"

namespace switchyard {

struct GraphNode {
  std::string name;            // as in the model's file: any bytes
  std::string type;            // "Convolution"
  std::string device;          // canonical; empty when no plugin tells that it takes it
  std::string shape;           // of its outputs: "(1,64,?,?)", several with ", " between
  std::vector<size_t> inputs;  // nodes before this one, in the order of its inputs; one may stand several times
};

struct ModelGraph {
  std::vector<GraphNode> nodes;  // every node after its inputs
  size_t left_out = 0;           // constants, and operations that compute with nothing but constants
  Signature signature;           // as that of the compiled model
  // What Load would refuse before it compiles, though the model can be read and divided: a device with too little memory for
  // it, and with strict_placement one that gets no layer.
  Status load_refusal = absl::OkStatus();
};

// Whether the model keeps state between inferences, in variables.
inline bool KeepsState(const ModelGraph& graph) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(),
                     [](const GraphNode& node) { return node.type.starts_with("ReadValue"); });
}

}  // namespace switchyard
