#include "runtime/openvino/openvino_request.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/log.h"
#include "device/fault.h"
#include "device/target.h"
#include "runtime/openvino/convert.h"

namespace switchyard {
namespace {

// Gives tensors memory of the buffers' pool. It keeps the blocks itself, so that it does not matter which size OpenVINO names
// when it gives one back.
class PoolAllocator {
 public:
  PoolAllocator() : blocks_(std::make_shared<std::vector<Buffer>>()) {}
  void* allocate(size_t bytes, size_t /*alignment*/) { return blocks_->emplace_back(Buffer::Allocate(bytes)).data(); }
  void deallocate(void* block, size_t /*bytes*/, size_t /*alignment*/) noexcept {
    std::erase_if(*blocks_, [block](const Buffer& buffer) { return buffer.data() == block; });
  }
  bool is_equal(const PoolAllocator& other) const { return blocks_ == other.blocks_; }

 private:
  std::shared_ptr<std::vector<Buffer>> blocks_;
};

ov::Shape ToOvShape(absl::Span<const int64_t> shape) { return ov::Shape(shape.begin(), shape.end()); }

bool SameShape(const ov::Shape& a, const Shape& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](size_t x, int64_t y) { return static_cast<int64_t>(x) == y; });
}

// OpenVINO refuses a null pointer, also for no elements at all.
void* MutableData(const TensorView& view) {
  static std::byte none[kBufferAlignment];
  return view.data == nullptr ? none : const_cast<std::byte*>(view.data);
}

// Without "Check '...' failed at src/...:43:" and "Exception from src/...:9:", which the plugins write into their lines.
std::string WithoutPlaces(std::string message) {
  constexpr std::string_view kCheck = "Check '";
  constexpr std::string_view kFailed = "' failed at ";
  constexpr std::string_view kException = "Exception from ";
  // From `begin` to the end of the place that stands at `place`.
  const auto cut = [&](size_t begin, size_t place) {
    const size_t end = std::min(message.find(' ', place), message.size());
    while (begin > 0 && message[begin - 1] == ' ') --begin;
    message.erase(begin, message[end - 1] == ';' ? end - 1 - begin : end - begin);
  };
  for (size_t at; (at = message.find(kFailed)) != std::string::npos;) {
    const size_t check = message.rfind(kCheck, at);
    cut(check == std::string::npos ? at : check, at + kFailed.size());
  }
  for (size_t at; (at = message.find(kException)) != std::string::npos;) cut(at, at + kException.size());
  return message;
}

// An error of an inference, with whose fault it is. A device's own is no answer of a server that works: UNAVAILABLE. Shapes
// that the caller chose, and that do not fit each other, are no error of the server's: INVALID_ARGUMENT.
Status Judged(const OpenVinoModel& model, std::string_view context, std::string_view what) {
  const std::string message = fmt::format("{}: {}", context, ReadableMessage(what));
  const Fault fault = ClassifyFault(FaultyDevice(model.facts().device), message);
  const auto& inputs = model.signature().inputs;
  const bool open = std::any_of(inputs.begin(), inputs.end(), [](const TensorSpec& spec) { return !spec.shape.is_static(); });
  if (fault == Fault::kModel && open && IsShapeFault(what)) {
    return InvalidArgument("The shapes of the inputs do not fit each other in the model: {}",
                           WithoutPlaces(LayerMessage(what)));
  }
  const StatusCode code = fault == Fault::kDevice ? StatusCode::kUnavailable : StatusCode::kInternal;
  return MarkFault(Status(code, WithoutPlaces(message)), fault);
}

// Catches what `call` throws.
template <typename Call>
Status Try(const OpenVinoModel& model, std::string_view context, Call&& call) {
  try {
    call();
    return absl::OkStatus();
  } catch (const ov::Cancelled& exception) {
    return Error(StatusCode::kCancelled, "{}: {}", context, ReadableMessage(exception.what()));
  } catch (const std::exception& exception) {
    return Judged(model, context, exception.what());
  } catch (...) {
    return Judged(model, context, "an exception of an unknown kind");
  }
}

ov::Shape Smallest(const ov::PartialShape& shape) {
  if (shape.rank().is_dynamic()) return {0};
  return shape.get_min_shape();
}

}  // namespace

