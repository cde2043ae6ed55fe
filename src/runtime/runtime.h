// What the server needs of an inference engine. Two implementations: openvino/ and fake/ (scripted, for tests).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <absl/functional/any_invocable.h>
#include <absl/types/span.h>

#include "base/status.h"
#include "config/settings.h"
#include "device/inventory.h"
#include "tensor/signature.h"
#include "tensor/tensor_view.h"

namespace switchyard {

// One inference at a time. Not thread-safe: the Executor hands it to one call at a time. Everything that Bind was given must
// stay as it is until the inference has ended (Infer has returned, or StartAsync's callback has begun).
class InferRequest {
 public:
  using Done = absl::AnyInvocable<void(Status)>;

  virtual ~InferRequest() = default;

  // Inputs in the signature's order, already validated against it: the device reads them where they lie, or they are copied
  // here when they are so small that this costs less.
  virtual Status Bind(absl::Span<const TensorView> inputs) = 0;
  // Blocks the calling thread for the time of the inference.
  virtual Status Infer() = 0;
  // Returns at once. `done` runs once, on a thread of the runtime's or on this one, also when the start itself fails.
  virtual void StartAsync(Done done) = 0;
  // After a successful inference: output `index` of the signature, in memory that belongs to the result from now on; the next
  // inference writes elsewhere.
  virtual StatusOr<OutputTensor> TakeOutput(size_t index) = 0;
};

// What came of a load, for people and status calls.
struct LoadFacts {
  std::string device;                          // as asked for, after defaults: "CPU", "AUTO:GPU,CPU"
  std::vector<std::string> execution_devices;  // where it runs
  std::string precision;                       // "f32"; empty when the device does not tell
  std::optional<int> num_streams;
  int optimal_requests = 1;
  enum class Cache { kOff, kMiss, kHit } cache = Cache::kOff;
  double load_ms = 0;
  bool cpu_only = false;  // runs on the CPU plugin alone: Infer() may run on the caller's thread
  // Every inference does the same work: no loops, branches or shapes that depend on the values of inputs.
  bool steady_cost = false;
};

// Thread-safe. Keeps the engine's own objects alive as long as it lives; its InferRequests keep it alive.
class CompiledModel {
 public:
  virtual ~CompiledModel() = default;
  virtual const Signature& signature() const = 0;
  virtual const LoadFacts& facts() const = 0;
  virtual StatusOr<std::unique_ptr<InferRequest>> CreateInferRequest() = 0;
};

// One version of a model to read and compile.
struct LoadRequest {
  ModelSettings settings;
  int64_t version = 1;
  // The model's file, or the folder of a SavedModel.
  std::string model_path;
  std::string cache_dir;  // empty: no cache
};

class Runtime {
 public:
  virtual ~Runtime() = default;
  // Reads, reshapes, compiles. Blocks, for minutes at worst. Errors: InvalidArgument for settings that the model or device
  // refuses (the message names the key and the remedy), NotFound for a missing file or device, Internal for the rest.
  virtual StatusOr<std::shared_ptr<CompiledModel>> Load(const LoadRequest& request) = 0;
  virtual Inventory Devices() = 0;
  // "2026.4.1-...": for metadata and --version.
  virtual std::string Version() const = 0;
};

}  // namespace switchyard
