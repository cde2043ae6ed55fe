// A model compiled by OpenVINO, and its infer requests.
#pragma once

#include <memory>
#include <openvino/runtime/compiled_model.hpp>
#include <openvino/runtime/core.hpp>
#include <optional>
#include <vector>

#include "runtime/openvino/port_order.h"
#include "runtime/runtime.h"

namespace switchyard {

class OpenVinoModel final : public CompiledModel, public std::enable_shared_from_this<OpenVinoModel> {
 public:
  // `order` tells which of `compiled`'s ports are the signature's. `passed_through[i]` is the input that output i hands on
  // unchanged, if it is such a one; both by the signature.
  OpenVinoModel(std::shared_ptr<ov::Core> core, ov::CompiledModel compiled, PortOrder order, Signature signature,
                LoadFacts facts, std::vector<std::optional<size_t>> passed_through);

  const Signature& signature() const override { return signature_; }
  const LoadFacts& facts() const override { return facts_; }
  // The request must not be destroyed within its own callback: OpenVINO's destructor waits for the callback to end.
  StatusOr<std::unique_ptr<InferRequest>> CreateInferRequest() override;

  const PortOrder& port_order() const { return order_; }
  const std::vector<std::optional<size_t>>& passed_through() const { return passed_through_; }

 private:
  // Destroyed last: the plugins' libraries live as long as the core.
  const std::shared_ptr<ov::Core> core_;
  ov::CompiledModel compiled_;
  const PortOrder order_;
  const Signature signature_;
  const LoadFacts facts_;
  const std::vector<std::optional<size_t>> passed_through_;
};

}  // namespace switchyard
