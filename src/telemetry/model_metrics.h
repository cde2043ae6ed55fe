// The cells of one version of a model.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

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
  std::optional<Duration> wait;   // from its arrival until an infer request took it
  std::optional<Duration> infer;  // on the device
};

// Thread-safe. Counting takes no lock, but for the first call that a device serves.
class ModelMetrics {
 public:
  ModelMetrics(std::string model, std::string version);
  ~ModelMetrics();

  // Times are counted of calls that ended well.
  void Record(const CallRecord& record);
  // What is not an inference, of a versioned endpoint.
  void CountQuery(Endpoint endpoint, bool ok) { outcomes_[static_cast<size_t>(endpoint)].Count(ok); }

  void Collect(MetricsPage& page) const;

 private:
  static constexpr size_t kCodes = 17;  // of gRPC
  struct Device {
    std::string name;
    std::array<Counter, kCodes> requests;
    Device* next = nullptr;
  };
  Device& DeviceNamed(std::string_view name);

  const std::string model_;
  const std::string version_;
  std::array<Outcomes, kEndpoints> outcomes_;
  Histogram grpc_time_;
  Histogram rest_time_;
  Histogram infer_time_;
  Histogram wait_time_;
  // A list that only grows, at its head; a model has one or two devices.
  std::atomic<Device*> devices_{nullptr};
  Mutex adding_;
};

}  // namespace switchyard
