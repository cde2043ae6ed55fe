#include "tools/tune/model_trials.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <thread>
#include <utility>

#include "serving/placer.h"
#include "tools/tune/closed_loop.h"

namespace switchyard::tune {
namespace {

constexpr std::chrono::seconds kLongestUnload{30};

Status FaultOf(const ModelStatus& model) {
  for (const VersionStatus& version : model.versions) {
    if (version.state == VersionState::kFailed) return version.error;
  }
  return absl::OkStatus();
}

double Magnitude(const Number& number) {
  return std::abs(std::visit([](auto value) { return static_cast<double>(value); }, number));
}

double TensorError(const ClientTensor& reference, const ClientTensor& output) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kLeastMagnitude = 1e-6;
  if (reference.type != output.type || reference.shape != output.shape || reference.strings != output.strings) return kInfinity;
  double largest = kLeastMagnitude, difference = 0;
  if (reference.type == ElementType::kBytes) return 0;
  for (size_t i = 0; i < reference.count(); ++i) {
    const auto value = [i](const ClientTensor& tensor) {
      return std::visit([](auto number) { return static_cast<double>(number); }, NumberAt(tensor, i));
    };
    const double expected = value(reference), got = value(output);
    if (expected == got || (std::isnan(expected) && std::isnan(got))) {
      if (std::isfinite(expected)) largest = std::max(largest, Magnitude(expected));
      continue;
    }
    if (!std::isfinite(expected) || !std::isfinite(got)) return kInfinity;
    largest = std::max(largest, Magnitude(expected));
    difference = std::max(difference, std::abs(expected - got));
  }
  return difference / largest;
}

}  // namespace

double LargestError(const std::vector<ClientTensor>& reference, const std::vector<ClientTensor>& outputs) {
  if (reference.size() != outputs.size()) return std::numeric_limits<double>::infinity();
  double error = 0;
  for (size_t i = 0; i < reference.size(); ++i) error = std::max(error, TensorError(reference[i], outputs[i]));
  return error;
}

ModelTrials::ModelTrials(const ServerSettings& settings, Runtime& runtime, Timer& timer, InputOptions inputs, size_t cores,
                         const std::atomic<bool>& interrupted)
    : timer_(timer),
      input_options_(std::move(inputs)),
      cores_(cores),
      interrupted_(interrupted),
      manager_(runtime, timer, Manager::FromSettings(settings)) {}

ModelTrials::~ModelTrials() {
  manager_.Shutdown();
  manager_.Drain(timer_.Now() + kLongestUnload);
}

StatusOr<Loaded> ModelTrials::Load(const Candidate& candidate) {
  // Not one after the other under the same name: when the new one fails, the old one would go on serving.
  manager_.SetWanted({}, {});
  model_ = candidate.settings.name;
  const TimePoint begin = timer_.Now();
  manager_.SetWanted({candidate.settings}, {}, /*on_trial=*/{model_});
  manager_.WaitForLoads();
  SY_ASSIGN_OR_RETURN(const ModelStatus status, manager_.StatusOf(model_));
  SY_RETURN_IF_ERROR(FaultOf(status));
  // AUTO may still be served by the CPU while a better device compiles: what is measured is what comes after that.
  StatusOr<PlacementReport> placed = manager_.Placement(model_, std::nullopt);
  while (placed.ok() && placed->helping && !interrupted_.load()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    placed = manager_.Placement(model_, std::nullopt);
  }
  SY_RETURN_IF_ERROR(placed.status());
  Loaded loaded{.devices = placed->execution_devices,
                .load_ms = std::chrono::duration<double, std::milli>(timer_.Now() - begin).count()};
  for (const TargetPlacement& target : placed->targets) {
    if (target.state != "serving" || !target.facts) continue;
    loaded.requests += target.num_requests;
    const auto add = [](std::string& text, const std::string& more) { text += (text.empty() ? "" : ",") + more; };
    if (!target.facts->precision.empty()) add(loaded.precision, target.facts->precision);
    if (target.facts->num_streams) add(loaded.streams, std::to_string(*target.facts->num_streams));
    loaded.joined_calls = std::max(loaded.joined_calls, static_cast<size_t>(std::max(1, target.facts->batch_size)));
  }
  // A batch takes a call of one row for each of its rows.
  if (placed->batching) {
    loaded.joined_calls = placed->batching->max_batch_size;
    loaded.requests *= loaded.joined_calls;
  }
  {
    SY_ASSIGN_OR_RETURN(const Handle handle, manager_.Acquire(model_, std::nullopt));
    if (inputs_.empty()) {
      hopeless_ = MakeInputs(handle->signature());
      SY_RETURN_IF_ERROR(hopeless_);
    }
  }
  for (const auto& inputs : inputs_) {
    SY_ASSIGN_OR_RETURN(Handle handle, manager_.Acquire(model_, std::nullopt));
    StatusOr<std::vector<ClientTensor>> outputs = InferOnce(std::move(handle), inputs);
    if (outputs.status().code() == StatusCode::kInvalidArgument) hopeless_ = outputs.status();
    SY_RETURN_IF_ERROR(outputs.status());
    loaded.outputs.push_back(*std::move(outputs));
  }
  return loaded;
}

Status ModelTrials::MakeInputs(const Signature& signature) {
  const auto known = [&signature](const std::string& name) {
    return std::any_of(signature.inputs.begin(), signature.inputs.end(),
                       [&](const TensorSpec& spec) { return spec.name == name; });
  };
  for (const auto& [name, text] : input_options_.texts) {
    if (!known(name)) return InvalidArgument("--input {}: the model has no such input", name);
  }
  for (const auto& [name, shape] : input_options_.shapes) {
    if (!known(name)) return InvalidArgument("--input_shape {}: the model has no such input", name);
  }
  constexpr uint64_t kSets = 2;
  for (uint64_t set = 0; set < kSets; ++set) {
    auto inputs = std::make_shared<std::vector<ClientTensor>>();
    for (const TensorSpec& spec : signature.inputs) {
      const auto text = input_options_.texts.find(spec.name);
      const auto shape = input_options_.shapes.find(spec.name);
      const ClientTensorSpec wanted{spec.name, spec.type, spec.shape.Wire()};
      SY_ASSIGN_OR_RETURN(ClientTensor tensor, MakeInput(wanted, text == input_options_.texts.end() ? "random" : text->second,
                                                         shape == input_options_.shapes.end() ? nullptr : &shape->second,
                                                         set * 1000 + inputs->size() + 1));
      inputs->push_back(std::move(tensor));
    }
    inputs_.push_back(std::move(inputs));
  }
  return absl::OkStatus();
}

StatusOr<Figures> ModelTrials::Measure(size_t concurrency, std::chrono::duration<double> duration) {
  const auto acquire = [this] { return manager_.Acquire(model_, std::nullopt); };
  // The first calls find cold caches and threads that are asleep.
  SY_RETURN_IF_ERROR(RunClosedLoop(acquire, inputs_, concurrency, cores_, duration / 10, interrupted_).status());
  return RunClosedLoop(acquire, inputs_, concurrency, cores_, duration, interrupted_);
}

}  // namespace switchyard::tune
