#include "telemetry/model_metrics.h"

#include <utility>

namespace switchyard {
namespace {

constexpr EndpointInfo kInfos[] = {
    {"KServe", "gRPC", "ModelInfer", true},
    {"KServe", "gRPC", "ModelInferStream", true},
    {"KServe", "gRPC", "ModelMetadata", true},
    {"KServe", "gRPC", "ModelReady", false},
    {"KServe", "REST", "ModelInfer", true},
    {"KServe", "REST", "ModelMetadata", true},
    {"KServe", "REST", "ModelReady", false},
    {"TensorFlowServing", "gRPC", "Predict", true},
    {"TensorFlowServing", "gRPC", "GetModelMetadata", true},
    {"TensorFlowServing", "gRPC", "GetModelStatus", false},
    {"TensorFlowServing", "REST", "Predict", true},
    {"TensorFlowServing", "REST", "GetModelMetadata", true},
    {"TensorFlowServing", "REST", "GetModelStatus", false},
};
static_assert(std::size(kInfos) == kEndpoints && static_cast<size_t>(Endpoint::kTfsRestStatus) + 1 == kEndpoints);

constexpr std::string_view kNone = "none";

std::string CodeName(size_t code) { return absl::StatusCodeToString(static_cast<StatusCode>(code)); }

}  // namespace

const EndpointInfo& Info(Endpoint endpoint) { return kInfos[static_cast<size_t>(endpoint)]; }

ModelMetrics::ModelMetrics(std::string model, std::string version) : model_(std::move(model)), version_(std::move(version)) {}

ModelMetrics::~ModelMetrics() {
  for (Device* device = devices_.load(); device != nullptr;) delete std::exchange(device, device->next);
}

ModelMetrics::Device& ModelMetrics::DeviceNamed(std::string_view name) {
  const auto find = [&]() -> Device* {
    Device* device = devices_.load(std::memory_order_acquire);
    while (device != nullptr && device->name != name) device = device->next;
    return device;
  };
  if (Device* const device = find()) return *device;
  MutexLock lock(&adding_);
  if (Device* const device = find()) return *device;
  auto* const added = new Device{.name = std::string(name), .requests = {}, .next = devices_.load()};
  devices_.store(added, std::memory_order_release);
  return *added;
}

void ModelMetrics::Record(const CallRecord& record) {
  const auto code = static_cast<size_t>(record.code);
  const bool ok = record.code == StatusCode::kOk;
  outcomes_[static_cast<size_t>(record.endpoint)].Count(ok);
  DeviceNamed(record.device.empty() ? kNone : record.device).requests[code < kCodes ? code : 2].Add();  // 2: UNKNOWN
  if (!ok) return;
  (Info(record.endpoint).interface == "gRPC" ? grpc_time_ : rest_time_).Observe(record.total);
  if (record.wait) wait_time_.Observe(*record.wait);
  if (record.infer) infer_time_.Observe(*record.infer);
}

void ModelMetrics::Collect(MetricsPage& page) const {
  for (size_t i = 0; i < kEndpoints; ++i) {
    const EndpointInfo& info = kInfos[i];
    if (!info.versioned) continue;
    const MetricsPage::Labels labels = {
        {"api", info.api}, {"interface", info.interface}, {"method", info.method}, {"name", model_}, {"version", version_}};
    page.Add(Family::kRequestsSuccess, labels, static_cast<double>(outcomes_[i].success.value()));
    page.Add(Family::kRequestsFail, labels, static_cast<double>(outcomes_[i].fail.value()));
  }
  page.Add(Family::kRequestTime, {{"interface", "gRPC"}, {"name", model_}, {"version", version_}}, grpc_time_);
  page.Add(Family::kRequestTime, {{"interface", "REST"}, {"name", model_}, {"version", version_}}, rest_time_);
  page.Add(Family::kInferenceTime, {{"name", model_}, {"version", version_}}, infer_time_);
  page.Add(Family::kWaitTime, {{"name", model_}, {"version", version_}}, wait_time_);
  for (const Device* device = devices_.load(std::memory_order_acquire); device != nullptr; device = device->next) {
    for (size_t code = 0; code < kCodes; ++code) {
      const uint64_t count = device->requests[code].value();
      if (count == 0) continue;
      page.Add(Family::kRequests,
               {{"model", model_}, {"version", version_}, {"device", device->name}, {"code", CodeName(code)}},
               static_cast<double>(count));
    }
  }
}

}  // namespace switchyard
