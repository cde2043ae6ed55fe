#include "serving/warm_up.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/mutex.h"
#include "serving/encoded_inputs.h"
#include "serving/validator.h"

namespace switchyard {
namespace {

// Where the signature leaves the size open: the smallest, but at least one.
Shape SmallestShape(const PartialShape& shape) {
  Shape smallest;
  for (const Dimension& dimension : shape.dims) {
    smallest.push_back(dimension.is_static() ? dimension.min : std::max<int64_t>(1, dimension.min));
  }
  return smallest;
}

// One inference on a request of the lane. The requests that BATCH puts together run at once: one alone would wait for the
// others.
Status RunOnce(const std::vector<std::unique_ptr<InferRequest>>& requests, size_t first, size_t group,
               absl::Span<const TensorView> inputs) {
  if (group == 1) {
    InferRequest& request = *requests[first % requests.size()];
    SY_RETURN_IF_ERROR(request.Bind(inputs));
    return request.Infer();
  }
  Mutex mutex;
  size_t running = group;
  Status status;
  for (size_t i = 0; i < group; ++i) {
    const auto done = [&](const Status& one) {
      MutexLock lock(&mutex);
      if (!one.ok()) status = one;
      --running;
    };
    InferRequest& request = *requests[i];
    const Status bound = request.Bind(inputs);
    if (bound.ok()) {
      request.StartAsync(done);
    } else {
      done(bound);
    }
  }
  MutexLock lock(&mutex);
  mutex.Await([&] { return running == 0; });
  return status;
}

}  // namespace

ReadRecorded DecodeRecorded(const ReadRecorded& read, const ModelSettings& settings, uint64_t max_image_pixels) {
  if (!read) return read;
  return [read, settings, max_image_pixels](const std::string& file,
                                            const Signature& signature) -> StatusOr<std::vector<DecodedRequest>> {
    SY_ASSIGN_OR_RETURN(std::vector<DecodedRequest> requests, read(file, signature));
    const DecodeOptions options{.max_image_pixels = max_image_pixels};
    for (size_t i = 0; i < requests.size(); ++i) {
      const Status decoded = DecodeInputs(signature, settings, options, requests[i]);
      if (!decoded.ok()) return Annotate(decoded, fmt::format("request {}", i + 1));
    }
    return requests;
  };
}

StatusOr<std::vector<std::shared_ptr<InferCall>>> RecordedCalls(const std::string& file, const ReadRecorded& read,
                                                                const Signature& signature) {
  if (!read) return Error(StatusCode::kUnimplemented, "warmup: recorded requests are not read here");
  auto recorded = read(file, signature);
  if (!recorded.ok()) return Annotate(recorded.status(), "warmup: " + file);
  std::vector<std::shared_ptr<InferCall>> calls;
  for (DecodedRequest& one : *recorded) {
    auto call = std::make_shared<InferCall>();
    call->request = std::move(one);
    const Status bound = ValidateAndBind(signature, *call);
    if (!bound.ok()) return Annotate(bound, fmt::format("warmup: {}: request {}", file, calls.size() + 1));
    calls.push_back(std::move(call));
  }
  return calls;
}

ZeroInputs::ZeroInputs(const Signature& signature) {
  for (const TensorSpec& spec : signature.inputs) {
    TensorView view{spec.type, SmallestShape(spec.shape)};
    view.bytes = *ByteCount(view.shape, ElementSize(spec.type));
    memory.push_back(Buffer::Allocate(view.bytes));
    std::fill_n(memory.back().data(), view.bytes, std::byte{0});
    view.data = memory.back().data();
    views.push_back(view);
  }
}

Status RunRecorded(const WarmUp& warm_up, const ReadRecorded& read, const CompiledModel& model,
                   const std::vector<std::unique_ptr<InferRequest>>& requests) {
  SY_ASSIGN_OR_RETURN(const auto calls, RecordedCalls(warm_up.file, read, model.signature()));
  const size_t count = std::max<size_t>(warm_up.requests, calls.size());
  for (size_t i = 0; i < count; ++i) {
    const Status run = RunOnce(requests, i, std::max(1, model.facts().batch_size), calls[i % calls.size()]->bound_inputs);
    if (!run.ok()) return Annotate(run, fmt::format("warmup: {}: request {}", warm_up.file, i % calls.size() + 1));
  }
  return absl::OkStatus();
}

Status RunMadeUp(const WarmUp& warm_up, const CompiledModel& model,
                 const std::vector<std::unique_ptr<InferRequest>>& requests) {
  const Signature& signature = model.signature();
  const bool unknown = std::any_of(signature.inputs.begin(), signature.inputs.end(), [](const TensorSpec& spec) {
    return spec.type == ElementType::kBytes || spec.shape.dynamic_rank;
  });
  if (unknown || model.facts().stateful) return absl::OkStatus();
  const ZeroInputs zeros(signature);
  for (uint32_t i = 0; i < warm_up.requests; ++i) {
    SY_RETURN_IF_ERROR(RunOnce(requests, i, std::max(1, model.facts().batch_size), zeros.views));
  }
  return absl::OkStatus();
}

}  // namespace switchyard
