#include "tools/tune/candidates.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <utility>

#include "config/batching_values.h"
#include "config/text.h"
#include "device/property_text.h"
#include "device/target.h"

namespace switchyard::tune {
namespace {

// Rows of one inference where calls are joined.
constexpr uint32_t kJoined = 16;

using Properties = std::vector<std::pair<std::string, PropertyValue>>;

PropertyValue Text(std::string value) { return PropertyValue{std::move(value)}; }
PropertyValue Whole(size_t value) { return PropertyValue{static_cast<int64_t>(value)}; }

// "FP32" is f32, and "latency" LATENCY.
bool SameText(const PropertyValue& a, const PropertyValue& b) {
  const auto plain = [](const PropertyValue& value) {
    std::string text = ToUpper(ToText(value));
    if (text.starts_with("FP")) text.erase(1, 1);
    return text;
  };
  return plain(a) == plain(b);
}

// Adds candidates that differ from all there are.
class Space {
 public:
  explicit Space(const ModelSettings& base) : base_(base) {
    candidates_.push_back({"default", base, "what the server does with these settings"});
  }

  // Not one that the user's own plugin_config makes another: it would be told under a name that it does not have.
  void Add(const std::string& target, const Properties& properties, std::string label, std::string why,
           std::optional<DynamicBatching> batching = std::nullopt) {
    Candidate candidate{std::move(label), base_, std::move(why)};
    if (batching) candidate.settings.dynamic_batching = batching;
    candidate.settings.target_device = target;
    PropertyMap& config = candidate.settings.plugin_config;
    for (const auto& [key, value] : properties) {
      if (!config.try_emplace(key, value).second && !SameText(config[key], value)) return;
    }
    if (config.contains("NUM_STREAMS") && config.contains("PERFORMANCE_HINT")) return;
    const bool known = std::any_of(candidates_.begin(), candidates_.end(), [&](const Candidate& other) {
      return other.settings == candidate.settings || other.label == candidate.label;
    });
    if (!known) candidates_.push_back(std::move(candidate));
  }
  std::vector<Candidate> Take() { return std::move(candidates_); }
  const ModelSettings& base() const { return base_; }

