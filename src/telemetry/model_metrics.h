// The cells of one version of a model.
#pragma once

#include <absl/base/thread_annotations.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/timer.h"
#include "telemetry/metrics.h"

namespace switchyard {

// What was called, as OVMS's labels name it.
enum class Endpoint : uint8_t {
  kKserveGrpcInfer,
  kKserveGrpcStreamInfer,
  kKserveGrpcMetadata,
  kKserveGrpcReady,
  kKserveRestInfer,
  kKserveRestMetadata,
  kKserveRestReady,
  kTfsGrpcPredict,
  kTfsGrpcMetadata,
  kTfsGrpcStatus,
  kTfsRestPredict,
  kTfsRestMetadata,
  kTfsRestStatus,
};

struct EndpointInfo {
  std::string_view api;        // "KServe", "TensorFlowServing"
  std::string_view interface;  // "gRPC", "REST"
  std::string_view method;
  bool versioned;  // false: it is about a model, not about a version
};
inline constexpr size_t kEndpoints = 13;
const EndpointInfo& Info(Endpoint endpoint);

// Requests to one endpoint.
struct Outcomes {
  Counter success;
  Counter fail;

  void Count(bool ok) { (ok ? success : fail).Add(); }
};

// An inference request that is over.
struct CallRecord {
  Endpoint endpoint = Endpoint::kKserveGrpcInfer;
  StatusCode code = StatusCode::kOk;
  std::string_view device;        // that ran it; empty: none did
  Duration total{0};              // from its arrival to its answer
  TimePoint at{};                 // when it was answered
  std::optional<Duration> input;  // from its arrival until it was decoded and found right
  std::optional<Duration> wait;   // from its arrival until an infer request took it
  std::optional<Duration> infer;  // on the device
  bool queue_full = false;        // refused, since too many calls waited
  uint64_t batch = 0;             // rows of the first input; 0: none, or not known
  bool joined = false;            // ran in an inference with others, which is counted by itself
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

// Inferences on the device that ended well: each once, whatever calls it ran for.
struct Execution {
  uint64_t rows = 0;   // the batch
  Duration input{0};   // until it could begin, without waiting for an infer request
  Duration infer{0};   // on the device
  Duration output{0};  // until its calls were answered
};

// Of all calls of a version. Times that are read together may be of slightly different moments.
struct CallStatistics {
  struct Total {
    uint64_t count = 0;
    uint64_t ns = 0;
  };
  Total success;  // from their arrival to their answer
  Total fail;
  // The parts of `success`: until the call was decoded and found right, waiting for an infer request, the inference, and from
  // there to the answer.
  Total input;
  Total queue;
  Total infer;
  Total output;
  TimePoint last{};  // when one was answered well; TimePoint{}: never

  // By the rows of the inference, ascending.
  struct Batch {
    uint64_t rows = 0;
    Total input;
    Total infer;
    Total output;
  };
  std::vector<Batch> batches;
  // Of all inferences, those included whose size has no place in `batches`.
  uint64_t executions = 0;
  uint64_t rows = 0;
};

inline constexpr size_t kStatusCodes = 17;  // of gRPC
using CodeCounters = std::array<Counter, kStatusCodes>;
// "OK", "INVALID_ARGUMENT", ...
std::string StatusCodeName(size_t code);

// What devices had, of all models together; by device. Thread-safe; what was made once stays where it is.
class DeviceTotals {
 public:
  // Takes a lock.
  CodeCounters& Of(const std::string& device);
  void Collect(MetricsPage& page) const;

 private:
  mutable Mutex mutex_;
  std::map<std::string, CodeCounters> devices_ ABSL_GUARDED_BY(mutex_);
};

// Thread-safe. Counting takes no lock, but for the first call that a device serves.
class ModelMetrics {
 public:
  // Without `devices` the totals are kept to itself.
  ModelMetrics(std::string model, std::string version, std::shared_ptr<DeviceTotals> devices = nullptr);
  ~ModelMetrics();

  // Has the series of that device's good requests begin at zero.
  void Begin(std::string_view device) { DeviceNamed(device); }
  // Times are counted of calls that ended well.
  void Record(const CallRecord& record);
  // An inference that ran for calls whose own records say `joined`; Record counts those of all others.
  void CountExecution(const Execution& execution);
  // What came after it was counted.
  void AddOutputTime(uint64_t rows, Duration output);
  // What is not an inference, of a versioned endpoint.
  void CountQuery(Endpoint endpoint, bool ok) { outcomes_[static_cast<size_t>(endpoint)].Count(ok); }

  void Collect(MetricsPage& page) const;
  CallStatistics Statistics() const;

 private:
  struct Device {
    std::string name;
    CodeCounters requests;
    CodeCounters* total = nullptr;  // null: no device
    Device* next = nullptr;
  };
  // Inferences of one size.
  struct Batch {
    explicit Batch(uint64_t rows) : rows(rows) {}
    const uint64_t rows;
    Counter count;
    Counter input_ns;
    Counter infer_ns;
    Counter output_ns;
    Batch* next = nullptr;
  };
  // Clients of a model that takes any batch could fill the memory with sizes.
  static constexpr size_t kMostBatchSizes = 256;
  // Why a call was refused before a device had it.
  enum Rejection { kQueueFull, kTooLarge, kInvalid, kUnavailable, kOther, kRejections };
  enum Stage { kWaiting, kRunning, kStages };
  void CountUnrun(const CallRecord& record);
  Device& DeviceNamed(std::string_view name);
  Batch& BatchOf(uint64_t rows);

  const std::string model_;
  const std::string version_;
  std::array<Outcomes, kEndpoints> outcomes_;
  Histogram grpc_time_;
  Histogram rest_time_;
  Histogram infer_time_;
  Histogram wait_time_;
  Counter input_ns_;
  Counter fail_count_;
  Counter fail_ns_;
  std::atomic<int64_t> last_ns_{0};  // of the clock of CallRecord::at
  std::array<Counter, kRejections> rejected_;
  std::array<Counter, kStages> expired_;
  SizeHistogram batch_size_;
  // gRPC, REST.
  std::array<Counter, 2> bytes_in_;
  std::array<Counter, 2> bytes_out_;
  const std::shared_ptr<DeviceTotals> device_totals_;
  // A list that only grows, at its head; a model has one or two devices.
  std::atomic<Device*> devices_{nullptr};
  // Such lists too, by the rows modulo their number.
  std::array<std::atomic<Batch*>, 64> batches_{};
  Batch other_batches_{0};  // of whatever size, when there are too many
  Counter other_rows_;
  size_t batch_sizes_ ABSL_GUARDED_BY(adding_) = 0;
  Mutex adding_;
};

}  // namespace switchyard
