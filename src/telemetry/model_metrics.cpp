#include "telemetry/model_metrics.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace switchyard {
namespace {

uint64_t Nanoseconds(Duration time) {
  return static_cast<uint64_t>(std::max<int64_t>(0, std::chrono::nanoseconds(time).count()));
}

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

// In the order of ModelMetrics::Rejection and Stage.
constexpr std::string_view kRejectionNames[] = {"queue_full", "too_large", "invalid", "unavailable", "other"};
constexpr std::string_view kStageNames[] = {"waiting", "running"};
constexpr std::string_view kInterfaces[] = {"gRPC", "REST"};

}  // namespace

const EndpointInfo& Info(Endpoint endpoint) { return kInfos[static_cast<size_t>(endpoint)]; }

std::string StatusCodeName(size_t code) { return absl::StatusCodeToString(static_cast<StatusCode>(code)); }

CodeCounters& DeviceTotals::Of(const std::string& device) {
  MutexLock lock(&mutex_);
  return devices_[device];
}

void DeviceTotals::Collect(MetricsPage& page) const {
  MutexLock lock(&mutex_);
  for (const auto& [device, codes] : devices_) {
    for (size_t code = 0; code < kStatusCodes; ++code) {
      const uint64_t count = codes[code].value();
      if (count == 0 && code != 0) continue;
      page.Add(Family::kDeviceRequests, {{"device", device}, {"code", StatusCodeName(code)}}, static_cast<double>(count));
    }
  }
}

ModelMetrics::ModelMetrics(std::string model, std::string version, std::shared_ptr<DeviceTotals> devices)
    : model_(std::move(model)),
      version_(std::move(version)),
      device_totals_(devices != nullptr ? std::move(devices) : std::make_shared<DeviceTotals>()) {}

ModelMetrics::~ModelMetrics() {
  for (Device* device = devices_.load(); device != nullptr;) delete std::exchange(device, device->next);
  for (const auto& list : batches_) {
    for (Batch* batch = list.load(); batch != nullptr;) delete std::exchange(batch, batch->next);
  }
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
  if (name != kNone) added->total = &device_totals_->Of(added->name);
  devices_.store(added, std::memory_order_release);
  return *added;
}

ModelMetrics::Batch& ModelMetrics::BatchOf(uint64_t rows) {
  std::atomic<Batch*>& list = batches_[rows % batches_.size()];
  const auto find = [&]() -> Batch* {
    Batch* batch = list.load(std::memory_order_acquire);
    while (batch != nullptr && batch->rows != rows) batch = batch->next;
    return batch;
  };
  if (Batch* const batch = find()) return *batch;
  MutexLock lock(&adding_);
  if (Batch* const batch = find()) return *batch;
  if (batch_sizes_ == kMostBatchSizes) return other_batches_;
  ++batch_sizes_;
  auto* const added = new Batch(rows);
  added->next = list.load();
  list.store(added, std::memory_order_release);
  return *added;
}

void ModelMetrics::CountExecution(const Execution& execution) {
  if (execution.rows > 0) batch_size_.Observe(execution.rows);
  Batch& batch = BatchOf(execution.rows);
  batch.count.Add();
  batch.input_ns.Add(Nanoseconds(execution.input));
  batch.infer_ns.Add(Nanoseconds(execution.infer));
  batch.output_ns.Add(Nanoseconds(execution.output));
  if (&batch == &other_batches_) other_rows_.Add(execution.rows);
}

void ModelMetrics::AddOutputTime(uint64_t rows, Duration output) { BatchOf(rows).output_ns.Add(Nanoseconds(output)); }

CallStatistics ModelMetrics::Statistics() const {
  const auto total = [](const Histogram& histogram) {
    const auto counts = histogram.Counts();
    return CallStatistics::Total{std::accumulate(counts.begin(), counts.end(), uint64_t{0}), histogram.SumNanoseconds()};
  };
  const auto less = [](uint64_t from, uint64_t what) { return from - std::min(from, what); };
  CallStatistics statistics;
  statistics.success = total(grpc_time_);
  statistics.infer = total(infer_time_);
  const CallStatistics::Total rest = total(rest_time_);
  const CallStatistics::Total wait = total(wait_time_);
  statistics.success.count += rest.count;
  statistics.success.ns += rest.ns;
  statistics.fail = {fail_count_.value(), fail_ns_.value()};
  statistics.input = {wait.count, std::min(input_ns_.value(), wait.ns)};
  statistics.queue = {wait.count, less(wait.ns, statistics.input.ns)};
  statistics.output = {statistics.infer.count, less(statistics.success.ns, wait.ns + statistics.infer.ns)};
  statistics.last = TimePoint(Duration(last_ns_.load(std::memory_order_relaxed)));
  statistics.executions = other_batches_.count.value();
  statistics.rows = other_rows_.value();
  for (const auto& list : batches_) {
    for (const Batch* batch = list.load(std::memory_order_acquire); batch != nullptr; batch = batch->next) {
      const uint64_t count = batch->count.value();
      statistics.executions += count;
      statistics.rows += count * batch->rows;
      statistics.batches.push_back({.rows = batch->rows,
                                    .input = {count, batch->input_ns.value()},
                                    .infer = {count, batch->infer_ns.value()},
                                    .output = {count, batch->output_ns.value()}});
    }
  }
  std::sort(statistics.batches.begin(), statistics.batches.end(), [](const auto& a, const auto& b) { return a.rows < b.rows; });
  return statistics;
}

