#include "runtime/openvino/canary.h"

#include <openvino/opsets/opset13.hpp>

namespace switchyard {

std::shared_ptr<ov::Model> OneOperation() {
  const auto input = std::make_shared<ov::opset13::Parameter>(ov::element::f32, ov::PartialShape{1, 1});
  input->get_output_tensor(0).set_names({"input"});
  return std::make_shared<ov::Model>(ov::OutputVector{std::make_shared<ov::opset13::Relu>(input)}, ov::ParameterVector{input},
                                     "canary");
}

}  // namespace switchyard
