#include "serving/lane_maker.h"

#include <absl/strings/numbers.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/heap.h"
#include "base/log.h"
#include "base/mutex.h"
#include "device/fault.h"
#include "device/property_rules.h"
#include "device/property_text.h"
#include "device/target.h"
#include "serving/executor.h"
#include "serving/validator.h"
#include "tensor/buffer.h"

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

// Inputs of zeros that fit the signature, for measuring and warming up. Not for strings.
struct ZeroInputs {
  explicit ZeroInputs(const Signature& signature) {
    for (const TensorSpec& spec : signature.inputs) {
      TensorView view{spec.type, SmallestShape(spec.shape)};
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

Status RunRecorded(const LaneRequest& request, const CompiledModel& model,
                   const std::vector<std::unique_ptr<InferRequest>>& requests) {
  const WarmUp& warm_up = request.load.settings.warm_up;
  if (!request.read_recorded) return Error(StatusCode::kUnimplemented, "warmup: recorded requests are not read here");
  auto recorded = request.read_recorded(warm_up.file, model.signature());
  if (!recorded.ok()) return Annotate(recorded.status(), "warmup: " + warm_up.file);
  std::vector<std::shared_ptr<InferCall>> calls;
  for (DecodedRequest& one : *recorded) {
    auto call = std::make_shared<InferCall>();
    call->request = std::move(one);
    const Status bound = ValidateAndBind(model.signature(), *call);
    if (!bound.ok()) return Annotate(bound, fmt::format("warmup: {}: request {}", warm_up.file, calls.size() + 1));
    calls.push_back(std::move(call));
  }
  const size_t count = std::max<size_t>(warm_up.requests, calls.size());
  for (size_t i = 0; i < count; ++i) {
    const Status run = RunOnce(requests, i, std::max(1, model.facts().batch_size), calls[i % calls.size()]->bound_inputs);
    if (!run.ok()) return Annotate(run, fmt::format("warmup: {}: request {}", warm_up.file, i % calls.size() + 1));
  }
  return absl::OkStatus();
}

Status RunMadeUp(const LaneRequest& request, const CompiledModel& model,
                 const std::vector<std::unique_ptr<InferRequest>>& requests) {
  const Signature& signature = model.signature();
  const bool unknown = std::any_of(signature.inputs.begin(), signature.inputs.end(), [](const TensorSpec& spec) {
    return spec.type == ElementType::kBytes || spec.shape.dynamic_rank;
  });
  if (unknown || model.facts().stateful) return absl::OkStatus();
  const ZeroInputs zeros(signature);
  for (uint32_t i = 0; i < request.load.settings.warm_up.requests; ++i) {
    SY_RETURN_IF_ERROR(RunOnce(requests, i, std::max(1, model.facts().batch_size), zeros.views));
  }
  return absl::OkStatus();
}

// BATCH runs requests together in groups: a group that can't be filled waits for its timeout.
size_t RequestCount(const LoadFacts& facts) {
  const size_t wanted = std::max(1, facts.optimal_requests);
  const size_t group = std::max(1, facts.batch_size);
  return (wanted + group - 1) / group * group;
}

// The plugin waits so long for a group to be full.
Duration CollectingTime(const LoadRequest& load, const LoadFacts& facts) {
  constexpr auto kDefault = std::chrono::milliseconds(1000);
  if (facts.batch_size <= 1) return Duration::zero();
  std::string text = PropertyText(OwnProperties(load.properties, FaultyDevice(load.target)), "AUTO_BATCH_TIMEOUT");
  if (text.empty()) text = PropertyText(load.properties, "AUTO_BATCH_TIMEOUT");
  int64_t milliseconds = 0;
  return absl::SimpleAtoi(text, &milliseconds) ? std::chrono::milliseconds(milliseconds) : kDefault;
}

}  // namespace

Status CheckState(const ModelSettings& settings, bool has_state, int batch_size, const std::string& device) {
  if (settings.stateful.value_or(false) && !has_state) {
    return InvalidArgument(
        "stateful is true, but the model has no variables{}: leave stateful out, or give a model that keeps state between "
        "calls",
        settings.low_latency_transformation ? ", and the low-latency transformation found no loop to make any of"
                                            : " (low_latency_transformation makes some of its loops)");
  }
  if (has_state && batch_size > 1) {
    return InvalidArgument(
        "{} cannot run a model that keeps state: the calls of several sequences would be one batch, with one state; name the "
        "device without BATCH",
        device);
  }
  return absl::OkStatus();
}

StatusOr<std::shared_ptr<Lane>> MakeLane(Runtime& runtime, const Timer& timer, LaneRequest request) {
  const ModelSettings& settings = request.load.settings;
  const LongLivedBlocks blocks;
  StatusOr<std::shared_ptr<CompiledModel>> loaded = runtime.Load(request.load);
  // First: an error may come of files that are half there.
  if (request.files != nullptr) SY_RETURN_IF_ERROR(request.files->Check());
  SY_ASSIGN_OR_RETURN(std::shared_ptr<CompiledModel> model, std::move(loaded));
  SY_RETURN_IF_ERROR(CheckState(settings, model->facts().stateful, model->facts().batch_size, model->facts().device));
  request.options.collecting = CollectingTime(request.load, model->facts());
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
  const std::string name = fmt::format("Model {} version {}", settings.name, request.load.version);
  if (!settings.warm_up.file.empty()) {
    SY_RETURN_IF_ERROR(RunRecorded(request, *model, requests));
  } else if (request.options.inline_cost == Duration::zero() || settings.warm_up.requests > 1) {  // else it has run already
    const Status run = RunMadeUp(request, *model, requests);
    if (FaultOf(run) == Fault::kDevice) return run;
    if (!run.ok()) LogWarning("{}: no inference on made-up inputs to warm it up: {}", name, Message(run));
  }
  return std::make_shared<Lane>(std::move(model), std::move(requests), std::move(request.options));
}

Status LoadedTooLate(const std::string& target, std::chrono::milliseconds limit) {
  return MarkFault(
      Error(StatusCode::kDeadlineExceeded, "loading on {} did not end within {} ms (load_timeout_ms)", target, limit.count()),
      Fault::kUnclear);
}

}  // namespace switchyard
