#include "protocol/rest/ledger.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "device/cpu_facts.h"
#include "protocol/http/json_writer.h"

namespace switchyard {
namespace {

// One JSON object, member after member.
class ObjectText {
 public:
  explicit ObjectText(std::string& out) : out_(out) { out_ += '{'; }
  ~ObjectText() { out_ += '}'; }
  ObjectText(const ObjectText&) = delete;
  ObjectText& operator=(const ObjectText&) = delete;

  // What comes next in the string is the member's value.
  std::string& Key(std::string_view key) {
    if (!std::exchange(first_, false)) out_ += ',';
    AppendJsonString(out_, key);
    out_ += ':';
    return out_;
  }
  void Text(std::string_view key, std::string_view text) {
    if (text.empty()) return Null(key);
    AppendJsonString(Key(key), text);
  }
  void Integer(std::string_view key, std::optional<int64_t> value) {
    if (!value) return Null(key);
    AppendJsonInteger(Key(key), *value);
  }
  void Milliseconds(std::string_view key, std::optional<double> value) {
    if (!value || !std::isfinite(*value)) return Null(key);
    fmt::format_to(std::back_inserter(Key(key)), "{:.1f}", *value);
  }
  void Bool(std::string_view key, bool value) { Key(key) += value ? "true" : "false"; }
  void Texts(std::string_view key, const std::vector<std::string>& texts) {
    Key(key) += '[';
    for (size_t i = 0; i < texts.size(); ++i) {
      if (i != 0) out_ += ',';
      AppendJsonString(out_, texts[i]);
    }
    out_ += ']';
  }
  void Null(std::string_view key) { Key(key) += "null"; }

 private:
  std::string& out_;
  bool first_ = true;
};

std::optional<int64_t> Told(uint64_t bytes) {
  return bytes == 0 ? std::nullopt : std::optional<int64_t>(static_cast<int64_t>(bytes));
}

std::string_view TypeText(const DeviceReport& device) {
  if (device.state != DeviceState::kAbsent) return Name(device.info.type);
  // Of which kind a GPU that is not there would be, nobody can tell.
  const std::string_view name = device.info.name;
  const std::string_view kind = name.substr(0, name.find('.'));
  return kind == "GPU" || kind == "NPU" || kind == "CPU" ? kind : Name(device.info.type);
}

std::string Rfc3339(std::chrono::system_clock::time_point when) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}Z", fmt::gmtime(std::chrono::floor<std::chrono::seconds>(when)));
}

void AppendLayers(ObjectText& object, const Layers& layers) {
  if (layers.empty()) {
    object.Null("layers");
    return object.Null("layers_by_type");
  }
  {
    ObjectText counts(object.Key("layers"));
    for (const auto& [device, types] : layers) counts.Integer(device, CountLayers(types));
  }
  ObjectText devices(object.Key("layers_by_type"));
  for (const auto& [device, types] : layers) {
    ObjectText numbers(devices.Key(device));
    for (const auto& [type, number] : types) numbers.Integer(type, number);
  }
}

struct Serving {
  const LoadFacts* first = nullptr;  // null: nothing serves
  int64_t num_requests = 0;
  std::optional<int64_t> memory_bytes;
};

Serving SumUp(const PlacementReport& placement) {
  Serving sum;
  for (const TargetPlacement& target : placement.targets) {
    if (target.state != "serving" || !target.facts) continue;
    if (sum.first == nullptr) sum.first = &*target.facts;
    sum.num_requests += static_cast<int64_t>(target.num_requests);
    if (target.facts->memory_bytes) {
      sum.memory_bytes = sum.memory_bytes.value_or(0) + static_cast<int64_t>(*target.facts->memory_bytes);
    }
  }
  return sum;
}

std::optional<int64_t> Memory(const LoadFacts* facts) {
  if (facts == nullptr || !facts->memory_bytes) return std::nullopt;
  return static_cast<int64_t>(*facts->memory_bytes);
}

// What both the whole placement and each of its targets have.
void AppendFacts(ObjectText& object, const LoadFacts* facts, int64_t num_requests, std::optional<int64_t> memory_bytes) {
  object.Text("precision", facts == nullptr ? std::string_view() : facts->precision);
  const bool streams_told = facts != nullptr && facts->num_streams.has_value();
  object.Integer("num_streams", streams_told ? std::optional<int64_t>(*facts->num_streams) : std::nullopt);
  object.Integer("num_requests", facts == nullptr ? std::nullopt : std::optional(num_requests));
  object.Integer("batch_size", facts == nullptr ? std::nullopt : std::optional<int64_t>(facts->batch_size));
  object.Text("cache", facts == nullptr ? std::string_view() : Name(facts->cache));
  object.Milliseconds("compile_ms", facts == nullptr ? std::nullopt : std::optional(facts->compile_ms));
  object.Integer("memory_bytes", memory_bytes);
}

