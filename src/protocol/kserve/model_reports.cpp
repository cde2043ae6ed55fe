#include "protocol/kserve/model_reports.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>
#include <vector>

#include "kserve.pb.h"
#include "protocol/http/json_writer.h"
#include "protocol/kserve/metadata.h"
#include "serving/placer.h"
#include "serving/sequences.h"

namespace switchyard::kserve {
namespace {

using inference::ModelConfig;
using inference::ModelStatistics;

void Set(const CallStatistics::Total& total, inference::StatisticDuration& duration) {
  duration.set_count(total.count);
  duration.set_ns(total.ns);
}

// "GPU.1" is {"GPU", 1}.
std::pair<std::string, int> KindAndNumber(const std::string& device) {
  const size_t dot = device.find('.');
  int number = 0;
  if (dot != device.npos) std::from_chars(device.data() + dot + 1, device.data() + device.size(), number);
  return {device.substr(0, dot), number};
}

ModelStatistics StatisticsOf(const Version& version) {
  const CallStatistics calls = version.metrics().Statistics();
  ModelStatistics report;
  report.set_name(version.model_name());
  report.set_version(version.number_text());
  report.set_inference_count(calls.rows);
  report.set_execution_count(calls.executions);
  if (calls.last != TimePoint()) {
    const auto ago = std::chrono::steady_clock::now() - calls.last;
    const auto since_epoch = (std::chrono::system_clock::now() - ago).time_since_epoch();
    report.set_last_inference(
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count()));
  }
  inference::InferStatistics& times = *report.mutable_inference_stats();
  Set(calls.success, *times.mutable_success());
  Set(calls.fail, *times.mutable_fail());
  Set(calls.queue, *times.mutable_queue());
  Set(calls.input, *times.mutable_compute_input());
  Set(calls.infer, *times.mutable_compute_infer());
  Set(calls.output, *times.mutable_compute_output());
  times.mutable_cache_hit();
  times.mutable_cache_miss();
  for (const CallStatistics::Batch& batch : calls.batches) {
    inference::InferBatchStatistics& row = *report.add_batch_stats();
    row.set_batch_size(batch.rows);
    Set(batch.input, *row.mutable_compute_input());
    Set(batch.infer, *row.mutable_compute_infer());
    Set(batch.output, *row.mutable_compute_output());
  }
  if (version.placer() == nullptr) return report;
  const PlacementReport placement = version.placer()->Report();
  for (const TargetPlacement& target : placement.targets) {
    if (!target.facts || !target.facts->memory_bytes) continue;
    inference::MemoryUsage& memory = *report.add_memory_usage();
    const auto [kind, number] = KindAndNumber(target.device);
    memory.set_type(kind);
    memory.set_id(number);
    memory.set_byte_size(*target.facts->memory_bytes);
  }
  return report;
}

StatusOr<std::vector<ModelStatistics>> Collect(const Manager& manager, std::string_view name, std::string_view version) {
  const VersionText text = ParseVersion(version);
  std::vector<ModelStatus> models;
  std::vector<ModelStatistics> reports;
  if (!name.empty()) {
    SY_ASSIGN_OR_RETURN(const Handle handle, manager.Acquire(name, text.number, text.label));
    if (text.number || !text.label.name.empty()) return std::vector<ModelStatistics>{StatisticsOf(*handle)};
    SY_ASSIGN_OR_RETURN(models.emplace_back(), manager.StatusOf(name));
    models.back().name = name;  // by which it can be asked, also while another model lends an alias its versions
  } else {
    models = manager.Statuses();
  }
  for (const ModelStatus& model : models) {
    for (const VersionStatus& entry : model.versions) {
      if (const auto handle = manager.Acquire(model.name, entry.version); handle.ok())
        reports.push_back(StatisticsOf(**handle));
    }
  }
  return reports;
}

inference::DataType TypeOf(ElementType type) {
  inference::DataType found = inference::TYPE_INVALID;
  if (type == ElementType::kBytes) return inference::TYPE_STRING;
  inference::DataType_Parse("TYPE_" + std::string(KserveName(type)), &found);
  return found;
}

void SetPolicy(const VersionPolicy& policy, inference::ModelVersionPolicy& report) {
  switch (policy.kind) {
    case VersionPolicy::Kind::kAll:
      report.mutable_all();
      break;
    case VersionPolicy::Kind::kLatest:
      report.mutable_latest()->set_num_versions(policy.latest_count);
      break;
    case VersionPolicy::Kind::kSpecific:
      for (const int64_t version : policy.versions) report.mutable_specific()->add_versions(version);
      break;
  }
}

void AddInstances(const Version& version, ModelConfig& config) {
  if (version.placer() == nullptr) return;
  const PlacementReport placement = version.placer()->Report();
  (*config.mutable_parameters())["target_device"].set_string_value(placement.target_device);
  for (const TargetPlacement& target : placement.targets) {
    if (target.state != "serving") continue;
    inference::ModelInstanceGroup& group = *config.add_instance_group();
    const auto [kind, number] = KindAndNumber(target.device);
    group.set_name(target.target);
    group.set_count(static_cast<int32_t>(target.num_requests));
    group.set_kind(kind == "CPU"   ? inference::ModelInstanceGroup::KIND_CPU
                   : kind == "GPU" ? inference::ModelInstanceGroup::KIND_GPU
                                   : inference::ModelInstanceGroup::KIND_MODEL);
    if (kind == "GPU") group.add_gpus(number);
  }
}

// Triton's clients take a batch that the server makes for the first dimension of each tensor, which the configuration leaves
// out.
bool BatchIsFirst(const Signature& signature) {
  const auto first = [](const TensorSpec& spec) { return spec.batch_dim == size_t{0}; };
  return std::all_of(signature.inputs.begin(), signature.inputs.end(), first) &&
         std::all_of(signature.outputs.begin(), signature.outputs.end(), first);
}

void SetBatching(const DynamicBatching& batching, inference::ModelDynamicBatching& report) {
  report.set_max_queue_delay_microseconds(batching.max_delay_us);
  report.set_priority_levels(batching.priority.levels);
  report.set_default_priority_level(batching.priority.standard);
}

StatusOr<ModelConfig> Describe(const Manager& manager, std::string_view name, std::string_view version_text) {
  const VersionText text = ParseVersion(version_text);
  SY_ASSIGN_OR_RETURN(const Handle version, manager.Acquire(name, text.number, text.label));
  ModelConfig config;
  config.set_name(version->model_name());
  config.set_platform(std::string(kPlatform));
  config.set_backend("openvino");
  SY_ASSIGN_OR_RETURN(const ModelStatus status, manager.StatusOf(name));
  SetPolicy(status.version_policy, *config.mutable_version_policy());
  const auto& batching = version->settings().dynamic_batching;
  if (batching) SetBatching(*batching, *config.mutable_dynamic_batching());
  const bool open = batching && BatchIsFirst(version->signature());
  if (open) config.set_max_batch_size(static_cast<int32_t>(batching->max_batch_size));
  const auto describe = [open](const TensorSpec& spec, auto& tensor) {
    tensor.set_name(spec.name);
    tensor.set_data_type(TypeOf(spec.type));
    const Shape dims = spec.shape.Wire();
    for (size_t i = open ? 1 : 0; i < dims.size(); ++i) tensor.add_dims(dims[i]);
  };
  for (const TensorSpec& spec : version->signature().inputs) describe(spec, *config.add_input());
  for (const TensorSpec& spec : version->signature().outputs) describe(spec, *config.add_output());
  AddInstances(*version, config);
  if (const Sequences* const sequences = version->sequences()) {
    const auto idle = std::chrono::duration_cast<std::chrono::microseconds>(sequences->options().idle).count();
    config.mutable_sequence_batching()->set_max_sequence_idle_microseconds(static_cast<uint64_t>(idle));
  }
  config.mutable_model_transaction_policy();
  return config;
}

// A JSON object that is written member by member.
class JsonObjectWriter {
 public:
  explicit JsonObjectWriter(std::string& out) : out_(out) { out_ += '{'; }
  ~JsonObjectWriter() { out_ += '}'; }
  void Key(std::string_view key) {
    if (!std::exchange(first_, false)) out_ += ',';
    AppendJsonString(out_, key);
    out_ += ':';
  }
  void Text(std::string_view key, std::string_view value) {
    Key(key);
    AppendJsonString(out_, value);
  }
  void Number(std::string_view key, uint64_t value) {
    Key(key);
    out_ += std::to_string(value);
  }
  void Flag(std::string_view key, bool value) {
    Key(key);
    out_ += value ? "true" : "false";
  }
  template <typename List, typename Append>
  void Array(std::string_view key, const List& list, const Append& append) {
    Key(key);
    out_ += '[';
    bool first = true;
    for (const auto& element : list) {
      if (!std::exchange(first, false)) out_ += ',';
      append(element);
    }
    out_ += ']';
  }

