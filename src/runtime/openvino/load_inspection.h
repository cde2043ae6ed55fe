// What goes on around the compilation of one model: what cannot work is refused before it, in our words; what came of it is
// told after it.
#pragma once

#include <cstdint>
#include <memory>
#include <openvino/runtime/compiled_model.hpp>
#include <openvino/runtime/core.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/openvino/layer_count.h"
#include "runtime/runtime.h"

namespace switchyard {

// InvalidArgument: BATCH of a model that is not static, or an NPU and a model with dimensions that it cannot leave open.
Status CheckShapes(const ov::Model& model, const std::string& target);

class LoadInspection {
 public:
  // `core` compiles; `cores` are all that are alive, `core` among them: each has its own share of a device's memory. `model` is
  // what is compiled, with `properties`. All are kept or copied, but for `request`, which must outlive this.
  LoadInspection(const LoadRequest& request, std::vector<std::shared_ptr<ov::Core>> cores, std::shared_ptr<ov::Core> core,
                 std::shared_ptr<ov::Model> model, ov::AnyMap properties);

  // InvalidArgument: BATCH of a model that is not static, an NPU and a model with dimensions that it cannot leave open, and,
  // with strict_placement, a device of a HETERO list that gets no layer. ResourceExhausted: more memory needed than a GPU has
  // left; HETERO is not judged, since nothing tells how it divides the memory. May ask the plugins (HETERO), unless the cache
  // folder has their answer.
  Status Before();
  // Of Before's refusals those about devices: memory, and layers with strict_placement. Tells nothing in the log.
  Status Refusal();
  // The error of a compilation that failed. What an NPU refuses because of open dimensions becomes InvalidArgument, with the
  // flags that set them.
  Status Explain(Status error) const;
  // Fills in the layers, the precision and the streams where a virtual device does not tell them, the memory, and reasons.
  // The memory is what the load took of the device's, where the driver tells (loads at the same time may count for each
  // other), else the estimate of memory_need.h.
  void After(const ov::CompiledModel& compiled, LoadFacts& facts) const;

 private:
  Status CheckMemory() const;
  void FindLayers();
  std::vector<std::string> Idle() const;  // devices of a HETERO list without a layer
  std::string Identity() const;
  std::optional<uint64_t> UsedBytes() const;
  uint64_t Requests() const;
  void TellBatch(LoadFacts& facts) const;
  void TellMemory(LoadFacts& facts) const;
  void TellStreams(LoadFacts& facts) const;
  void TellThreads(LoadFacts& facts) const;

  const LoadRequest& request_;
  const std::vector<std::shared_ptr<ov::Core>> cores_;
  const std::shared_ptr<ov::Core> core_;
  const std::shared_ptr<ov::Model> model_;
  ov::AnyMap properties_;
  const std::string kind_;                  // "HETERO", "BATCH", or the device's name without an id
  const std::vector<std::string> devices_;  // canonical
  std::string cache_dir_;
  LayerCount layers_;
  std::vector<std::string> reasons_;
  std::optional<uint64_t> used_before_;
};

}  // namespace switchyard
