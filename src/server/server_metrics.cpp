#include "server/server_metrics.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>

#include "protocol/rest/ledger.h"
#include "serving/executor.h"
#include "serving/placer.h"
#include "serving/sequences.h"
#include "telemetry/process_metrics.h"

namespace switchyard {
namespace {

void CollectVersion(const Version& version, TimePoint now, MetricsPage& page) {
  const auto add = [&](Family family, std::string_view name_label, size_t value) {
    page.Add(family, {{name_label, version.model_name()}, {"version", version.number_text()}}, static_cast<double>(value));
  };
  const size_t queued = version.queued();
  const size_t active = version.active();
  add(Family::kCurrentRequests, "name", queued + active);
  add(Family::kInferRequestsActive, "name", active);
  add(Family::kQueueLength, "model", queued);
  const std::optional<TimePoint> oldest = version.oldest_queued();
  const Duration age = oldest ? std::max(Duration::zero(), now - *oldest) : Duration::zero();
  const MetricsPage::Labels labels = {{"model", version.model_name()}, {"version", version.number_text()}};
  page.Add(Family::kQueueAge, labels, std::chrono::duration<double>(age).count());
  const Sequences* const sequences = version.sequences();
  add(Family::kSequences, "model", sequences == nullptr ? 0 : sequences->running());
  if (version.placer() == nullptr) return;
  const PlacementReport placement = version.placer()->Report();
  page.Add(Family::kModelHelping, labels, placement.helping ? 1 : 0);
  size_t requests = 0, streams = 0;
  uint64_t memory = 0;
  for (const TargetPlacement& target : placement.targets) {
    page.Add(Family::kModelPlacement,
             {{"model", version.model_name()},
              {"version", version.number_text()},
              {"target", target.target},
              {"state", target.state},
              {"precision", target.facts ? target.facts->precision : ""}},
             1);
    if (!target.facts) continue;
    memory += target.facts->memory_bytes.value_or(0);
    if (target.state != "serving") continue;
    requests += target.num_requests;
    streams += static_cast<size_t>(target.facts->num_streams.value_or(0));
  }
  for (const ShapePlacement& shape : placement.shapes) memory += shape.memory_bytes;
  if (const TargetPlacement* const serving = placement.Serving(); serving != nullptr && serving->facts) {
    page.Add(Family::kLoadTime,
             {{"model", version.model_name()},
              {"version", version.number_text()},
              {"device", serving->device},
              {"cache", Name(serving->facts->cache)}},
             serving->facts->load_ms / 1000);
  }
  for (const auto& [device, types] : placement.ServingLayers()) {
    page.Add(Family::kModelLayers, {{"model", version.model_name()}, {"version", version.number_text()}, {"device", device}},
             static_cast<double>(CountLayers(types)));
  }
  add(Family::kStreams, "name", streams);
  add(Family::kInferRequests, "name", requests);
  if (memory > 0) add(Family::kModelMemory, "model", memory);
}

void CollectVersions(const Manager& manager, TimePoint now, MetricsPage& page) {
  for (const ModelStatus& model : manager.Statuses()) {
    for (const VersionStatus& status : model.versions) {
      const StatusOr<Handle> handle = manager.Acquire(model.name, status.version);
      if (handle.ok()) CollectVersion(**handle, now, page);
    }
  }
}

void CollectDevices(const Manager& manager, MetricsPage& page) {
  using enum DeviceState;
  for (const DeviceReport& device : ReadDevices(manager)) {
    if (device.info.memory_total_bytes > 0) {
      const auto memory = [&](std::string_view kind, uint64_t bytes) {
        page.Add(Family::kDeviceMemory, {{"device", device.info.name}, {"kind", kind}}, static_cast<double>(bytes));
      };
      memory("total", device.info.memory_total_bytes);
      memory("used", device.info.memory_used_bytes);
    }
    page.Add(Family::kDeviceModels, {{"device", device.info.name}}, static_cast<double>(device.models.size()));
    for (const DeviceState state : {kWell, kSuspect, kLost, kProbation, kAbsent}) {
      page.Add(Family::kDeviceState, {{"device", device.info.name}, {"state", Name(state)}}, device.state == state ? 1 : 0);
    }
  }
}

}  // namespace

void AddServerCollectors(MetricsRegistry& metrics, const Manager& manager, const Timer& timer) {
  metrics.AddCollector([openvino = manager.runtime().Version()](MetricsPage& page) {
    page.Add(Family::kBuildInfo, {{"version", SWITCHYARD_VERSION}, {"openvino", openvino}}, 1);
  });
  metrics.AddCollector([&manager, &timer](MetricsPage& page) {
    CollectVersions(manager, timer.Now(), page);
    CollectDevices(manager, page);
  });
  metrics.AddCollector(CollectProcess);
}

}  // namespace switchyard