 private:
  std::string& out_;
  bool first_ = true;
};

void AppendDuration(JsonObjectWriter& object, std::string& out, std::string_view key,
                    const inference::StatisticDuration& value) {
  object.Key(key);
  JsonObjectWriter duration(out);
  duration.Number("count", value.count());
  duration.Number("ns", value.ns());
}

void AppendStatistics(std::string& out, const ModelStatistics& model) {
  JsonObjectWriter object(out);
  object.Text("name", model.name());
  object.Text("version", model.version());
  object.Number("last_inference", model.last_inference());
  object.Number("inference_count", model.inference_count());
  object.Number("execution_count", model.execution_count());
  object.Key("inference_stats");
  {
    const inference::InferStatistics& stats = model.inference_stats();
    JsonObjectWriter times(out);
    AppendDuration(times, out, "success", stats.success());
    AppendDuration(times, out, "fail", stats.fail());
    AppendDuration(times, out, "queue", stats.queue());
    AppendDuration(times, out, "compute_input", stats.compute_input());
    AppendDuration(times, out, "compute_infer", stats.compute_infer());
    AppendDuration(times, out, "compute_output", stats.compute_output());
    AppendDuration(times, out, "cache_hit", stats.cache_hit());
    AppendDuration(times, out, "cache_miss", stats.cache_miss());
  }
  object.Array("batch_stats", model.batch_stats(), [&](const inference::InferBatchStatistics& batch) {
    JsonObjectWriter row(out);
    row.Number("batch_size", batch.batch_size());
    AppendDuration(row, out, "compute_input", batch.compute_input());
    AppendDuration(row, out, "compute_infer", batch.compute_infer());
    AppendDuration(row, out, "compute_output", batch.compute_output());
  });
  object.Array("memory_usage", model.memory_usage(), [&](const inference::MemoryUsage& usage) {
    JsonObjectWriter memory(out);
    memory.Text("type", usage.type());
    memory.Number("id", static_cast<uint64_t>(usage.id()));
    memory.Number("byte_size", usage.byte_size());
  });
}

void AppendPolicy(JsonObjectWriter& object, std::string& out, const inference::ModelVersionPolicy& policy) {
  object.Key("version_policy");
  JsonObjectWriter choice(out);
  if (policy.has_all()) {
    choice.Key("all");
    out += "{}";
  } else if (policy.has_latest()) {
    choice.Key("latest");
    JsonObjectWriter(out).Number("num_versions", policy.latest().num_versions());
  } else {
    choice.Key("specific");
    JsonObjectWriter(out).Array("versions", policy.specific().versions(),
                                [&](int64_t version) { AppendJsonInteger(out, version); });
  }
}

template <typename Tensors>
void AppendTensors(JsonObjectWriter& object, std::string& out, std::string_view key, const Tensors& tensors) {
  object.Array(key, tensors, [&](const auto& tensor) {
    JsonObjectWriter one(out);
    one.Text("name", tensor.name());
    one.Text("data_type", inference::DataType_Name(tensor.data_type()));
    one.Array("dims", tensor.dims(), [&](int64_t dim) { AppendJsonInteger(out, dim); });
    one.Flag("is_shape_tensor", false);
  });
}

void AppendConfig(std::string& out, const ModelConfig& config) {
  JsonObjectWriter object(out);
  object.Text("name", config.name());
  object.Text("platform", config.platform());
  object.Text("backend", config.backend());
  AppendPolicy(object, out, config.version_policy());
  object.Number("max_batch_size", static_cast<uint64_t>(config.max_batch_size()));
  AppendTensors(object, out, "input", config.input());
  AppendTensors(object, out, "output", config.output());
  object.Array("instance_group", config.instance_group(), [&](const inference::ModelInstanceGroup& instances) {
    JsonObjectWriter group(out);
    group.Text("name", instances.name());
    group.Text("kind", inference::ModelInstanceGroup::Kind_Name(instances.kind()));
    group.Number("count", static_cast<uint64_t>(instances.count()));
    group.Array("gpus", instances.gpus(), [&](int32_t gpu) { AppendJsonInteger(out, gpu); });
  });
  if (config.has_dynamic_batching()) {
    object.Key("dynamic_batching");
    const inference::ModelDynamicBatching& batching = config.dynamic_batching();
    JsonObjectWriter one(out);
    one.Array("preferred_batch_size", batching.preferred_batch_size(), [&](int32_t size) { AppendJsonInteger(out, size); });
    one.Number("max_queue_delay_microseconds", batching.max_queue_delay_microseconds());
    one.Number("priority_levels", batching.priority_levels());
    one.Number("default_priority_level", batching.default_priority_level());
  }
  if (config.has_sequence_batching()) {
    object.Key("sequence_batching");
    JsonObjectWriter(out).Number("max_sequence_idle_microseconds", config.sequence_batching().max_sequence_idle_microseconds());
  }
  object.Key("parameters");
  {
    JsonObjectWriter parameters(out);
    for (const auto& [name, parameter] : config.parameters()) {
      parameters.Key(name);
      JsonObjectWriter(out).Text("string_value", parameter.string_value());
    }
  }
  object.Key("model_transaction_policy");
  JsonObjectWriter(out).Flag("decoupled", false);
}

}  // namespace

