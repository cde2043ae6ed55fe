// What is done to inputs and outputs in front of a model and behind it: OpenVINO's pre- and post-processing, made part of the
// model.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>
#include <string>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

// For one input, as settings say; what was not said is unset.
struct InputSteps {
  const LayoutSetting* layout = nullptr;
  const ColorSetting* color = nullptr;
  const PrecisionSetting* precision = nullptr;
  const std::vector<float>* mean = nullptr;
  const std::vector<float>* scale = nullptr;

  // Does it change what clients send?
  bool any() const { return color != nullptr || precision != nullptr || mean != nullptr || scale != nullptr; }
  // "layout NHWC:NCHW, mean of 3 values".
  std::string ToString() const;
  // The setting that an error is most likely about which names none.
  std::string_view FirstKey() const;
};

// Puts the steps before input `index`, in this order: colours, element type, mean, scale, layout. The input's tensors are then
// what clients send; an input of separate planes (NV12_2, I420_3) becomes two or three inputs, in the order y, uv or y, u, v,
// and `planes` is set to their names. InvalidArgument names the input and what does not fit; the model is of no use then.
Status PrepareInput(std::shared_ptr<ov::Model>& model, size_t index, const std::string& name, const InputSteps& steps,
                    std::vector<std::string>* planes);

// Transposes output `index` from the layout's model part to its tensor part.
Status PrepareOutput(std::shared_ptr<ov::Model>& model, size_t index, const std::string& name, const LayoutSetting& layout);

}  // namespace switchyard
