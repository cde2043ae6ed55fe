#include "telemetry/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <bit>
#include <limits>

namespace switchyard {
namespace {

using enum MetricKind;
using enum FamilySet;

constexpr FamilyInfo kFamilies[] = {
    {"ovms_requests_success", kCounter, kDefault, "Requests to a model that were answered well"},
    {"ovms_requests_fail", kCounter, kDefault, "Requests to a model that were answered with an error"},
    {"ovms_request_time_us", kHistogram, kDefault, "Microseconds from a request's arrival to its answer, of good inferences"},
    {"ovms_inference_time_us", kHistogram, kDefault, "Microseconds of an inference on the device"},
    {"ovms_wait_for_infer_req_time_us", kHistogram, kDefault,
     "Microseconds from a request's arrival until an infer request took it"},
    {"ovms_streams", kGauge, kDefault, "Streams of the device that a version has"},
    {"ovms_current_requests", kGauge, kDefault, "Requests that wait for a version or run on it"},
    {"ovms_infer_req_queue_size", kGauge, kOptional, "Infer requests that a version has"},
    {"ovms_infer_req_active", kGauge, kOptional, "Infer requests of a version that run now"},
    {"ovms_current_graphs", kGauge, kDefault, "Graphs that run now"},
    {"ovms_requests_accepted", kCounter, kDefault, "Requests that a graph accepted"},
    {"ovms_requests_rejected", kCounter, kDefault, "Requests that a graph rejected"},
    {"ovms_responses", kCounter, kDefault, "Responses of graphs"},
    {"ovms_graph_error", kCounter, kDefault, "Graphs that ended with an error"},
    {"ovms_graph_processing_time_us", kHistogram, kDefault, "Microseconds that a graph took"},
    {"switchyard_build_info", kGauge, kOwn, "1, with the versions of the server and of OpenVINO as labels"},
    {"switchyard_requests_total", kCounter, kOwn, "Inference requests to a version by serving device and status"},
    {"switchyard_retried_calls_total", kCounter, kOwn, "Calls that were run again since a device failed them"},
    {"switchyard_failovers_total", kCounter, kOwn, "Moves of a model from one device to another"},
    {"switchyard_device_state", kGauge, kOwn, "1 for the state that a device is in, 0 for the others"},
    {"switchyard_queue_length", kGauge, kOwn, "Calls that wait for an infer request of a version"},
    {"switchyard_queue_age_seconds", kGauge, kOwn, "How long the call that waits longest for a version has waited"},
    {"switchyard_sequences", kGauge, kOwn, "Sequences of a version of a model with state that run now"},
    {"switchyard_rejected_calls_total", kCounter, kOwn, "Calls that were refused before a device had them"},
    {"switchyard_expired_calls_total", kCounter, kOwn, "Calls whose deadline passed"},
    {"switchyard_batch_size", kHistogram, kOwn,
     "First dimension of the first input, of good inferences; of joined calls once, all their rows"},
    {"switchyard_request_bytes_total", kCounter, kOwn, "Bytes of inference requests as they came"},
    {"switchyard_response_bytes_total", kCounter, kOwn, "Bytes of answers to inference requests"},
    {"switchyard_loads_total", kCounter, kOwn, "Versions that were loaded"},
    {"switchyard_load_failures_total", kCounter, kOwn, "Versions that could not be loaded"},
    {"switchyard_load_seconds", kGauge, kOwn,
     "How long the load of a version took: reading, and compiling or importing from the cache"},
    {"switchyard_model_memory_bytes", kGauge, kOwn, "Memory of a version on its device, where it is known"},
    {"switchyard_model_layers", kGauge, kOwn, "Layers of a version's source graph that a device runs"},
    {"switchyard_model_placement", kGauge, kOwn, "1 for each target of a version, with its state and precision as labels"},
    {"switchyard_model_helping", kGauge, kOwn, "1 while a helper serves a version until a better device is ready"},
    {"switchyard_device_requests_total", kCounter, kOwn, "Inference requests that a device had, by status, since the start"},
    {"switchyard_device_models", kGauge, kOwn, "Models that a device has now"},
    {"switchyard_device_memory_bytes", kGauge, kOwn, "A device's memory: all of it, and what this process has of it"},
    {"switchyard_access_log_lines_total", kCounter, kOwn, "Lines of the access log"},
    {"switchyard_traced_requests_total", kCounter, kOwn, "Requests whose spans were for the collector"},
    {"process_cpu_seconds_total", kCounter, kOwn, "User and system CPU time of the process in seconds"},
    {"process_resident_memory_bytes", kGauge, kOwn, "Resident memory of the process"},
    {"process_open_fds", kGauge, kOwn, "Open file descriptors of the process"},
    {"process_max_fds", kGauge, kOwn, "File descriptors that the process may open"},
    {"process_start_time_seconds", kGauge, kOwn, "Start of the process in seconds since the epoch"},
    {"process_threads", kGauge, kOwn, "Threads of the process"},
};
static_assert(std::size(kFamilies) == static_cast<size_t>(Family::kProcessThreads) + 1);

prometheus::MetricType TypeOf(MetricKind kind) {
  switch (kind) {
    case kCounter:
      return prometheus::MetricType::Counter;
    case kGauge:
      return prometheus::MetricType::Gauge;
    case kHistogram:
      break;
  }
  return prometheus::MetricType::Histogram;
}

// In nanoseconds, for comparing without a division.
constexpr std::array<uint64_t, Histogram::kBounds> MakeBounds(uint64_t scale) {
  std::array<uint64_t, Histogram::kBounds> bounds{};
  double bound = 10;
  for (uint64_t& each : bounds) {
    each = static_cast<uint64_t>(bound) * scale;
    bound *= 1.8;
  }
  return bounds;
}
constexpr auto kBoundsUs = MakeBounds(1);
constexpr auto kBoundsNs = MakeBounds(1000);

template <size_t kSize>
std::array<uint64_t, kSize> Load(const std::array<std::atomic<uint64_t>, kSize>& cells) {
  std::array<uint64_t, kSize> counts{};
  for (size_t i = 0; i < kSize; ++i) counts[i] = cells[i].load(std::memory_order_relaxed);
  return counts;
}

}  // namespace

absl::Span<const FamilyInfo> AllFamilies() { return kFamilies; }

std::vector<std::string_view> SelectableFamilies() {
  std::vector<std::string_view> names;
  for (const FamilyInfo& family : kFamilies) {
    if (family.set != kOwn) names.push_back(family.name);
  }
  return names;
}

const std::array<uint64_t, Histogram::kBounds>& Histogram::Bounds() { return kBoundsUs; }

void Histogram::Observe(Duration time) {
  const auto ns = static_cast<uint64_t>(std::max<int64_t>(0, std::chrono::nanoseconds(time).count()));
  const auto bucket = std::lower_bound(kBoundsNs.begin(), kBoundsNs.end(), ns) - kBoundsNs.begin();
  counts_[static_cast<size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(ns, std::memory_order_relaxed);
}

std::array<uint64_t, Histogram::kBounds + 1> Histogram::Counts() const { return Load(counts_); }

double Histogram::SumMicroseconds() const { return static_cast<double>(sum_ns_.load(std::memory_order_relaxed)) / 1000; }

void SizeHistogram::Observe(uint64_t size) {
  const size_t bucket = size <= 1 ? 0 : std::min<size_t>(static_cast<size_t>(std::bit_width(size - 1)), kBounds);
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(size, std::memory_order_relaxed);
}

std::array<uint64_t, SizeHistogram::kBounds + 1> SizeHistogram::Counts() const { return Load(counts_); }

namespace {

// `counts`: by bucket, the last of what is above every bound; `bound` gives the others'.
template <size_t kSize, typename Bound>
void Fill(const std::array<uint64_t, kSize>& counts, double sum, Bound bound, prometheus::ClientMetric::Histogram& sample) {
  sample.sample_sum = sum;
  for (size_t i = 0; i < kSize; ++i) {
    // The count is the buckets' sum, so that they agree however many threads count meanwhile.
    sample.sample_count += counts[i];
    sample.bucket.push_back({sample.sample_count, i + 1 < kSize ? bound(i) : std::numeric_limits<double>::infinity()});
  }
}

}  // namespace

struct MetricsPage::Families {
  std::vector<prometheus::MetricFamily> all;

  prometheus::ClientMetric& Sample(Family family, Labels labels) {
    prometheus::ClientMetric& sample = all[static_cast<size_t>(family)].metric.emplace_back();
    sample.label.reserve(labels.size());
    for (const auto& [name, value] : labels) sample.label.push_back({std::string(name), std::string(value)});
    return sample;
  }
};

MetricsPage::MetricsPage(std::vector<bool> wanted) : wanted_(std::move(wanted)), families_(std::make_unique<Families>()) {
  for (const FamilyInfo& family : kFamilies) {
    prometheus::MetricFamily& made = families_->all.emplace_back();
    made.name = family.name;
    made.help = family.help;
    made.type = TypeOf(family.kind);
  }
}

MetricsPage::~MetricsPage() = default;

void MetricsPage::Add(Family family, Labels labels, double value) {
  if (!Wants(family)) return;
  prometheus::ClientMetric& sample = families_->Sample(family, labels);
  if (Info(family).kind == kCounter) {
    sample.counter.value = value;
  } else {
    sample.gauge.value = value;
  }
}

void MetricsPage::Add(Family family, Labels labels, const Histogram& histogram) {
  if (!Wants(family)) return;
  Fill(
      histogram.Counts(), histogram.SumMicroseconds(), [](size_t i) { return static_cast<double>(kBoundsUs[i]); },
      families_->Sample(family, labels).histogram);
}

void MetricsPage::Add(Family family, Labels labels, const SizeHistogram& histogram) {
  if (!Wants(family)) return;
  Fill(
      histogram.Counts(), static_cast<double>(histogram.Sum()),
      [](size_t i) { return static_cast<double>(SizeHistogram::Bound(i)); }, families_->Sample(family, labels).histogram);
}

std::string MetricsPage::Text() const {
  std::vector<prometheus::MetricFamily> shown;
  for (size_t i = 0; i < families_->all.size(); ++i) {
    const bool empty = families_->all[i].metric.empty();
    if (wanted_[i] && (!empty || kFamilies[i].set == kOwn)) shown.push_back(families_->all[i]);
  }
  return prometheus::TextSerializer().Serialize(shown);
}

}  // namespace switchyard