StatusOr<std::string> StatisticsMessage(const Manager& manager, std::string_view name, std::string_view version) {
  SY_ASSIGN_OR_RETURN(std::vector<ModelStatistics> reports, Collect(manager, name, version));
  inference::ModelStatisticsResponse response;
  for (ModelStatistics& report : reports) *response.add_model_stats() = std::move(report);
  return response.SerializeAsString();
}

StatusOr<std::string> StatisticsJson(const Manager& manager, std::string_view name, std::string_view version) {
  SY_ASSIGN_OR_RETURN(const std::vector<ModelStatistics> reports, Collect(manager, name, version));
  std::string out;
  JsonObjectWriter(out).Array("model_stats", reports, [&](const ModelStatistics& report) { AppendStatistics(out, report); });
  return out;
}

StatusOr<std::string> ConfigMessage(const Manager& manager, std::string_view name, std::string_view version) {
  inference::ModelConfigResponse response;
  SY_ASSIGN_OR_RETURN(*response.mutable_config(), Describe(manager, name, version));
  return response.SerializeAsString();
}

StatusOr<std::string> ConfigJson(const Manager& manager, std::string_view name, std::string_view version) {
  SY_ASSIGN_OR_RETURN(const ModelConfig config, Describe(manager, name, version));
  std::string out;
  AppendConfig(out, config);
  return out;
}

}  // namespace switchyard::kserve
