// What the server needs of an inference engine. Two implementations: openvino/ and fake/ (scripted, for tests).
#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/types/span.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "device/inventory.h"
#include "runtime/model_graph.h"
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
  // here when they are so small that this costs less. Where `places` has room for an output (the signature's order; fewer, or
  // none: no place), the elements end there: written by the device, or copied by TakeOutput. Only the CPU writes there itself,
  // since what a device does that was given up on would come late.
  virtual Status Bind(absl::Span<const TensorView> inputs, absl::Span<const OutputPlace> places) = 0;
  Status Bind(absl::Span<const TensorView> inputs) { return Bind(inputs, {}); }
  // Blocks the calling thread for the time of the inference.
  virtual Status Infer() = 0;
  // Returns at once. `done` runs once, on a thread of the runtime's or on this one, also when the start itself fails.
  virtual void StartAsync(Done done) = 0;
  // After a successful inference: output `index` of the signature, in memory that belongs to the result from now on, or in its
  // place, without an owner; the next inference writes elsewhere.
  virtual StatusOr<OutputTensor> TakeOutput(size_t index) = 0;
  // The model's variables, which an inference leaves as the next one finds them, are as at the beginning again. Between
  // inferences.
  virtual Status ResetState() = 0;
};

// What came of a load, for people and status calls.
struct LoadFacts {
  std::string device;                          // the target it was compiled for: "CPU", "HETERO:GPU.0,CPU"
  std::vector<std::string> execution_devices;  // where it runs, canonical names
  std::string precision;                       // "f32"; empty when the device does not tell
  std::optional<int> num_streams;
  int optimal_requests = 1;
  // Infer requests that the device runs together as one batch, in the order they were created in; 1: no batching. The number of
  // requests created is a multiple of it.
  int batch_size = 1;
  enum class Cache { kOff, kMiss, kHit } cache = Cache::kOff;
  double load_ms = 0;     // reading, reshaping and compiling
  double compile_ms = 0;  // compiling, or importing from the cache, alone
  bool cpu_only = false;  // runs on the CPU plugin alone: Infer() may run on the caller's thread
  // Every inference does the same work: no loops, branches or shapes that depend on the values of inputs.
  bool steady_cost = false;
  bool stateful = false;  // has variables: what an inference computes depends on the ones before it
  // The source graph's operations by device and by type: {"GPU.0": {"Convolution": 53}}.
  std::map<std::string, std::map<std::string, int>> layers;
  std::optional<uint64_t> memory_bytes;  // on the device; an estimate where `reasons` says so
  std::vector<std::string> reasons;      // sentences: why it is not what was asked for, and what is not told
};

// Thread-safe. Keeps the engine's own objects alive as long as it lives; its InferRequests keep it alive.
class CompiledModel {
 public:
  virtual ~CompiledModel() = default;
  virtual const Signature& signature() const = 0;
  virtual const LoadFacts& facts() const = 0;
  virtual StatusOr<std::unique_ptr<InferRequest>> CreateInferRequest() = 0;
};

// One version of a model to read and compile for one target.
struct LoadRequest {
  ModelSettings settings;  // shapes, layouts, nireq, ...; its target_device and plugin_config are not looked at
  int64_t version = 1;
  // The model's file, or the folder of a SavedModel.
  std::string model_path;
  // What its files are, as text: another one where any of them is another. For the key of the cache. Empty: where model_path
  // is, and the sizes and times of that file and its weights.
  std::string files;
  std::string cache_dir;  // empty: no cache
  uint64_t cache_max_bytes = 0;  // of all that is in it; 0: any
  // What OpenVINO compiles for: a device, or HETERO or BATCH over devices; canonical, never AUTO or MULTI.
  std::string target;
  // For that target (device/placement.h has taken out what is ours). Keys that none of the target's devices knows are left out
  // without a word: CheckProperties has judged them.
  PropertyMap properties;
};

// For Runtime::Devices: longer than any driver that works takes.
inline constexpr std::chrono::milliseconds kListLimit{20000};

class Runtime {
 public:
  virtual ~Runtime() = default;

  // Judges plugin_config for a model that may run on `devices` (canonical names, all of them there), asked for as `target`
  // ("AUTO:GPU,CPU"). No other device is asked anything. The answer are notes: keys that cannot be judged since their device is
  // not there. InvalidArgument names the key, what was expected, what came, and the nearest right key. May start a child
  // process, for values that only a device can judge; blocks for seconds then.
  virtual StatusOr<std::vector<std::string>> CheckProperties(const std::string& target, const std::vector<std::string>& devices,
                                                             const PropertyMap& plugin_config) = 0;
  // Reads, reshapes, compiles. Blocks, for minutes at worst; a broken device may never answer. Errors: InvalidArgument for
  // settings that the model or device refuses (the message names the key and the remedy), NotFound for a missing file or
  // device, ResourceExhausted when the device's memory cannot hold it, Internal for the rest, marked by MarkFault
  // (device/fault.h).
  virtual StatusOr<std::shared_ptr<CompiledModel>> Load(const LoadRequest& request) = 0;

  // The operations of what Load would compile, with the device that each is for: for HETERO as the plugins divide it, which
  // takes them about as long as compiling a small model; else all on the target's device. Compiles nothing. Errors: NotFound
  // and InvalidArgument as Load's, Internal when the plugins do not tell; what is wrong beside the model itself stands in
  // load_refusal.
  virtual StatusOr<ModelGraph> Graph(const LoadRequest& request) = 0;

  // A new generation of a device: new contexts of its driver, that models loaded from now on use. What was loaded before stays
  // in the old one. Blocks; a broken device may never answer.
  virtual Status Renew(const std::string& device) = 0;
  // A model of one operation on the device's current generation, to ask it whether it answers. Blocks likewise.
  virtual StatusOr<std::shared_ptr<CompiledModel>> LoadCanary(const std::string& device) = 0;

  // Devices that are there, as their drivers tell a process of its own: a driver that crashes or hangs is one that is broken,
  // and this process holds none that no model asked for. Blocks for `limit` at most, and once more for each kind of device when
  // one of them is broken. How much of a device's memory is used is not told.
  virtual DeviceList Devices(std::chrono::milliseconds limit) = 0;
  // "2026.4.1-...": for metadata and --version.
  virtual std::string Version() const = 0;
};

}  // namespace switchyard
