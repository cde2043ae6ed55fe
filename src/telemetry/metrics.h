// The families of metrics there are, the cells that are counted in, and the page that Prometheus reads.
#pragma once

#include <absl/types/span.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/timer.h"

namespace switchyard {

// In the order of the table in metrics.cpp, which is the order of the page.
enum class Family {
  // OVMS's, of models.
  kRequestsSuccess,
  kRequestsFail,
  kRequestTime,
  kInferenceTime,
  kWaitTime,
  kStreams,
  kCurrentRequests,
  kInferRequests,
  kInferRequestsActive,
  // OVMS's, of graphs: known by name, never with a sample, since there are no graphs.
  kCurrentGraphs,
  kGraphRequestsAccepted,
  kGraphRequestsRejected,
  kGraphResponses,
  kGraphErrors,
  kGraphProcessingTime,
  // Our own.
  kBuildInfo,
  kRequests,
  kRetriedCalls,
  kFailovers,
  kDeviceState,
  kQueueLength,
  kQueueAge,
  kSequences,
  kRejectedCalls,
  kExpiredCalls,
  kBatchSize,
  kRequestBytes,
  kResponseBytes,
  kLoads,
  kLoadFailures,
  kLoadTime,
  kModelMemory,
  kModelLayers,
  kModelPlacement,
  kModelHelping,
  kDeviceRequests,
  kDeviceModels,
  kDeviceMemory,
  kAccessLogLines,
  kTracedRequests,
  kProcessCpu,
  kProcessMemory,
  kProcessOpenFiles,
  kProcessMaxFiles,
  kProcessStart,
  kProcessThreads,
};

enum class MetricKind { kCounter, kGauge, kHistogram };
enum class FamilySet {
  kDefault,   // OVMS's: on once metrics are enabled, unless a list is given
  kOptional,  // OVMS's: on when listed
  kOwn,       // always on
};

struct FamilyInfo {
  std::string_view name;
  MetricKind kind;
  FamilySet set;
  std::string_view help;
};

absl::Span<const FamilyInfo> AllFamilies();
inline const FamilyInfo& Info(Family family) { return AllFamilies()[static_cast<size_t>(family)]; }
// What --metrics_list may name, in the order of the table.
std::vector<std::string_view> SelectableFamilies();

// Cells. Thread-safe without locks; every access is relaxed, so that two cells that are read together may be of slightly
// different times.
class Counter {
 public:
  void Add(uint64_t count = 1) { value_.fetch_add(count, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void Set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void Add(int64_t change) { value_.fetch_add(change, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// Of times, in microseconds, with OVMS's 33 buckets: floor(10 * 1.8^i).
class Histogram {
 public:
  static constexpr size_t kBounds = 33;
  // Upper bounds, inclusive.
  static const std::array<uint64_t, kBounds>& Bounds();

  // A negative time counts as zero.
  void Observe(Duration time);

  // By bucket, not added up; the last is what is above every bound.
  std::array<uint64_t, kBounds + 1> Counts() const;
  double SumMicroseconds() const;
  uint64_t SumNanoseconds() const { return sum_ns_.load(std::memory_order_relaxed); }

 private:
  std::array<std::atomic<uint64_t>, kBounds + 1> counts_{};
  std::atomic<uint64_t> sum_ns_{0};
};

// Of numbers of things that come together, such as the rows of a batch.
class SizeHistogram {
 public:
  static constexpr size_t kBounds = 11;
  // Upper bounds, inclusive: 1, 2, 4, ..., 1024.
  static uint64_t Bound(size_t index) { return uint64_t{1} << index; }

  void Observe(uint64_t size);

  // By bucket, not added up; the last is what is above every bound.
  std::array<uint64_t, kBounds + 1> Counts() const;
  uint64_t Sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  std::array<std::atomic<uint64_t>, kBounds + 1> counts_{};
  std::atomic<uint64_t> sum_{0};
};

// One scrape: samples are added by whoever knows them, then the page is written in Prometheus's text format 0.0.4. Not
// thread-safe.
class MetricsPage {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  // `wanted`: by family; what is not wanted is dropped. Families of our own are shown without a sample too.
  explicit MetricsPage(std::vector<bool> wanted);
  ~MetricsPage();

  // For what costs something to find out.
  bool Wants(Family family) const { return wanted_[static_cast<size_t>(family)]; }
  // Of a counter or a gauge.
  void Add(Family family, Labels labels, double value);
  void Add(Family family, Labels labels, const Histogram& histogram);
  void Add(Family family, Labels labels, const SizeHistogram& histogram);

  std::string Text() const;
  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  struct Families;
  const std::vector<bool> wanted_;
  std::unique_ptr<Families> families_;
};

}  // namespace switchyard
