// The model as the NPU plugin hands it to a driver that compiles: a container around an OpenVINO IR, of which the driver needs
// the arguments and the names of the layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace npusim {

struct Precision {
  const char* ir_name;       // of a port
  const char* element_name;  // of an element_type
  uint32_t graph_code;       // the graph extension's
  uint32_t metadata_code;    // the same extension's, for the metadata of arguments
  uint32_t openvino_code;    // the OpenVINO C API's
  uint32_t bytes;            // of an element
};

struct Argument {
  bool is_input = false;
  std::string name;
  std::vector<std::string> tensor_names;
  std::vector<int64_t> dimensions;
  const Precision* precision = nullptr;
  int copy_of = -1;  // of an output: the argument that it is, untouched

  size_t bytes() const;
};

struct Port {
  std::string id, precision, names;
  std::vector<int64_t> dimensions;
};

struct Layer {
  std::string id, name, type, output_names;
  std::vector<Port> ports;
};

struct Ir {
  std::vector<Layer> layers;
  std::map<std::string, std::pair<std::string, std::string>> sources;  // of a layer's last edge: (layer, port)
};

// u16 major, u16 minor, u32 number of parts (2), u64 size of the XML, XML, u64 size of the weights, weights. False when the
// bytes are something else.
bool UnpackContainer(const uint8_t* bytes, size_t size, std::string* xml, std::vector<uint8_t>* weights);

// Top-level layers and edges; bodies of sub-graphs are left out.
bool ParseIr(const std::string& xml, Ir* ir);

// Inputs, then outputs, in the order of the IR. An empty string, or what this "compiler" can't do with the model.
std::string ReadArguments(const Ir& ir, std::vector<Argument>* arguments);

}  // namespace npusim
