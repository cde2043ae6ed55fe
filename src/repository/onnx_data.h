// The files in which an ONNX model keeps tensors outside of itself.
#pragma once

#include <string>
#include <vector>

namespace switchyard {

// Relative to the model's folder, sorted. Reads the heads of the tensors alone, whose data is passed over. Empty for what is no
// ONNX file; what a damaged file says before its damage.
std::vector<std::string> OnnxDataFiles(const std::string& model_path);

}  // namespace switchyard
