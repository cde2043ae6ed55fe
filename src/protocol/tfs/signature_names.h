// What the one signature that every model has is called, over gRPC and REST alike.
#pragma once

#include <string_view>

namespace switchyard::tfs {

// TensorFlow's signature by default.
inline constexpr std::string_view kSignatureName = "serving_default";
// Of a signature that Predict calls.
inline constexpr std::string_view kMethodName = "tensorflow/serving/predict";

}  // namespace switchyard::tfs