 private:
  const ModelSettings& base_;
  std::vector<Candidate> candidates_;
};

bool Can(const DeviceInfo& device, std::string_view capability) {
  return std::find(device.capabilities.begin(), device.capabilities.end(), capability) != device.capabilities.end();
}

// Names that INFERENCE_PRECISION_HINT takes on this device. An NPU compiles to its own.
std::vector<std::string> PrecisionsOf(const DeviceInfo& device) {
  if (device.type == DeviceInfo::Type::kNpu) return {};
  std::vector<std::string> precisions = {"f32"};
  if (Can(device, "BF16")) precisions.push_back("bf16");
  if (Can(device, "FP16")) precisions.push_back("f16");
  return precisions;
}

std::string_view PreferredHint(Objective objective) { return objective == Objective::kLatency ? "LATENCY" : "THROUGHPUT"; }

void AddHints(Space& space, const std::string& target, const std::string& precision, Objective objective) {
  for (const std::string& hint :
       {std::string(PreferredHint(objective)), std::string(objective == Objective::kLatency ? "THROUGHPUT" : "LATENCY")}) {
    Properties properties = {{"PERFORMANCE_HINT", Text(hint)}};
    if (!precision.empty()) properties.emplace_back("INFERENCE_PRECISION_HINT", Text(precision));
    space.Add(target, properties, fmt::format("{} {}{}{}", target, hint, precision.empty() ? "" : " ", precision),
              hint == "LATENCY" ? "all cores work on one inference" : "several inferences side by side");
  }
}

// Streams by number: between the two hints.
void AddStreams(Space& space, const std::string& target, const std::vector<std::string>& precisions, size_t cores) {
  std::vector<size_t> streams;
  for (size_t n = 1; n <= cores && streams.size() < 4; n *= 2) streams.push_back(n);
  if (cores > 1 && streams.back() != cores) streams.push_back(cores);
  for (const std::string& precision : precisions) {
    for (const size_t n : streams) {
      Properties properties = {{"NUM_STREAMS", Whole(n)}};
      if (!precision.empty()) properties.emplace_back("INFERENCE_PRECISION_HINT", Text(precision));
      space.Add(target, properties, fmt::format("{} streams {}{}{}", target, n, precision.empty() ? "" : " ", precision),
                "a number of streams between what the two hints take");
    }
  }
}

void AddThreads(Space& space, const std::string& target, const std::vector<std::string>& precisions, size_t cores) {
  for (const std::string& precision : precisions) {
    for (size_t n = cores / 2; n >= 1; n /= 2) {
      space.Add(target,
                {{"PERFORMANCE_HINT", Text("LATENCY")},
                 {"INFERENCE_NUM_THREADS", Whole(n)},
                 {"INFERENCE_PRECISION_HINT", Text(precision)}},
                fmt::format("{} LATENCY threads {} {}", target, n, precision),
                "fewer threads: a small model loses more by meeting than it wins by dividing");
      if (n * 4 <= cores) break;
    }
  }
}

// At the device's own precision, and at f32. Where the user has calls joined already, that stays as it is, and so does what
// each shape is compiled for.
void AddBatches(Space& space, const std::string& device, std::initializer_list<int> sizes) {
  const ModelSettings& base = space.base();
  if (base.dynamic_batching) return;
  const bool open = !base.batch_size && !base.batch_auto && base.auto_shapes.empty();
  for (const std::string_view precision : {"", "f32"}) {
    if (open) {
      Properties properties;
      if (!precision.empty()) properties.emplace_back("INFERENCE_PRECISION_HINT", Text(std::string(precision)));
      space.Add(device, properties,
                fmt::format("{} dynamic_batching {}{}{}", device, kJoined, precision.empty() ? "" : " ", precision),
                "calls that wait at the same time run as one", DynamicBatching{.max_batch_size = kJoined});
    }
    for (const int size : sizes) {
      Properties properties = {{"AUTO_BATCH_TIMEOUT", Whole(10)}};
      if (!precision.empty()) properties.emplace_back("INFERENCE_PRECISION_HINT", Text(std::string(precision)));
      const std::string target = fmt::format("BATCH:{}({})", device, size);
      space.Add(target, properties, fmt::format("{}{}{}", target, precision.empty() ? "" : " ", precision),
                "single requests run as one batch");
    }
  }
}

void AddDevice(Space& space, const DeviceInfo& device, const SpaceOptions& options) {
  std::vector<std::string> precisions = PrecisionsOf(device);
  if (precisions.empty()) precisions.push_back("");
  for (const std::string& precision : precisions) AddHints(space, device.name, precision, options.objective);
  const bool cpu = device.type == DeviceInfo::Type::kCpu;
  if (options.objective != Objective::kLatency) {
    AddStreams(space, device.name, precisions, cpu ? options.cores : 4);
    if (device.type != DeviceInfo::Type::kNpu) {
      AddBatches(space, device.name, cpu ? std::initializer_list<int>{4} : std::initializer_list<int>{4, 16});
    }
  }
  if (cpu) AddThreads(space, device.name, precisions, options.cores);
}

// A virtual device stays what it is; what is under it takes the hints.
void AddVirtual(Space& space, const std::string& target, const SpaceOptions& options) {
  AddHints(space, target, "", options.objective);
  AddHints(space, target, "f32", options.objective);
  if (options.objective != Objective::kLatency && (target.starts_with("AUTO") || target.starts_with("MULTI"))) {
    space.Add(target, {{"PERFORMANCE_HINT", Text("CUMULATIVE_THROUGHPUT")}}, target + " CUMULATIVE_THROUGHPUT",
              "all of its devices at once");
  }
}

}  // namespace

std::vector<Candidate> MakeCandidates(const ModelSettings& base, const Inventory& inventory, const SpaceOptions& options) {
  Space space(base);
  if (base.target_device.empty()) {
    const std::string first = RecommendDevice(inventory);
    if (const DeviceInfo* device = Find(inventory, first)) AddDevice(space, *device, options);
    for (const DeviceInfo& device : inventory) AddDevice(space, device, options);
    return space.Take();
  }
  if (const DeviceInfo* device = Find(inventory, base.target_device)) {
    AddDevice(space, *device, options);
  } else {
    AddVirtual(space, base.target_device, options);
  }
  return space.Take();
}

namespace {

// Held for a while, and larger and smaller batches.
std::vector<Candidate> BatchingNeighbours(const Candidate& candidate) {
  std::vector<Candidate> neighbours;
  const DynamicBatching own = *candidate.settings.dynamic_batching;
  for (const uint32_t delay_us : {0u, 1000u, 5000u}) {
    if (delay_us == own.max_delay_us) continue;
    Candidate& one = neighbours.emplace_back(candidate);
    one.settings.dynamic_batching->max_delay_us = delay_us;
    one.label += fmt::format(" delay {} us", delay_us);
    one.why = "another limit of the time that a call is held for others to come";
  }
  for (const uint32_t size : {own.max_batch_size * 2, own.max_batch_size / 2}) {
    if (size == 0 || size > kMaxBatchSize || candidate.settings.batch_size) continue;
    Candidate& one = neighbours.emplace_back(candidate);
    one.settings.dynamic_batching->max_batch_size = size;
    one.label += fmt::format(" max_batch_size {}", size);
    one.why = "another limit of the rows of one inference";
  }
  return neighbours;
}

}  // namespace

std::vector<Candidate> Neighbours(const Candidate& candidate, size_t requests, Objective objective) {
  std::vector<Candidate> neighbours;
  if (objective == Objective::kLatency || candidate.settings.nireq != 0) return neighbours;
  if (candidate.settings.dynamic_batching) return BatchingNeighbours(candidate);
  const bool batch = candidate.settings.target_device.starts_with("BATCH:");
  if (!batch && requests > 0) {
    for (const size_t n : {requests * 2, requests / 2}) {
      if (n == 0) continue;
      Candidate one = candidate;
      one.settings.nireq = static_cast<uint32_t>(n);
      one.label += fmt::format(" nireq {}", n);
      one.why = n > requests ? "more infer requests than the device asks for: it never waits for the next one"
                             : "fewer infer requests than the device asks for";
      neighbours.push_back(std::move(one));
    }
  }
  if (batch) {
    for (const size_t milliseconds : {size_t{1}, size_t{50}}) {
      Candidate one = candidate;
      one.settings.plugin_config["AUTO_BATCH_TIMEOUT"] = Whole(milliseconds);
      one.label += fmt::format(" wait {} ms", milliseconds);
      one.why = "another limit of the time that a batch waits to be full";
      neighbours.push_back(std::move(one));
    }
  }
  return neighbours;
}

}  // namespace switchyard::tune
