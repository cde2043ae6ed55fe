// Which device takes which of a model's operations, counted by type; and the file beside the compiled model that keeps it.
#pragma once

#include <map>
#include <openvino/runtime/core.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace switchyard {

// Canonical device, type of operation, number: {"GPU.0": {"Convolution": 53}}.
using LayerCount = std::map<std::string, std::map<std::string, int>>;

// Every operation of the model, on one device: what asking its plugin would answer too, for a model that it takes, at no cost.
LayerCount AllOn(const ov::Model& model, const std::string& device);

// Asks the plugins of the canonical `target`, which takes about as long as compiling a small model. Internal when they refuse.
StatusOr<LayerCount> AskLayers(ov::Core& core, const std::shared_ptr<ov::Model>& model, const std::string& target,
                               const ov::AnyMap& properties);

// Those of `devices` that compute nothing: parameters, constants and results are no work.
std::vector<std::string> IdleDevices(const LayerCount& layers, const std::vector<std::string>& devices);

// One count in a cache folder, as JSON. Whatever is wrong with the folder or the file, there is just no count.
class LayerFile {
 public:
  // `identity` is everything that the count depends on, as text. An empty `folder` keeps nothing.
  LayerFile(const std::string& folder, std::string identity);

  std::optional<LayerCount> Read() const;
  void Write(const LayerCount& layers) const;

 private:
  std::string identity_;
  std::string path_;
};

}  // namespace switchyard
