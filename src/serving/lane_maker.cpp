#include "serving/lane_maker.h"

#include <absl/strings/numbers.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/heap.h"
#include "base/log.h"
#include "config/setting_mark.h"
#include "device/fault.h"
#include "device/property_rules.h"
#include "device/property_text.h"
#include "device/target.h"
#include "serving/executor.h"

namespace switchyard {
namespace {

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

// The plugin waits so long for a group to be full.
Duration CollectingTime(const LoadRequest& load, const LoadFacts& facts) {
  constexpr auto kDefault = std::chrono::milliseconds(1000);
  if (facts.batch_size <= 1) return Duration::zero();
  std::string text = PropertyText(OwnProperties(load.properties, FaultyDevice(load.target)), "AUTO_BATCH_TIMEOUT");
  if (text.empty()) text = PropertyText(load.properties, "AUTO_BATCH_TIMEOUT");
  int64_t milliseconds = 0;
  return absl::SimpleAtoi(text, &milliseconds) ? std::chrono::milliseconds(milliseconds) : kDefault;
}

// HETERO may give a device of its list no layer: the lane does not depend on that one.
void KeepDevicesInUse(const std::vector<std::string>& in_use, Lane::Options& options) {
  std::vector<std::string> devices;
  std::vector<uint64_t> generations;
  for (size_t i = 0; i < options.devices.size(); ++i) {
    if (std::find(in_use.begin(), in_use.end(), options.devices[i]) == in_use.end()) continue;
    devices.push_back(options.devices[i]);
    if (i < options.generations.size()) generations.push_back(options.generations[i]);
  }
  if (devices.empty()) return;  // it does not tell
  options.devices = std::move(devices);
  options.generations = std::move(generations);
}

}  // namespace

Status CheckState(const ModelSettings& settings, bool has_state, int batch_size, const std::string& device) {
  if (settings.stateful.value_or(false) && !has_state) {
    return MarkSetting(
        InvalidArgument(
            "stateful is true, but the model has no variables{}: leave stateful out, or give a model that keeps state "
            "between calls",
            settings.low_latency_transformation ? ", and the low-latency transformation found no loop to make any of"
                                                : " (low_latency_transformation makes some of its loops)"),
        "stateful");
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
  // It may have waited for other loads. What is made of these files is kept under their name.
  if (request.files != nullptr) SY_RETURN_IF_ERROR(request.files->Check());
  StatusOr<std::shared_ptr<CompiledModel>> loaded = runtime.Load(request.load);
  // First: an error may come of files that are half there.
  if (request.files != nullptr) SY_RETURN_IF_ERROR(request.files->Check());
  SY_ASSIGN_OR_RETURN(std::shared_ptr<CompiledModel> model, std::move(loaded));
  SY_RETURN_IF_ERROR(CheckState(settings, model->facts().stateful, model->facts().batch_size, model->facts().device));
  KeepDevicesInUse(model->facts().execution_devices, request.options);
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
    SY_RETURN_IF_ERROR(RunRecorded(settings.warm_up, request.read_recorded, *model, requests));
  } else if (request.options.inline_cost == Duration::zero() || settings.warm_up.requests > 1) {  // else it has run already
    const Status run = RunMadeUp(settings.warm_up, *model, requests);
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
