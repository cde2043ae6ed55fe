#include "serving/lane_maker.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.h"
#include "serving/executor.h"
#include "tensor/buffer.h"

namespace switchyard {
namespace {

// Inputs of zeros that fit a static signature, for measuring.
struct ZeroInputs {
  explicit ZeroInputs(const Signature& signature) {
    for (const TensorSpec& spec : signature.inputs) {
      TensorView view{spec.type, spec.shape.ToShape()};
      view.bytes = *ByteCount(view.shape, ElementSize(spec.type));
      memory.push_back(Buffer::Allocate(view.bytes));
      std::fill_n(memory.back().data(), view.bytes, std::byte{0});
      view.data = memory.back().data();
      views.push_back(view);
    }
  }
  std::vector<Buffer> memory;
  std::vector<TensorView> views;
};

// With more than one stream, OpenVINO's infer() hands the work to a stream's thread and waits for it.
bool MayRunInline(const CompiledModel& model) {
  return model.facts().cpu_only && model.facts().num_streams == 1 && model.facts().steady_cost &&
         std::all_of(model.signature().inputs.begin(), model.signature().inputs.end(),
                     [](const TensorSpec& spec) { return spec.shape.is_static() && spec.type != ElementType::kBytes; });
}

// BATCH runs requests together in groups: a group that can't be filled waits for its timeout.
size_t RequestCount(const LoadFacts& facts) {
  const size_t wanted = std::max(1, facts.optimal_requests);
  const size_t group = std::max(1, facts.batch_size);
  return (wanted + group - 1) / group * group;
}

Status CheckState(const ModelSettings& settings, const LoadFacts& facts) {
  if (settings.stateful.value_or(false) && !facts.stateful) {
    return InvalidArgument(
        "stateful is true, but the model has no variables{}: leave stateful out, or give a model that keeps state between "
        "calls",
        settings.low_latency_transformation ? ", and the low-latency transformation found no loop to make any of"
                                            : " (low_latency_transformation makes some of its loops)");
  }
  if (facts.stateful && facts.batch_size > 1) {
    return InvalidArgument(
        "{} cannot run a model that keeps state: the calls of several sequences would be one batch, with one state; name the "
        "device without BATCH",
        facts.device);
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::shared_ptr<Lane>> MakeLane(Runtime& runtime, const Timer& timer, LaneRequest request) {
  const ModelSettings& settings = request.load.settings;
  SY_ASSIGN_OR_RETURN(std::shared_ptr<CompiledModel> model, runtime.Load(request.load));
  SY_RETURN_IF_ERROR(CheckState(settings, model->facts()));
  std::vector<std::unique_ptr<InferRequest>> requests;
  const auto add = [&]() -> Status {
    SY_ASSIGN_OR_RETURN(std::unique_ptr<InferRequest> one, model->CreateInferRequest());
    requests.push_back(std::move(one));
    return absl::OkStatus();
  };
  for (size_t i = 0; i < RequestCount(model->facts()); ++i) SY_RETURN_IF_ERROR(add());
  if (MayRunInline(*model)) {
    const ZeroInputs zeros(model->signature());
    const StatusOr<Duration> cost = MeasureCost(*requests.front(), zeros.views, timer);
    if (cost.ok()) {
      request.options.inline_cost = *cost;
    } else {
      // A model that refuses zeros (an index out of range, say) is not broken: it only stays on the asynchronous path.
      LogDebug("Model {} version {}: no inference on zeros: {}", settings.name, request.load.version, Message(cost.status()));
    }
    // A cheap model takes as many requests as there are threads that may run it, so that none has to wait for another.
    while (cost.ok() && *cost < Executor::kInlineCost && settings.nireq == 0 && requests.size() < request.inline_threads) {
      SY_RETURN_IF_ERROR(add());
    }
  }
  return std::make_shared<Lane>(std::move(model), std::move(requests), std::move(request.options));
}

}  // namespace switchyard
