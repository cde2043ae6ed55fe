#include "config/config_file.h"

#include <rapidjson/document.h>
#include <rapidjson/pointer.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <system_error>

#include "base/log.h"
#include "config/batching_values.h"
#include "config/config_schema.h"
#include "config/device_values.h"
#include "config/json_text.h"
#include "config/lifecycle_values.h"
#include "config/model_entry.h"
#include "config/model_values.h"
#include "config/plugin_config.h"
#include "config/preprocess_values.h"
#include "config/server_parts.h"
#include "config/text.h"

namespace switchyard {
namespace {

using rapidjson::Value;

const Value* Find(const Value& object, std::string_view key) {
  const auto member = object.FindMember(Value(key.data(), static_cast<rapidjson::SizeType>(key.size())));
  return member == object.MemberEnd() ? nullptr : &member->value;
}

Status At(const Status& status, std::string_view key) {
  return Status(status.code(), fmt::format("{}: {}", key, Message(status)));
}

Status CheckServed(const Value& entry) {
  for (const std::string_view key : {"custom_loader_options", "graph_path", "subconfig"}) {
    if (Find(entry, key) != nullptr) {
      return Error(StatusCode::kUnimplemented,
                   "{} is a key of OVMS that this version does not serve yet; remove it to serve the model", key);
    }
  }
  return absl::OkStatus();
}

Status ReadBatchSize(const Value& json, ModelSettings* model) {
  auto size = ParseBatchSize(json.IsString() ? std::string(Text(json)) : std::to_string(json.IsInt64() ? json.GetInt64() : -2));
  if (!size.ok()) return At(size.status(), "batch_size");
  model->batch_size = size->size;
  model->batch_auto = size->is_auto;
  return absl::OkStatus();
}

// What `read` makes of the key's value; its errors get the key's name.
template <typename Read, typename Target>
Status ReadKey(const Value& entry, std::string_view key, Read read, Target* target) {
  const Value* json = Find(entry, key);
  if (json == nullptr) return absl::OkStatus();
  auto value = read(*json);
  if (!value.ok()) return At(value.status(), key);
  *target = *std::move(value);
  return absl::OkStatus();
}

Status ReadInputs(const Value& entry, ModelSettings* model) {
  ShapeSettings shapes;
  SY_RETURN_IF_ERROR(ReadKey(entry, "shape", ShapesOf, &shapes));
  model->shapes = std::move(shapes.shapes);
  model->auto_shapes = std::move(shapes.autos);
  SY_RETURN_IF_ERROR(ReadKey(entry, "layout", LayoutsOf, &model->layouts));
  SY_RETURN_IF_ERROR(ReadKey(entry, "mean", MeansOf, &model->means));
  SY_RETURN_IF_ERROR(ReadKey(entry, "scale", ScalesOf, &model->scales));
  SY_RETURN_IF_ERROR(ReadKey(entry, "color_format", ColorFormatsOf, &model->color_formats));
  SY_RETURN_IF_ERROR(ReadKey(entry, "precision", PrecisionsOf, &model->precisions));
  if (Find(entry, "dynamic_batching") != nullptr) {
    SY_RETURN_IF_ERROR(ReadKey(entry, "dynamic_batching", DynamicBatchingOf, &model->dynamic_batching.emplace()));
  }
  if (const Value* json = Find(entry, "auto_shape_limit")) {
    if (!json->IsUint() || json->GetUint() < 1 || json->GetUint() > kMaxAutoShapes) {
      return InvalidArgument("auto_shape_limit: expected an integer from 1 to {}, got {}", kMaxAutoShapes, Describe(*json));
    }
    model->auto_shape_limit = json->GetUint();
  }
  return absl::OkStatus();
}

Status ReadState(const Value& entry, ModelSettings* model) {
  if (const Value* json = Find(entry, "stateful")) model->stateful = json->GetBool();
  if (const Value* json = Find(entry, "idle_sequence_cleanup")) model->idle_sequence_cleanup = json->GetBool();
  if (const Value* json = Find(entry, "low_latency_transformation")) model->low_latency_transformation = json->GetBool();
  if (const Value* json = Find(entry, "max_sequence_number")) {
    if (!json->IsUint() || json->GetUint() < 1 || json->GetUint() > kMaxSequences) {
      return InvalidArgument("max_sequence_number: expected an integer from 1 to {}, got {}", kMaxSequences, Describe(*json));
    }
    model->max_sequence_number = json->GetUint();
  }
  if (const Value* json = Find(entry, "sequence_idle_seconds")) {
    if (!json->IsUint()) {
      return InvalidArgument("sequence_idle_seconds: expected an integer from 0 to 4294967295, got {}", Describe(*json));
    }
    model->sequence_idle_seconds = json->GetUint();
  }
  return absl::OkStatus();
}

Status ReadNireq(const Value& json, ModelSettings* model) {
  if (!json.IsUint() || json.GetUint() > kMaxNireq) {
    return InvalidArgument("nireq: expected an integer from 0 to {}, got {}", kMaxNireq, Describe(json));
  }
  model->nireq = json.GetUint();
  return absl::OkStatus();
}

// Names beside those of the folders: of versions, and of the model.
Status ReadNames(const Value& entry, ModelSettings* model) {
  if (const Value* json = Find(entry, "labels")) {
    auto labels = LabelsOf(*json);
    if (!labels.ok()) return At(labels.status(), "labels");
    model->labels = *std::move(labels);
  }
  if (const Value* json = Find(entry, "aliases")) {
    auto aliases = AliasesOf(*json, model->name);
    if (!aliases.ok()) return At(aliases.status(), "aliases");
    model->aliases = *std::move(aliases);
  }
  return absl::OkStatus();
}

// Of models that were read, with the pointers of their entries. One whose alias is the name of another, or an alias of one
// before it, is faulty: whom a call would reach must not hang on an order.
void RefuseTakenAliases(const std::set<std::string>& names, const std::vector<std::string>& pointers, ConfigFile* file) {
  std::map<std::string, std::string> taken;  // by whom
  std::vector<ModelSettings> good;
  for (size_t i = 0; i < file->models.size(); ++i) {
    ModelSettings& model = file->models[i];
    std::string fault;
    for (size_t j = 0; j < model.aliases.size() && fault.empty(); ++j) {
      const std::string& alias = model.aliases[j];
      const auto other = taken.find(alias);
      if (!names.contains(alias) && other == taken.end()) continue;
      fault = fmt::format("{}/aliases/{}: expected a name that no other model has, got {}, {}", pointers[i], j, Quote(alias),
                          other == taken.end() ? "which is a model's name" : "an alias of model " + Quote(other->second));
    }
    if (fault.empty()) {
      for (const std::string& alias : model.aliases) taken.emplace(alias, model.name);
      good.push_back(std::move(model));
    } else {
      file->faulty_models.push_back({std::move(model.name), std::move(fault)});
    }
  }
  file->models = std::move(good);
}

void ReadModels(const Value& list, const std::string& base_dir, Warnings warnings, ConfigFile* file) {
  std::set<std::string> names;
  std::vector<std::string> pointers;
  for (rapidjson::SizeType i = 0; i < list.Size(); ++i) {
    const Value& entry = list[i]["config"];
    ModelSettings model;
    model.name = Text(entry["name"]);
    const std::string pointer = fmt::format("/model_config_list/{}/config", i);
    if (!names.insert(model.name).second) {
      LogWarning("{}: the name {} is taken by an entry before this one, which is served; this one is not", pointer,
                 Quote(model.name));
      continue;
    }
    const Status read = ReadModelEntry(entry, base_dir, &model, warnings);
    if (read.ok()) {
      file->models.push_back(std::move(model));
      pointers.push_back(pointer);
    } else {
      file->faulty_models.push_back({std::move(model.name), fmt::format("{}/{}", pointer, Message(read))});
    }
  }
  RefuseTakenAliases(names, pointers, file);
}

}  // namespace

Status ReadModelEntry(const Value& entry, const std::string& base_dir, ModelSettings* model, Warnings warnings) {
  const Status named = CheckModelName(model->name);
  if (!named.ok()) return At(named, "name");
  SY_RETURN_IF_ERROR(CheckServed(entry));
  const Value* path = Find(entry, "base_path");
  const bool given = path != nullptr && path->GetStringLength() > 0;
  auto base_path = ResolveBasePath(given ? Text(*path) : std::string_view(model->name), base_dir);
  if (!base_path.ok()) return At(base_path.status(), "base_path");
  model->base_path = *std::move(base_path);

  if (const Value* json = Find(entry, "target_device")) model->target_device = Trim(Text(*json));
  if (const Value* json = Find(entry, "fallback_devices")) {
    auto devices = FallbackDevicesOf(*json);
    if (!devices.ok()) return At(devices.status(), "fallback_devices");
    model->fallback_devices = *std::move(devices);
  }
  if (const Value* json = Find(entry, "device_timeout_ms")) {
    auto timeout = DeviceTimeoutOf(*json);
    if (!timeout.ok()) return At(timeout.status(), "device_timeout_ms");
    model->device_timeout_ms = *timeout;
  }
  if (const Value* json = Find(entry, "load_timeout_ms")) model->load_timeout_ms = json->GetUint();
  if (const Value* json = Find(entry, "warmup")) {
    auto warm_up = WarmUpOf(*json, base_dir);
    if (!warm_up.ok()) return At(warm_up.status(), "warmup");
    model->warm_up = *std::move(warm_up);
  }
  if (const Value* json = Find(entry, "idle_unload_seconds")) {
    auto seconds = IdleSecondsOf(*json);
    if (!seconds.ok()) return At(seconds.status(), "idle_unload_seconds");
    model->idle_unload_seconds = *seconds;
  }
  if (const Value* json = Find(entry, "standby")) model->standby = json->GetBool();
  if (const Value* json = Find(entry, "strict_placement")) model->strict_placement = json->GetBool();
  if (const Value* json = Find(entry, "isolated_compile")) model->isolated_compile = json->GetBool();
  if (const Value* json = Find(entry, "allow_cache")) model->allow_cache = json->GetBool();
  if (const Value* json = Find(entry, "batch_size")) SY_RETURN_IF_ERROR(ReadBatchSize(*json, model));
  if (const Value* json = Find(entry, "nireq")) SY_RETURN_IF_ERROR(ReadNireq(*json, model));
  SY_RETURN_IF_ERROR(ReadInputs(entry, model));
  SY_RETURN_IF_ERROR(ReadState(entry, model));
  if (const Value* json = Find(entry, "plugin_config")) {
    auto properties = PluginConfigOf(*json);
    if (!properties.ok()) return At(properties.status(), "plugin_config");
    model->plugin_config = *std::move(properties);
  }
  SY_RETURN_IF_ERROR(ReadNames(entry, model));
  if (const Value* json = Find(entry, "model_version_policy")) {
    auto policy = VersionPolicyOf(*json);
    if (!policy.ok()) return At(policy.status(), "model_version_policy");
    model->version_policy = *std::move(policy);
  }
  return Reconcile(model, warnings);
}

StatusOr<ConfigFile> ParseConfigFile(std::string_view text, const std::string& base_dir, Warnings warnings) {
  if (text.size() > kMaxConfigFileBytes) {
    return InvalidArgument("expected a file of at most {} bytes, got {}", kMaxConfigFileBytes, text.size());
  }
  rapidjson::Document document;
  SY_RETURN_IF_ERROR(ParseJsonText(text, &document));
  SY_RETURN_IF_ERROR(CheckConfigSchema(document));

  ConfigFile file;
  for (const ServerPart& part : kServerParts) {
    const Value* const value = rapidjson::Pointer(part.pointer).Get(document);
    const Status read = value != nullptr ? part.read(*value, base_dir, &file.server) : absl::OkStatus();
    if (!read.ok()) return At(read, part.pointer);
  }
  ReadModels(document["model_config_list"], base_dir, warnings, &file);
  return file;
}

StatusOr<std::string> ReadConfigText(const std::string& path) {
  if (path.empty()) return InvalidArgument("The path of the config file is empty; name the file");
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (error || std::filesystem::is_directory(absolute, error)) {
    return InvalidArgument("{}: expected a config file, got a folder", path);
  }
  std::ifstream stream(absolute, std::ios::binary);
  if (!stream) {
    const std::error_code reason(errno, std::generic_category());
    return InvalidArgument("{}: the config file cannot be read: {}; give the path of a file that is there", path,
                           reason.message());
  }
  // Read by pieces, because what is named may be a pipe, whose length nobody knows.
  std::string text;
  char piece[1 << 16];
  while (text.size() <= kMaxConfigFileBytes && (stream.read(piece, sizeof(piece)) || stream.gcount() > 0)) {
    text.append(piece, static_cast<size_t>(stream.gcount()));
  }
  if (stream.bad()) return InvalidArgument("{}: reading the config file failed", path);
  return text;
}

StatusOr<ConfigFile> LoadConfigFile(const std::string& path, Warnings warnings) {
  SY_ASSIGN_OR_RETURN(const std::string text, ReadConfigText(path));
  std::error_code error;
  auto file = ParseConfigFile(text, std::filesystem::absolute(path, error).parent_path().string(), warnings);
  if (!file.ok()) return At(file.status(), path);
  file->text = text;
  return file;
}

}  // namespace switchyard