OpenVinoRequest::OpenVinoRequest(std::shared_ptr<OpenVinoModel> model, ov::InferRequest request)
    : model_(std::move(model)), request_(std::move(request)) {
  const Signature& signature = model_->signature();
  const ov::CompiledModel compiled = request_.get_compiled_model();
  for (size_t i = 0; i < signature.inputs.size(); ++i) {
    const size_t port = model_->port_order().inputs[i];
    inputs_.push_back({.port = port, .type = compiled.input(port).get_element_type(), .always_set = !model_->facts().cpu_only});
  }
  for (size_t i = 0; i < signature.outputs.size(); ++i) {
    const size_t port = model_->port_order().outputs[i];
    Output output{.port = port, .type = compiled.output(port).get_element_type(), .alias = model_->passed_through()[i]};
    output.smallest = compiled.output(port).get_partial_shape();
    outputs_.push_back(std::move(output));
  }
  if (model_->facts().cpu_only) FindAliases();
  for (size_t i = 0; i < outputs_.size(); ++i) {
    Output& output = outputs_[i];
    const TensorSpec& spec = signature.outputs[i];
    if (spec.type == ElementType::kBytes) {
      output.alias.reset();
    } else if (output.alias) {
      output.in_buffer = true;
      inputs_[*output.alias].always_set = true;
    } else if (spec.shape.is_static()) {
      output.shape = ToOvShape(spec.shape.ToShape());
      output.bytes = ByteCount(spec.shape.ToShape(), ElementSize(spec.type)).value_or(0);
      output.in_buffer = output.bytes > kCopyLimit;
    }
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const TensorSpec& spec = signature.inputs[i];
    Input& input = inputs_[i];
    if (input.always_set || spec.type == ElementType::kBytes || !spec.shape.is_static()) continue;
    input.own = request_.get_input_tensor(inputs_[i].port);
    input.own_shape = input.own.get_shape();
    input.own_data = static_cast<std::byte*>(input.own.data());
    input.own_is_set = true;
  }
  // Set once: it costs an allocation, and runs for start_async() alone.
  request_.set_callback([this](std::exception_ptr exception) { OnDone(std::move(exception)); });
}

// The plugin's own optimisation may turn an output into an alias where the model as it was read has operations in between.
void OpenVinoRequest::FindAliases() {
  const Signature& signature = model_->signature();
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const TensorSpec& spec = signature.inputs[i];
    if (spec.type == ElementType::kBytes) continue;
    const void* data = nullptr;
    if (spec.shape.is_static()) {
      data = request_.get_input_tensor(inputs_[i].port).data();
    } else {
      ov::Shape shape = Smallest(ToOpenVino(spec.shape));
      for (size_t& dimension : shape) dimension = std::max<size_t>(dimension, 1);
      try {
        ov::Tensor probe(inputs_[i].type, shape);
        request_.set_input_tensor(inputs_[i].port, probe);
        data = probe.data();
      } catch (const std::exception& exception) {
        LogDebug("Input {} takes no probe: {}", spec.name, ReadableMessage(exception.what()));
        continue;
      }
    }
    for (size_t j = 0; j < outputs_.size(); ++j) {
      if (signature.outputs[j].type == ElementType::kBytes || outputs_[j].alias) continue;
      const ov::Tensor tensor = request_.get_output_tensor(outputs_[j].port);
      if (tensor.get_size() > 0 && tensor.data() == data) outputs_[j].alias = i;
    }
  }
}

Status OpenVinoRequest::Bind(absl::Span<const TensorView> inputs, absl::Span<const OutputPlace> places) {
  state_ = State::kIdle;
  if (inputs.size() != inputs_.size()) {
    return Error(StatusCode::kInternal, "Expected {} inputs; got {}", inputs_.size(), inputs.size());
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorView& view = inputs[i];
    const bool complete = view.type == ElementType::kBytes ? ElementCount(view.shape) == view.strings.size()
                                                           : ByteCount(view.shape, ElementSize(view.type)) == view.bytes;
    const TensorSpec& spec = model_->signature().inputs[i];
    if (complete && view.type == spec.type) continue;
    return Error(StatusCode::kInternal, "Input {} was not validated: {} {} with {} bytes", spec.name, PrecisionName(view.type),
                 ToString(view.shape), view.bytes);
  }
  return Try(*model_, "Cannot set the tensors", [&] {
    for (size_t i = 0; i < outputs_.size(); ++i) {
      outputs_[i].place = i < places.size() ? places[i] : OutputPlace();
      BindOutput(i, inputs);
    }
    for (size_t i = 0; i < inputs.size(); ++i) BindInput(i, inputs[i]);
    state_ = State::kBound;
  });
}

