#include "runtime/openvino/load_inspection.h"

#include <absl/strings/numbers.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <openvino/core/layout.hpp>
#include <openvino/runtime/intel_gpu/properties.hpp>
#include <openvino/runtime/intel_npu/properties.hpp>
#include <openvino/runtime/properties.hpp>
#include <set>
#include <utility>

#include "base/log.h"
#include "config/setting_mark.h"
#include "device/cpu_facts.h"
#include "device/fault.h"
#include "device/target.h"
#include "runtime/openvino/convert.h"
#include "runtime/openvino/memory_need.h"
#include "runtime/openvino/model_cache.h"

namespace switchyard {
namespace {

std::string KindOf(const std::string& target) { return target.substr(0, target.find_first_of(".:")); }

bool IsGpu(const std::string& device) { return KindOf(device) == "GPU"; }
bool IsNpu(const std::string& device) { return KindOf(device) == "NPU"; }

// "b (?,10)": the inputs whose dimensions are open.
std::vector<std::string> OpenInputs(const ov::Model& model) {
  std::vector<std::string> open;
  for (const auto& input : model.inputs()) {
    if (input.get_partial_shape().is_static()) continue;
    open.push_back(
        fmt::format("{} {}", input.get_node()->get_friendly_name(), FromOpenVino(input.get_partial_shape()).ToString()));
  }
  return open;
}

// Whether a dimension other than the batch is open without a bound, or even their number is: no NPU compiler takes that.
bool IsHopelessOnNpu(const ov::Model& model) {
  return std::ranges::any_of(model.inputs(), [](const ov::Output<const ov::Node>& input) {
    const ov::PartialShape& shape = input.get_partial_shape();
    if (shape.rank().is_dynamic()) return true;
    const ov::Layout layout = ov::layout::get_layout(input);
    const int64_t batch = ov::layout::has_batch(layout) ? ov::layout::batch_idx(layout) : 0;
    for (size_t i = 0; i < shape.size(); ++i) {
      if (static_cast<int64_t>(i) != batch && shape[i].is_dynamic() && shape[i].get_max_length() < 0) return true;
    }
    return false;
  });
}

Status NeedsStaticShapes(const ov::Model& model, const std::string& target, const std::string& why) {
  return InvalidArgument(
      "target_device {}: an NPU needs static shapes, and the model leaves open: {}; set them with --shape (\"shape\"), or "
      "--batch_size (\"batch_size\") where only the batch is open{}",
      target, fmt::join(OpenInputs(model), ", "), why.empty() ? "" : " (the compiler says: " + why + ")");
}

// What this process has of the device's memory, in one core; nothing when its driver does not tell.
std::optional<uint64_t> UsedBytes(ov::Core& core, const std::string& device) {
  try {
    if (IsNpu(device)) return core.get_property(device, ov::intel_npu::device_alloc_mem_size);
    if (!IsGpu(device)) return std::nullopt;
    uint64_t used = 0;
    for (const auto& [kind, bytes] : core.get_property(device, ov::intel_gpu::memory_statistics)) {
      // Host memory counts on an integrated GPU alone, whose memory it is.
      if (kind != "usm_host" || core.get_property(device, ov::device::type) == ov::device::Type::INTEGRATED) used += bytes;
    }
    return used;
  } catch (const std::exception& exception) {
    LogDebug("Device {} does not tell how much memory is used: {}", device, ReadableMessage(exception.what()));
    return std::nullopt;
  }
}

std::string TextOf(const ov::AnyMap& properties, const std::string& key) {
  try {
    const auto found = properties.find(key);
    return found == properties.end() ? "" : found->second.as<std::string>();
  } catch (const std::exception&) {
    return "";  // told as a type that has no text
  }
}

// What each device behind a virtual one says of itself; empty when the compiled model does not tell.
std::map<std::string, ov::AnyMap> PropertiesByDevice(const ov::CompiledModel& compiled) {
  std::map<std::string, ov::AnyMap> result;
  try {
    const ov::Any told = compiled.get_property(ov::device::properties.name());
    for (const auto& [device, properties] : told.as<ov::AnyMap>()) {
      result[CanonicalDevice(device)] = properties.as<ov::AnyMap>();
    }
  } catch (const std::exception& exception) {
    LogDebug("No properties by device: {}", ReadableMessage(exception.what()));
  }
  return result;
}

// One property of the devices that execute, as far as they tell it.
struct Told {
  std::vector<std::string> items;  // "GPU.0 f16"
  std::set<std::string> values;
  std::vector<std::string> silent;  // devices
  // "f16" where all say the same, else "GPU.0 f16, CPU f32"; empty where none says anything.
  std::string ToString() const {
    return silent.empty() && values.size() == 1 ? *values.begin() : fmt::format("{}", fmt::join(items, ", "));
  }
};

Told Ask(const LoadFacts& facts, const std::map<std::string, ov::AnyMap>& by_device, const std::string& key) {
  Told told;
  for (const std::string& device : facts.execution_devices) {
    const auto found = by_device.find(device);
    const std::string value = found == by_device.end() ? "" : TextOf(found->second, key);
    if (value.empty()) {
      told.silent.push_back(device);
      continue;
    }
    told.items.push_back(device + " " + value);
    told.values.insert(value);
  }
  return told;
}

// The precision and the streams that a device does not tell of itself, from the devices behind it.
void TellDevices(const ov::CompiledModel& compiled, LoadFacts& facts) {
  if (!facts.precision.empty() && facts.num_streams) return;
  const std::map<std::string, ov::AnyMap> by_device = PropertiesByDevice(compiled);
  if (facts.precision.empty()) {
    const Told told = Ask(facts, by_device, ov::hint::inference_precision.name());
    facts.precision = told.ToString();
    if (!told.silent.empty()) {
      facts.reasons.push_back(fmt::format("{} does not tell its precision", fmt::join(told.silent, ", ")));
    }
  }
  if (facts.num_streams) return;
  const Told told = Ask(facts, by_device, ov::num_streams.name());
  if (int count = 0; told.silent.empty() && absl::SimpleAtoi(told.ToString(), &count)) {
    facts.num_streams = count;
  } else if (told.silent.empty()) {
    facts.reasons.push_back(fmt::format("there is no one number of streams: {}", told.ToString()));
  } else {
    facts.reasons.push_back(fmt::format("{} does not tell its number of streams", fmt::join(told.silent, ", ")));
  }
}

}  // namespace

Status CheckShapes(const ov::Model& model, const std::string& target) {
  const std::string kind = KindOf(target);
  if (kind == "NPU" && IsHopelessOnNpu(model)) return MarkSetting(NeedsStaticShapes(model, target, ""), "target_device");
  if (kind != "BATCH") return absl::OkStatus();
  const std::vector<std::string> open = OpenInputs(model);
  if (open.empty()) return absl::OkStatus();
  return MarkSetting(
      InvalidArgument("target_device {}: auto-batching can be applied only to static models, and this one leaves open: {}; set "
                      "the shapes with --shape (\"shape\"), or --batch_size (\"batch_size\") where only the batch is open",
                      target, fmt::join(open, ", ")),
      "target_device");
}

LoadInspection::LoadInspection(const LoadRequest& request, std::vector<std::shared_ptr<ov::Core>> cores,
                               std::shared_ptr<ov::Core> core, std::shared_ptr<ov::Model> model, ov::AnyMap properties)
    : request_(request),
      cores_(std::move(cores)),
      core_(std::move(core)),
      model_(std::move(model)),
      properties_(std::move(properties)),
      kind_(KindOf(request.target)),
      devices_(DevicesOf(request.target)),
      cache_dir_(request.cache_dir) {
  // Asking which device takes what is not compiling: the plugin would look for a blob.
  if (const auto found = properties_.find(ov::cache_dir.name()); found != properties_.end()) {
    cache_dir_ = found->second.as<std::string>();
    properties_.erase(found);
  }
}

Status LoadInspection::Before() {
  SY_RETURN_IF_ERROR(CheckShapes(*model_, request_.target));
  SY_RETURN_IF_ERROR(Refusal());
  if (layers_.empty()) FindLayers();
  for (const std::string& device : Idle()) {
    LogWarning("Model {}: {} got no layer of the model", request_.settings.name, device);
    reasons_.push_back(fmt::format("{} got no layer of the model", device));
  }
  used_before_ = UsedBytes();
  return absl::OkStatus();
}

Status LoadInspection::Refusal() {
  SY_RETURN_IF_ERROR(CheckMemory());
  if (kind_ != "HETERO" || !request_.settings.strict_placement) return absl::OkStatus();
  FindLayers();
  const std::vector<std::string> idle = Idle();
  if (idle.empty()) return absl::OkStatus();
  return MarkSetting(
      InvalidArgument("target_device {}: {} got no layer of the model, and strict_placement is set; leave {} out of the list, "
                      "or unset strict_placement",
                      request_.target, idle.front(), idle.front()),
      "target_device");
}

std::vector<std::string> LoadInspection::Idle() const {
  if (kind_ != "HETERO" || layers_.empty()) return {};
  return IdleDevices(layers_, devices_);
}

uint64_t LoadInspection::Requests() const {
  uint64_t requests = std::max(1u, request_.settings.nireq);
  // Where the user names none, a device asks for one for each stream at least.
  int streams = 0;
  if (request_.settings.nireq == 0 && absl::SimpleAtoi(TextOf(properties_, ov::num_streams.name()), &streams) && streams > 1) {
    requests = static_cast<uint64_t>(streams);
  }
  if (kind_ != "BATCH") return requests;
  const auto target = ParseTarget(request_.target, {devices_.front()});
  return std::max<uint64_t>(requests, target.ok() ? target->batch.value_or(1) : 1);
}

Status LoadInspection::CheckMemory() const {
  if (kind_ == "HETERO" || !IsGpu(devices_.front())) return absl::OkStatus();
  const std::string& device = devices_.front();
  uint64_t total = 0;
  const Status told = Guarded(StatusCode::kInternal, device, [&]() -> Status {
    total = core_->get_property(device, ov::intel_gpu::device_total_mem_size);
    return absl::OkStatus();
  });
  // Compiling will say what is wrong with it.
  if (!told.ok() || total == 0) return absl::OkStatus();
  return MarkSetting(
      CheckFits(NeedOf(*model_, GpuPrecision(properties_), Requests()), request_.target, total, UsedBytes().value_or(0)),
      "target_device");
}

std::optional<uint64_t> LoadInspection::UsedBytes() const {
  std::optional<uint64_t> sum;
  for (const std::string& device : devices_) {
    for (const auto& core : cores_) {
      // An NPU's driver counts for the whole process; a GPU's contexts count each for itself.
      if (IsNpu(device) && core != core_) continue;
      if (const auto used = switchyard::UsedBytes(*core, device)) sum = sum.value_or(0) + *used;
    }
  }
  return sum;
}

std::string LoadInspection::Identity() const {
  std::string identity = CacheIdentity(request_, ov::Any(properties_).as<std::string>());
  for (const std::string& device : devices_) {
    const Status told = Guarded(StatusCode::kInternal, device, [&]() -> Status {
      identity += fmt::format("\n{} {}", device, core_->get_property(device, ov::device::full_name));
      return absl::OkStatus();
    });
    if (!told.ok()) LogDebug("{}", Message(told));
  }
  return identity;
}

void LoadInspection::FindLayers() {
  if (kind_ != "HETERO") {
    layers_ = AllOn(*model_, devices_.front());
    return;
  }
  const LayerFile file(cache_dir_, Identity());
  if (auto kept = file.Read()) {
    layers_ = *std::move(kept);
    return;
  }
  auto asked = AskLayers(*core_, model_, request_.target, properties_);
  if (!asked.ok()) {
    // Compiling fails as well then, and says why; if it does not, only the count is missing.
    reasons_.emplace_back(Message(asked.status()));
    return;
  }
  layers_ = *std::move(asked);
  file.Write(layers_);
}

Status LoadInspection::Explain(Status error) const {
  const bool on_npu = std::ranges::any_of(devices_, IsNpu);
  if (!on_npu || FaultOf(error) == Fault::kDevice || OpenInputs(*model_).empty()) return error;
  if (error.code() == StatusCode::kInvalidArgument) return error;
  return NeedsStaticShapes(*model_, request_.target, std::string(Message(error)));
}

void LoadInspection::TellBatch(LoadFacts& facts) const {
  const auto target = ParseTarget(request_.target, {devices_.front()});
  if (!target.ok()) return;
  const std::string hint = TextOf(properties_, ov::hint::performance_mode.name());
  const uint32_t asked = target->batch.value_or(0);
  if (asked > 1 && facts.batch_size == 1) {
    facts.reasons.push_back(
        fmt::format("{} runs requests one by one: the batch of this model cannot be changed", facts.device));
  } else if (asked == 0 && facts.batch_size > 1) {
    facts.reasons.push_back(fmt::format("{} took batch {}, which the device's plugin found best for {}", facts.device,
                                        facts.batch_size, hint.empty() ? "the model" : hint));
  } else if (asked == 0 && hint == "THROUGHPUT") {
    facts.reasons.push_back(
        fmt::format("{} took batch 1: the device's plugin names no better one for this model; {}(16) would set one",
                    facts.device, facts.device));
  } else if (asked == 0) {
    facts.reasons.push_back(
        fmt::format("{} took batch 1, since PERFORMANCE_HINT is {}; set it to THROUGHPUT, or name a batch: {}(16)",
                    facts.device, hint.empty() ? "not set" : hint, facts.device));
  }
}

void LoadInspection::TellMemory(LoadFacts& facts) const {
  const auto used = UsedBytes();
  if (used && used_before_ && *used > *used_before_) {
    facts.memory_bytes = *used - *used_before_;
    return;
  }
  const bool half = facts.precision == "f16" || facts.precision == "bf16";
  const uint64_t requests = static_cast<uint64_t>(std::max({1, facts.optimal_requests, facts.batch_size}));
  facts.memory_bytes = NeedOf(*model_, half ? ov::element::f16 : ov::element::f32, requests).total();
}

void LoadInspection::TellThreads(LoadFacts& facts) const {
  const CpuFacts& cpu = OwnCpuFacts();
  const auto threads = ThreadsForQuota(cpu);
  const bool on_cpu = std::ranges::any_of(devices_, [](const std::string& device) { return CanonicalDevice(device) == "CPU"; });
  if (!threads || !on_cpu || request_.properties.contains(ov::inference_num_threads.name())) return;
  facts.reasons.push_back(fmt::format("CPU runs {} inference thread{}, since {} grants {:.3g} of {} processors", *threads,
                                      *threads == 1 ? "" : "s", cpu.quota_from, *cpu.quota, cpu.affinity.size()));
}

// A device may run fewer than it is told to.
void LoadInspection::TellStreams(LoadFacts& facts) const {
  int asked = 0;
  if (!absl::SimpleAtoi(TextOf(properties_, ov::num_streams.name()), &asked) || asked < 1) return;
  if (!facts.num_streams || *facts.num_streams == asked) return;
  facts.reasons.push_back(fmt::format("NUM_STREAMS is {}, of which {} made {}", asked, request_.target, *facts.num_streams));
}

void LoadInspection::After(const ov::CompiledModel& compiled, LoadFacts& facts) const {
  facts.layers = layers_;
  facts.reasons.insert(facts.reasons.end(), reasons_.begin(), reasons_.end());
  TellDevices(compiled, facts);
  TellStreams(facts);
  if (kind_ == "BATCH") TellBatch(facts);
  TellThreads(facts);
  TellMemory(facts);
}

}  // namespace switchyard
