// mapping_config.json: other names for a model's inputs and outputs, in a file beside it.
#pragma once

#include <map>
#include <string>

#include "base/status.h"

namespace switchyard {

// From the model's own name to the public one.
struct NameMapping {
  std::map<std::string, std::string> inputs;
  std::map<std::string, std::string> outputs;
  bool empty() const { return inputs.empty() && outputs.empty(); }
};

// Where the mapping of this model is, if it has one: beside its file, or in the folder that it is.
std::string MappingPath(const std::string& model_path);
// Empty when there is no such file. InvalidArgument, with the path and the place: it is no object of "inputs" and "outputs"
// that are objects of strings, a name is empty, or one stands for two tensors.
StatusOr<NameMapping> ReadNameMapping(const std::string& model_path);

}  // namespace switchyard