void OpenVinoRequest::SetOwn(size_t index, const TensorView& view) {
  Input& input = inputs_[index];
  if (input.own_is_set && SameShape(input.own_shape, view.shape)) return;
  if (!input.own || !SameShape(input.own_shape, view.shape)) {
    input.own_shape = ToOvShape(view.shape);
    input.own = ov::Tensor(input.type, input.own_shape);
    input.own_data = view.type == ElementType::kBytes ? nullptr : static_cast<std::byte*>(input.own.data());
  }
  input.own_is_set = false;
  request_.set_input_tensor(input.port, input.own);
  input.own_is_set = true;
}

void OpenVinoRequest::BindStrings(size_t index, const TensorView& view) {
  SetOwn(index, view);
  auto* elements = inputs_[index].own.data<std::string>();
  for (size_t i = 0; i < view.strings.size(); ++i) elements[i].assign(view.strings[i]);
}

void OpenVinoRequest::BindInput(size_t index, const TensorView& view) {
  if (view.type == ElementType::kBytes) return BindStrings(index, view);
  Input& input = inputs_[index];
  if (!input.always_set && view.bytes <= kCopyLimit) {
    SetOwn(index, view);
    if (view.bytes > 0) std::memcpy(input.own_data, view.data, view.bytes);
    return;
  }
  input.own_is_set = false;
  request_.set_input_tensor(input.port, ov::Tensor(input.type, ToOvShape(view.shape), MutableData(view)));
}

void OpenVinoRequest::BindOutput(size_t index, absl::Span<const TensorView> inputs) {
  Output& output = outputs_[index];
  if (output.in_buffer) {
    if (output.alias) {
      const TensorView& input = inputs[*output.alias];
      if (!output.buffer || output.bytes != input.bytes) output.buffer = Buffer::Allocate(input.bytes);
      output.bytes = input.bytes;
      output.shape = ToOvShape(input.shape);
    } else if (WritesInPlace(output)) {
      output.in_place = true;
      request_.set_output_tensor(output.port, ov::Tensor(output.type, output.shape, output.place.data));
      return;
    } else {
      if (output.buffer && !output.in_place) return;
      if (!output.buffer) output.buffer = Buffer::Allocate(output.bytes);
    }
    output.in_place = false;
    request_.set_output_tensor(output.port, ov::Tensor(output.type, output.shape, output.buffer.data()));
  } else if (output.grows && !output.grown) {
    try {
      ov::Tensor tensor(output.type, Smallest(output.smallest), ov::Allocator(PoolAllocator()));
      request_.set_output_tensor(output.port, tensor);
      output.grown = std::move(tensor);
    } catch (const std::exception& exception) {
      LogDebug("Output {} is copied: {}", index, ReadableMessage(exception.what()));
      output.grows = false;
    }
  }
}

Status OpenVinoRequest::Infer() {
  if (state_ != State::kBound) return Error(StatusCode::kInternal, "No inputs are bound");
  return Try(*model_, "The inference failed", [&] {
    state_ = State::kIdle;
    request_.infer();
    state_ = State::kDone;
  });
}

void OpenVinoRequest::StartAsync(Done done) {
  if (state_ != State::kBound) return done(Error(StatusCode::kInternal, "No inputs are bound"));
  state_ = State::kIdle;
  done_ = std::move(done);
  Status started = Try(*model_, "The inference did not start", [&] { request_.start_async(); });
  // From here on nothing of this object may be touched when the start succeeded: the callback may have run.
  if (started.ok()) return;
  Done failed = std::move(done_);
  failed(std::move(started));
}

