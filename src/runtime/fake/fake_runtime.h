// A Runtime that does what the test says: for races, faults and lifetimes that a real device shows once in a million calls.
// Everything here is thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "runtime/runtime.h"

namespace switchyard {

// The model that tests of all servers of this kind use: input `b` FP32 (1,10), output `a` = b + 1.
Signature DummySignature();

class FakeRuntime final : public Runtime {
 public:
  // How StartAsync's callback comes.
  enum class Async {
    kHeld,    // when the test calls CompleteNext or CompleteAll, on that thread
    kThread,  // on a thread of the runtime's own, in the order of the starts
    kInline,  // within StartAsync
  };

  // What one model does. A fresh one loads at once, is cpu_only, and answers. An OK status means "works".
  struct Script {
    Signature signature = DummySignature();
    Status load_error;
    Status load_refusal;     // ModelGraph's
    bool hold_load = false;  // Load blocks until the script is set anew without it
    LoadFacts facts = {.device = "CPU",
                       .execution_devices = {"CPU"},
                       .precision = "f32",
                       .num_streams = 1,
                       .cpu_only = true,
                       .steady_cost = true};
    Status create_request_error;
    Status bind_error;
    // What each inference ends with. CompleteNext's own status goes first.
    Status infer_error;
    Async async = Async::kHeld;
    // The thread that runs the inference is busy for so long.
    std::chrono::nanoseconds cost{0};
    // Runs within each inference, on its thread: advance a clock there, or block.
    std::function<void()> on_infer;
    // Replaces the answer. The default: output i has the shape of input i (modulo their number), its elements plus one when
    // they are FP32, the elements as they are when the types are equal otherwise, and zeros when they differ. With
    // facts.stateful FP32 outputs are running sums instead: of the inputs' elements since the request's state was reset.
    std::function<StatusOr<std::vector<OutputTensor>>(absl::Span<const TensorView>)> compute;
  };

  FakeRuntime();
  // Held callbacks that nobody completed never come. Everything loaded here may live on.
  ~FakeRuntime() override;

  // The script for model `name`, for one version of it when `name` is "name/version", or for one target when it is
  // "name@GPU.0"; the most specific goes first: the target's, then the version's. A device's canary is model "canary" there.
  // Takes effect at the next load or inference; the signature and the facts only at the next load. A model's facts name the
  // target that it is loaded for (but HETERO's execution_devices may be the script's), and only on "CPU" it is cpu_only.
  void Set(const std::string& name, Script script);
  // Changes the script for `name` under the lock.
  void Update(const std::string& name, const std::function<void(Script&)>& change);
  void SetDevices(Inventory devices);
  // Devices of this number of names, discrete GPUs for "GPU.<n>".
  void SetDeviceNames(const std::vector<std::string>& names);
  // What Renew ends with from now on, for every device.
  void SetRenewError(const Status& error);

  // Ends the inference that was started first among the held ones: with `status`, or with its script's when that is OK. False
  // when none is held. The inputs are read here, as a device would do that is still busy.
  bool CompleteNext(const Status& status = absl::OkStatus());
  // Until none is held, those included that the callbacks start. Says how many it were.
  size_t CompleteAll(const Status& status = absl::OkStatus());

  // Blocks until so many inferences are held (exactly or more). False after ten seconds.
  bool WaitForHeld(size_t count);
  // Blocks until so many loads were begun since the start. False after ten seconds.
  bool WaitForLoads(size_t count);

  size_t held() const;
  size_t loads() const;          // begun, also failed ones
  size_t live_models() const;    // CompiledModels
  size_t live_requests() const;  // InferRequests
  size_t infers() const;         // by Infer(), begun
  size_t async_starts() const;   // by StartAsync()
  size_t running() const;        // begun, not ended
  size_t max_running() const;    // the most there ever were
  std::vector<LoadRequest> load_requests() const;
  std::vector<std::string> renewals() const;  // devices, in order
  // Breaches of InferRequest's contract, in words: Bind or a second start while an inference runs, destruction while it runs or
  // within its own callback, TakeOutput without a successful inference.
  std::vector<std::string> violations() const;

  StatusOr<std::vector<std::string>> CheckProperties(const std::string& target, const std::vector<std::string>& devices,
                                                     const PropertyMap& plugin_config) override;
  StatusOr<std::shared_ptr<CompiledModel>> Load(const LoadRequest& request) override;
  // A Parameter "b" and an Add on the first of the target's devices, and a Result "a" on the last. The script's load_error goes
  // first.
  StatusOr<ModelGraph> Graph(const LoadRequest& request) override;
  Status Renew(const std::string& device) override;
  StatusOr<std::shared_ptr<CompiledModel>> LoadCanary(const std::string& device) override;
  DeviceList Devices(std::chrono::milliseconds limit) override;
  std::string Version() const override { return "fake-1.0"; }

  struct State;  // shared with what was loaded

 private:
  std::shared_ptr<State> state_;
};

}  // namespace switchyard
