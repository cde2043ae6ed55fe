// Trials on real models: each candidate is loaded and called by the server's own Manager, without its listeners.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/timer.h"
#include "config/settings.h"
#include "runtime/runtime.h"
#include "serving/manager.h"
#include "tools/tune/trial.h"

namespace switchyard::tune {

class ModelTrials final : public Trials {
 public:
  struct InputOptions {
    std::map<std::string, std::string> texts;  // as behind `--input name=` of `infer`; random where there is none
    std::map<std::string, Shape> shapes;       // of random ones
  };

  // `settings` are the server's; its models are not looked at. All must outlive this object.
  ModelTrials(const ServerSettings& settings, Runtime& runtime, Timer& timer, InputOptions inputs, size_t cores,
              const std::atomic<bool>& interrupted);
  ~ModelTrials() override;

  StatusOr<Loaded> Load(const Candidate& candidate) override;
  StatusOr<Figures> Measure(size_t concurrency, std::chrono::duration<double> duration) override;
  // The inputs are none that the model takes.
  Status Hopeless() const override { return hopeless_; }

 private:
  Status MakeInputs(const Signature& signature);

  Timer& timer_;
  const InputOptions input_options_;
  const size_t cores_;
  const std::atomic<bool>& interrupted_;
  Manager manager_;
  std::string model_;
  Status hopeless_;
  std::vector<std::shared_ptr<const std::vector<ClientTensor>>> inputs_;
};

}  // namespace switchyard::tune