void ModelMetrics::Record(const CallRecord& record) {
  const auto code = static_cast<size_t>(record.code);
  const bool ok = record.code == StatusCode::kOk;
  outcomes_[static_cast<size_t>(record.endpoint)].Count(ok);
  Device& device = DeviceNamed(record.device.empty() ? kNone : record.device);
  const size_t known = code < kStatusCodes ? code : 2;  // 2: UNKNOWN
  device.requests[known].Add();
  if (device.total != nullptr) (*device.total)[known].Add();
  const bool rest = Info(record.endpoint).interface == "REST";
  bytes_in_[rest].Add(record.bytes_in);
  bytes_out_[rest].Add(record.bytes_out);
  if (!ok) {
    fail_count_.Add();
    fail_ns_.Add(Nanoseconds(record.total));
    return CountUnrun(record);
  }
  last_ns_.store(record.at.time_since_epoch().count(), std::memory_order_relaxed);
  if (record.input) input_ns_.Add(Nanoseconds(*record.input));
  (rest ? rest_time_ : grpc_time_).Observe(record.total);
  if (record.wait) wait_time_.Observe(*record.wait);
  if (!record.infer) return;
  infer_time_.Observe(*record.infer);
  if (record.joined) return;
  const Duration input = record.input.value_or(Duration(0));
  const Duration wait = std::max(record.wait.value_or(input), input);
  CountExecution({.rows = record.batch, .input = input, .infer = *record.infer, .output = record.total - wait - *record.infer});
}

void ModelMetrics::CountUnrun(const CallRecord& record) {
  const bool ran = !record.device.empty();
  switch (record.code) {
    case StatusCode::kDeadlineExceeded: return expired_[ran ? kRunning : kWaiting].Add();
    case StatusCode::kCancelled: return;  // the client's doing
    default: break;
  }
  if (ran) return;
  switch (record.code) {
    case StatusCode::kResourceExhausted: return rejected_[record.queue_full ? kQueueFull : kTooLarge].Add();
    case StatusCode::kInvalidArgument: return rejected_[kInvalid].Add();
    case StatusCode::kUnavailable: return rejected_[kUnavailable].Add();
    default: return rejected_[kOther].Add();
  }
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
  const auto add = [&](Family family, std::string_view label, std::string_view value, const Counter& counter) {
    page.Add(family, {{"model", model_}, {"version", version_}, {label, value}}, static_cast<double>(counter.value()));
  };
  for (size_t i = 0; i < kRejections; ++i) add(Family::kRejectedCalls, "reason", kRejectionNames[i], rejected_[i]);
  for (size_t i = 0; i < kStages; ++i) add(Family::kExpiredCalls, "stage", kStageNames[i], expired_[i]);
  for (size_t i = 0; i < std::size(kInterfaces); ++i) {
    add(Family::kRequestBytes, "interface", kInterfaces[i], bytes_in_[i]);
    add(Family::kResponseBytes, "interface", kInterfaces[i], bytes_out_[i]);
  }
  page.Add(Family::kBatchSize, {{"model", model_}, {"version", version_}}, batch_size_);
  for (const Device* device = devices_.load(std::memory_order_acquire); device != nullptr; device = device->next) {
    for (size_t code = 0; code < kStatusCodes; ++code) {
      const uint64_t count = device->requests[code].value();
      if (count == 0 && (code != 0 || device->total == nullptr)) continue;
      page.Add(Family::kRequests,
               {{"model", model_}, {"version", version_}, {"device", device->name}, {"code", StatusCodeName(code)}},
               static_cast<double>(count));
    }
  }
}

}  // namespace switchyard