void AppendTarget(std::string& out, const TargetPlacement& target) {
  const LoadFacts* facts = target.facts ? &*target.facts : nullptr;
  ObjectText object(out);
  object.Text("target", target.target);
  object.Text("state", target.state);
  object.Text("reason", target.reason);
  object.Texts("execution_devices", target.execution_devices);
  AppendLayers(object, facts == nullptr ? Layers() : facts->layers);
  AppendFacts(object, facts, static_cast<int64_t>(target.num_requests), Memory(facts));
  object.Milliseconds("load_ms", facts == nullptr ? std::nullopt : std::optional(facts->load_ms));
  object.Integer("requests_served", static_cast<int64_t>(target.requests_served));
}

void AppendTargets(std::string& out, const std::vector<TargetPlacement>& targets) {
  std::map<std::string_view, int> first_devices;
  for (const TargetPlacement& target : targets) ++first_devices[target.device];
  ObjectText by_device(out);
  for (const TargetPlacement& target : targets) {
    const bool alone = first_devices[target.device] == 1;
    AppendTarget(by_device.Key(alone ? target.device : target.target), target);
  }
}

void AppendShapes(std::string& out, const std::vector<ShapePlacement>& shapes) {
  out += '[';
  for (size_t i = 0; i < shapes.size(); ++i) {
    if (i != 0) out += ',';
    ObjectText object(out);
    object.Text("shape", shapes[i].shape);
    object.Text("state", shapes[i].state);
    object.Text("reason", shapes[i].reason);
    object.Integer("requests_served", static_cast<int64_t>(shapes[i].requests_served));
  }
  out += ']';
}

void AppendBatching(std::string& out, const BatchingReport& batching) {
  ObjectText object(out);
  object.Integer("max_batch_size", batching.max_batch_size);
  object.Integer("max_delay_us", batching.max_delay_us);
  object.Integer("batches", static_cast<int64_t>(batching.batches));
  object.Integer("calls", static_cast<int64_t>(batching.calls));
  ObjectText cost(object.Key("cost_us"));
  for (const auto& [rows, microseconds] : batching.cost_us) {
    cost.Integer(std::to_string(rows), static_cast<int64_t>(microseconds));
  }
}

void AppendDevice(std::string& out, const DeviceReport& device, TimePoint now, std::chrono::system_clock::time_point wall) {
  ObjectText object(out);
  object.Text("name", device.info.name);
  object.Text("full_name", device.info.full_name);
  object.Text("type", TypeText(device));
  object.Text("state", Name(device.state));
  object.Text("since", Rfc3339(wall - std::chrono::duration_cast<std::chrono::system_clock::duration>(now - device.since)));
  object.Text("reason", device.reason);
  object.Text("remedy", device.remedy);
  object.Texts("models", device.models);
  object.Integer("memory_total_bytes", Told(device.info.memory_total_bytes));
  object.Integer("memory_used_bytes", Told(device.info.memory_used_bytes));
}

}  // namespace

std::string EncodeDevices(const std::vector<DeviceReport>& devices, TimePoint now, std::chrono::system_clock::time_point wall) {
  std::string out = "{\"devices\":[";
  for (size_t i = 0; i < devices.size(); ++i) {
    if (i != 0) out += ',';
    AppendDevice(out, devices[i], now, wall);
  }
  return out + "]}";
}

std::string EncodePlacement(const PlacementReport& placement) {
  const Serving serving = SumUp(placement);
  std::string out;
  {
    ObjectText object(out);
    object.Text("target_device", placement.target_device);
    object.Texts("execution_devices", placement.execution_devices);
    object.Bool("helping", placement.helping);
    AppendLayers(object, placement.ServingLayers());
    AppendFacts(object, serving.first, serving.num_requests, serving.memory_bytes);
    AppendTargets(object.Key("by_device"), placement.targets);
    object.Texts("reasons", placement.reasons);
    if (placement.batching) AppendBatching(object.Key("dynamic_batching"), *placement.batching);
    if (placement.auto_shapes) AppendShapes(object.Key("shapes"), placement.shapes);
  }
  return out;
}

std::vector<DeviceReport> ReadDevices(const Manager& manager) {
  std::map<std::string, uint64_t> used;
  for (const ModelStatus& model : manager.Statuses()) {
    for (const VersionStatus& version : model.versions) {
      const auto placement = manager.Placement(model.name, version.version);
      if (!placement.ok()) continue;
      for (const TargetPlacement& target : placement->targets) {
        // What HETERO takes is told as a whole: of no single device.
        if (target.facts && target.execution_devices.size() == 1) {
          used[target.execution_devices.front()] += target.facts->memory_bytes.value_or(0);
        }
      }
    }
  }
  std::vector<DeviceReport> devices = manager.Devices();
  for (DeviceReport& device : devices) {
    if (device.info.name == "CPU") {
      const CpuFacts cpu = ReadCpuFacts(SystemView::Own());
      device.info.memory_total_bytes = cpu.memory_total_bytes;
      device.info.memory_used_bytes = cpu.memory_used_bytes;
    } else {
      // The inventory's figure is of the start, before anything was loaded.
      device.info.memory_used_bytes = used[device.info.name];
    }
  }
  return devices;
}

}  // namespace switchyard