void OpenVinoRequest::OnDone(std::exception_ptr exception) {
  Done done = std::move(done_);
  Status status;
  if (exception) {
    status = Try(*model_, "The inference failed", [&] { std::rethrow_exception(exception); });
  } else {
    state_ = State::kDone;
  }
  // The callback may start the next inference here, which sets done_ anew.
  done(std::move(status));
}

bool OpenVinoRequest::WritesInPlace(const Output& output) const {
  return model_->facts().cpu_only && output.place.data != nullptr && output.place.bytes >= output.bytes;
}

// False: there is no place, or it is too small.
bool OpenVinoRequest::CopyToPlace(const Output& output, const std::byte* data, size_t bytes, OutputTensor& result) const {
  if (output.place.data == nullptr || output.place.bytes < bytes) return false;
  if (data != output.place.data && bytes > 0) std::memcpy(output.place.data, data, bytes);
  result.data = output.place.data;
  result.bytes = bytes;
  return true;
}

OutputTensor OpenVinoRequest::TakeBuffer(Output& output) {
  OutputTensor result;
  result.shape.assign(output.shape.begin(), output.shape.end());
  if (CopyToPlace(output, output.in_place ? output.place.data : output.buffer.data(), output.bytes, result)) return result;
  result.bytes = output.bytes;
  auto owner = std::make_shared<Buffer>(std::move(output.buffer));
  result.data = owner->data();
  result.owner = std::move(owner);
  return result;
}

OutputTensor OpenVinoRequest::Copy(const ov::Tensor& tensor, ElementType type) {
  OutputTensor result;
  if (type == ElementType::kBytes) {
    const auto* elements = tensor.data<const std::string>();
    result.strings.assign(elements, elements + tensor.get_size());
    return result;
  }
  result.bytes = tensor.get_byte_size();
  auto owner = std::make_shared<Buffer>(Buffer::Allocate(result.bytes));
  if (result.bytes > 0) std::memcpy(owner->data(), tensor.data(), result.bytes);
  result.data = owner->data();
  result.owner = std::move(owner);
  return result;
}

OutputTensor OpenVinoRequest::TakeTensor(size_t index) {
  Output& output = outputs_[index];
  const ElementType type = model_->signature().outputs[index].type;
  const ov::Tensor tensor = output.grown ? output.grown : request_.get_output_tensor(output.port);
  OutputTensor result;
  if (type != ElementType::kBytes &&
      CopyToPlace(output, static_cast<const std::byte*>(tensor.data()), tensor.get_byte_size(), result)) {
    output.grows = output.grows || tensor.get_byte_size() > kCopyLimit;
  } else if (type != ElementType::kBytes && tensor.get_byte_size() > kCopyLimit && output.grown) {
    auto owner = std::make_shared<ov::Tensor>(std::move(output.grown));
    output.grown = ov::Tensor();
    result.bytes = owner->get_byte_size();
    result.data = static_cast<const std::byte*>(owner->data());
    result.owner = std::move(owner);
  } else {
    output.grows = output.grows || (type != ElementType::kBytes && tensor.get_byte_size() > kCopyLimit);
    result = Copy(tensor, type);
  }
  const ov::Shape& shape = tensor.get_shape();
  result.shape.assign(shape.begin(), shape.end());
  return result;
}

Status OpenVinoRequest::ResetState() {
  return Try(*model_, "Cannot reset the model's state", [&] { request_.reset_state(); });
}

StatusOr<OutputTensor> OpenVinoRequest::TakeOutput(size_t index) {
  const auto taken = [](const Output& output) { return output.in_buffer && !output.in_place && !output.buffer; };
  if (state_ != State::kDone || index >= outputs_.size() || taken(outputs_[index])) {
    return Error(StatusCode::kInternal, "Output {} is not there: no inference has written it", index);
  }
  return Guarded(StatusCode::kInternal, "Cannot take the output", [&]() -> StatusOr<OutputTensor> {
    Output& output = outputs_[index];
    OutputTensor result = output.in_buffer ? TakeBuffer(output) : TakeTensor(index);
    result.type = model_->signature().outputs[index].type;
    return result;
  });
}

}  // namespace switchyard
