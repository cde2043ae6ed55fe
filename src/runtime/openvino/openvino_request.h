// One ov::InferRequest and the memory that it reads and writes.
#pragma once

#include <memory>
#include <openvino/runtime/infer_request.hpp>
#include <openvino/runtime/tensor.hpp>
#include <optional>
#include <vector>

#include "runtime/openvino/openvino_model.h"
#include "runtime/runtime.h"
#include "tensor/buffer.h"

namespace switchyard {

// How tensors reach the device:
// - Small inputs are copied into a tensor that stays set: setting one costs as much as copying kCopyLimit bytes does. Larger
//   ones, and all on other devices than the CPU, are set where they lie.
// - Small outputs of fixed size are copied out of the request's own tensor. Larger ones are written by the device into a
//   Buffer, which TakeOutput gives away, or by the CPU straight into their place.
// - Outputs of dynamic size are copied while they are small; after the first large one the device writes into a tensor that
//   grows in the buffers' pool, which TakeOutput gives away.
// - An output that hands on an input is one tensor with it inside OpenVINO: setting either replaces both, so that both are set
//   for each inference, the output first.
class OpenVinoRequest final : public InferRequest {
 public:
  static constexpr size_t kCopyLimit = 32 * 1024;  // bytes

  OpenVinoRequest(std::shared_ptr<OpenVinoModel> model, ov::InferRequest request);

  using InferRequest::Bind;
  Status Bind(absl::Span<const TensorView> inputs, absl::Span<const OutputPlace> places) override;
  Status Infer() override;
  void StartAsync(Done done) override;
  StatusOr<OutputTensor> TakeOutput(size_t index) override;
  Status ResetState() override;

 private:
  struct Input {
    size_t port = 0;  // in the compiled model, whose order may be another than the signature's
    ov::element::Type type;
    bool always_set = false;  // never copied into `own`
    bool own_is_set = false;
    ov::Tensor own;
    ov::Shape own_shape;
    std::byte* own_data = nullptr;  // numbers only
  };
  struct Output {
    size_t port = 0;  // likewise
    ov::element::Type type;
    std::optional<size_t> alias;  // the input that it hands on
    bool in_buffer = false;       // bound to `buffer`; `shape` is known before the inference
    ov::Shape shape;
    size_t bytes = 0;
    Buffer buffer;
    bool grows = false;  // dynamic: bound to `grown`
    ov::Tensor grown;
    ov::PartialShape smallest;
    OutputPlace place;      // of this inference
    bool in_place = false;  // bound to it
  };

  void FindAliases();
  void BindInput(size_t index, const TensorView& view);
  void BindStrings(size_t index, const TensorView& view);
  void SetOwn(size_t index, const TensorView& view);
  void BindOutput(size_t index, absl::Span<const TensorView> inputs);
  bool WritesInPlace(const Output& output) const;
  bool CopyToPlace(const Output& output, const std::byte* data, size_t bytes, OutputTensor& result) const;
  OutputTensor TakeBuffer(Output& output);
  OutputTensor Copy(const ov::Tensor& tensor, ElementType type);
  OutputTensor TakeTensor(size_t index);
  void OnDone(std::exception_ptr exception);

  // Destroyed last; keeps the compiled model and the core.
  const std::shared_ptr<OpenVinoModel> model_;
  std::vector<Input> inputs_;
  std::vector<Output> outputs_;
  Done done_;
  enum class State { kIdle, kBound, kDone } state_ = State::kIdle;
  ov::InferRequest request_;
};

}  // namespace switchyard
