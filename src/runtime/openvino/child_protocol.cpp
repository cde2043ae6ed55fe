#include "runtime/openvino/child_protocol.h"

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <optional>
#include <type_traits>
#include <utility>

#include "base/log.h"
#include "base/subprocess.h"
#include "device/fault.h"

namespace switchyard {
namespace {

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;
using Json = rapidjson::Value;

void Put(Writer& writer, const std::string& text) { writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size())); }
void PutKey(Writer& writer, const std::string& text) { writer.Key(text.data(), static_cast<rapidjson::SizeType>(text.size())); }
void Put(Writer& writer, const Dimension& dimension) {
  writer.StartArray();
  writer.Int64(dimension.min);
  writer.Int64(dimension.max);
  writer.EndArray();
}

void Put(Writer& writer, const PropertyMap& properties) {
  writer.StartObject();
  for (const auto& [key, value] : properties) {
    PutKey(writer, key);
    std::visit(
        [&writer](const auto& v) {
          using T = std::decay_t<decltype(v)>;
          if constexpr (std::is_same_v<T, bool>) {
            writer.Bool(v);
          } else if constexpr (std::is_same_v<T, int64_t>) {
            writer.Int64(v);
          } else if constexpr (std::is_same_v<T, double>) {
            writer.Double(v);
          } else {
            Put(writer, v);
          }
        },
        value.value);
  }
  writer.EndObject();
}

void Put(Writer& writer, const OpenVinoOptions& options) {
  PutKey(writer, "cpu_extension");
  Put(writer, options.cpu_extension);
  PutKey(writer, "tokenizers_extension");
  Put(writer, options.tokenizers_extension);
  PutKey(writer, "device_plugins");
  writer.StartArray();
  for (const auto& [name, library] : options.device_plugins) {
    writer.StartArray();
    Put(writer, name);
    Put(writer, library);
    writer.EndArray();
  }
  writer.EndArray();
}

void PutPair(Writer& writer, const std::string& name, std::string_view first, std::string_view second) {
  PutKey(writer, name);
  writer.StartArray();
  Put(writer, std::string(first));
  Put(writer, std::string(second));
  writer.EndArray();
}

void PutValues(Writer& writer, const char* key, const std::map<std::string, std::vector<float>>& values) {
  writer.Key(key);
  writer.StartObject();
  for (const auto& [input, numbers] : values) {
    PutKey(writer, input);
    writer.StartArray();
    for (const float number : numbers) writer.Double(number);
    writer.EndArray();
  }
  writer.EndObject();
}

void PutInputSteps(Writer& writer, const ModelSettings& settings) {
  writer.Key("color_formats");
  writer.StartObject();
  for (const auto& [input, color] : settings.color_formats) PutPair(writer, input, color.model, color.tensor);
  writer.EndObject();
  writer.Key("precisions");
  writer.StartObject();
  for (const auto& [input, types] : settings.precisions) {
    PutPair(writer, input, KserveName(types.tensor), KserveName(types.model));
  }
  writer.EndObject();
  PutValues(writer, "means", settings.means);
  PutValues(writer, "scales", settings.scales);
}

void Put(Writer& writer, const Status& status) {
  PutKey(writer, "code");
  writer.Int(static_cast<int>(status.code()));
  PutKey(writer, "fault");
  writer.Int(static_cast<int>(FaultOf(status)));
  PutKey(writer, "message");
  Put(writer, std::string(Message(status)));
}

void Put(Writer& writer, const DeviceInfo& device) {
  writer.StartObject();
  PutKey(writer, "name");
  Put(writer, device.name);
  PutKey(writer, "full_name");
  Put(writer, device.full_name);
  PutKey(writer, "type");
  writer.Int(static_cast<int>(device.type));
  PutKey(writer, "memory_total_bytes");
  writer.Uint64(device.memory_total_bytes);
  PutKey(writer, "architecture");
  Put(writer, device.architecture);
  PutKey(writer, "driver");
  Put(writer, device.driver);
  PutKey(writer, "capabilities");
  writer.StartArray();
  for (const std::string& capability : device.capabilities) Put(writer, capability);
  writer.EndArray();
  writer.EndObject();
}

void PutSettings(Writer& writer, const ModelSettings& settings) {
  PutKey(writer, "name");
  Put(writer, settings.name);
  PutKey(writer, "nireq");
  writer.Uint(settings.nireq);
  if (settings.batch_size.has_value()) {
    PutKey(writer, "batch_size");
    Put(writer, *settings.batch_size);
  }
  if (settings.dynamic_batching.has_value()) {
    PutKey(writer, "max_batch_size");
    writer.Uint(settings.dynamic_batching->max_batch_size);
  }
  PutKey(writer, "low_latency");
  writer.Bool(settings.low_latency_transformation);
  PutKey(writer, "shapes");
  writer.StartObject();
  for (const auto& [input, shape] : settings.shapes) {
    PutKey(writer, input);
    writer.StartArray();
    writer.Bool(shape.dynamic_rank);
    for (const Dimension& dimension : shape.dims) Put(writer, dimension);
    writer.EndArray();
  }
  writer.EndObject();
  PutKey(writer, "layouts");
  writer.StartObject();
  for (const auto& [input, layout] : settings.layouts) {
    PutKey(writer, input);
    writer.StartArray();
    Put(writer, layout.tensor);
    Put(writer, layout.model);
    writer.EndArray();
  }
  writer.EndObject();
  PutInputSteps(writer, settings);
}

// Reading throws this text: both ends are this program, so that a fault is one of ours.
struct BadJson {
  std::string what;
};

const Json& At(const Json& json, const char* key) {
  const auto found = json.FindMember(key);
  if (found == json.MemberEnd()) throw BadJson{fmt::format("\"{}\" is missing", key)};
  return found->value;
}

std::string TextOf(const Json& json) {
  if (!json.IsString()) throw BadJson{"a text is missing"};
  return {json.GetString(), json.GetStringLength()};
}

const Json& Elements(const Json& json, rapidjson::SizeType least) {
  if (!json.IsArray() || json.Size() < least) throw BadJson{"an array is missing or too short"};
  return json;
}

const Json& Object(const Json& json) {
  if (!json.IsObject()) throw BadJson{"an object is missing"};
  return json;
}

Dimension DimensionOf(const Json& json) {
  Elements(json, 2);
  if (!json[0].IsInt64() || !json[1].IsInt64()) throw BadJson{"a dimension is no pair of numbers"};
  return {json[0].GetInt64(), json[1].GetInt64()};
}

PropertyMap PropertiesOf(const Json& json) {
  PropertyMap properties;
  for (const auto& member : Object(json).GetObject()) {
    PropertyValue& value = properties[TextOf(member.name)];
    const Json& v = member.value;
    if (v.IsBool()) {
      value.value = v.GetBool();
    } else if (v.IsInt64()) {
      value.value = v.GetInt64();
    } else if (v.IsDouble()) {
      value.value = v.GetDouble();
    } else if (v.IsObject()) {
      value.value = PropertiesOf(v);
    } else {
      value.value = TextOf(v);
    }
  }
  return properties;
}

OpenVinoOptions OptionsOf(const Json& json) {
  OpenVinoOptions options;
  options.cpu_extension = TextOf(At(json, "cpu_extension"));
  options.tokenizers_extension = TextOf(At(json, "tokenizers_extension"));
  for (const Json& plugin : Elements(At(json, "device_plugins"), 0).GetArray()) {
    Elements(plugin, 2);
    options.device_plugins.emplace_back(TextOf(plugin[0]), TextOf(plugin[1]));
  }
  return options;
}

std::map<std::string, std::vector<float>> ValuesOf(const Json& json) {
  std::map<std::string, std::vector<float>> values;
  for (const auto& member : Object(json).GetObject()) {
    std::vector<float>& numbers = values[TextOf(member.name)];
    for (const Json& number : Elements(member.value, 1).GetArray()) {
      if (!number.IsNumber()) throw BadJson{"a mean or scale is no number"};
      numbers.push_back(static_cast<float>(number.GetDouble()));
    }
  }
  return values;
}

void ReadInputSteps(const Json& json, ModelSettings* settings) {
  for (const auto& member : Object(At(json, "color_formats")).GetObject()) {
    Elements(member.value, 2);
    settings->color_formats[TextOf(member.name)] = {TextOf(member.value[0]), TextOf(member.value[1])};
  }
  for (const auto& member : Object(At(json, "precisions")).GetObject()) {
    Elements(member.value, 2);
    const auto type = [](const Json& name) { return FromKserveName(TextOf(name)).value_or(ElementType::kUndefined); };
    settings->precisions[TextOf(member.name)] = {type(member.value[0]), type(member.value[1])};
  }
  settings->means = ValuesOf(At(json, "means"));
  settings->scales = ValuesOf(At(json, "scales"));
}

DeviceInfo DeviceOf(const Json& json) {
  DeviceInfo device{.name = TextOf(At(json, "name")), .full_name = TextOf(At(json, "full_name"))};
  const Json& type = At(json, "type");
  const Json& memory = At(json, "memory_total_bytes");
  if (!type.IsInt() || !memory.IsUint64()) throw BadJson{"a device's type or memory is no number"};
  device.type = static_cast<DeviceInfo::Type>(type.GetInt());
  device.memory_total_bytes = memory.GetUint64();
  device.architecture = TextOf(At(json, "architecture"));
  device.driver = TextOf(At(json, "driver"));
  for (const Json& capability : Elements(At(json, "capabilities"), 0).GetArray()) {
    device.capabilities.push_back(TextOf(capability));
  }
  return device;
}

ModelSettings SettingsOf(const Json& json) {
  ModelSettings settings;
  settings.name = TextOf(At(json, "name"));
  if (!At(json, "nireq").IsUint()) throw BadJson{"\"nireq\" is no number"};
  settings.nireq = At(json, "nireq").GetUint();
  if (json.HasMember("batch_size")) settings.batch_size = DimensionOf(At(json, "batch_size"));
  if (json.HasMember("max_batch_size")) {
    if (!At(json, "max_batch_size").IsUint()) throw BadJson{"\"max_batch_size\" is no number"};
    settings.dynamic_batching = DynamicBatching{.max_batch_size = At(json, "max_batch_size").GetUint()};
  }
  settings.low_latency_transformation = At(json, "low_latency").IsTrue();
  for (const auto& member : Object(At(json, "shapes")).GetObject()) {
    PartialShape& shape = settings.shapes[TextOf(member.name)];
    Elements(member.value, 1);
    shape.dynamic_rank = member.value[0].IsTrue();
    for (rapidjson::SizeType i = 1; i < member.value.Size(); ++i) shape.dims.push_back(DimensionOf(member.value[i]));
  }
  for (const auto& member : Object(At(json, "layouts")).GetObject()) {
    Elements(member.value, 2);
    settings.layouts[TextOf(member.name)] = {TextOf(member.value[0]), TextOf(member.value[1])};
  }
  ReadInputSteps(json, &settings);
  return settings;
}

// Writes an object whose members `fill` gives.
template <typename Fill>
std::string Write(Fill&& fill) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.StartObject();
  fill(writer);
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

template <typename T, typename Read>
StatusOr<T> Parse(const std::string& text, Read&& read) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag>(text.data(), text.size());
  if (document.HasParseError() || !document.IsObject()) return InvalidArgument("expected a JSON object");
  try {
    return read(document);
  } catch (const BadJson& bad) {
    return InvalidArgument("the JSON object is not as expected: {}", bad.what);
  }
}

std::optional<Status> AnswerFrom(const std::string& output) {
  const auto answer = Parse<std::pair<int, std::pair<int, std::string>>>(output, [](const Json& json) {
    if (!At(json, "code").IsInt() || !At(json, "fault").IsInt()) throw BadJson{"no code"};
    return std::make_pair(At(json, "code").GetInt(), std::make_pair(At(json, "fault").GetInt(), TextOf(At(json, "message"))));
  });
  if (!answer.ok()) return std::nullopt;
  if (answer->first == 0) return absl::OkStatus();
  return MarkFault(Status(static_cast<StatusCode>(answer->first), answer->second.second),
                   static_cast<Fault>(answer->second.first));
}

std::string LastLine(std::string_view text) {
  constexpr size_t kMost = 300;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  if (const size_t newline = text.rfind('\n'); newline != std::string_view::npos) text.remove_prefix(newline + 1);
  return std::string(text.substr(0, kMost));
}

}  // namespace

std::string ToJson(const ProbeRequest& request) {
  return Write([&](Writer& writer) {
    Put(writer, request.options);
    PutKey(writer, "device");
    Put(writer, request.device);
    PutKey(writer, "properties");
    Put(writer, request.properties);
  });
}

StatusOr<ProbeRequest> ProbeRequestFrom(const std::string& json) {
  return Parse<ProbeRequest>(json, [](const Json& object) {
    return ProbeRequest{OptionsOf(object), TextOf(At(object, "device")), PropertiesOf(At(object, "properties"))};
  });
}

std::string ToJson(const CompileRequest& request) {
  return Write([&](Writer& writer) {
    Put(writer, request.options);
    PutSettings(writer, request.load.settings);
    PutKey(writer, "version");
    writer.Int64(request.load.version);
    PutKey(writer, "model_path");
    Put(writer, request.load.model_path);
    PutKey(writer, "files");
    Put(writer, request.load.files);
    PutKey(writer, "cache_dir");
    Put(writer, request.load.cache_dir);
    PutKey(writer, "target");
    Put(writer, request.load.target);
    PutKey(writer, "properties");
    Put(writer, request.load.properties);
  });
}

StatusOr<CompileRequest> CompileRequestFrom(const std::string& json) {
  return Parse<CompileRequest>(json, [](const Json& object) {
    CompileRequest request{.options = OptionsOf(object), .load = {.settings = SettingsOf(object)}};
    if (!At(object, "version").IsInt64()) throw BadJson{"\"version\" is no number"};
    request.load.version = At(object, "version").GetInt64();
    request.load.model_path = TextOf(At(object, "model_path"));
    request.load.files = TextOf(At(object, "files"));
    request.load.cache_dir = TextOf(At(object, "cache_dir"));
    request.load.target = TextOf(At(object, "target"));
    request.load.properties = PropertiesOf(At(object, "properties"));
    return request;
  });
}

std::string ToJson(const ListRequest& request) {
  return Write([&](Writer& writer) {
    Put(writer, request.options);
    PutKey(writer, "kind");
    Put(writer, request.kind);
  });
}

StatusOr<ListRequest> ListRequestFrom(const std::string& json) {
  return Parse<ListRequest>(json, [](const Json& object) {
    return ListRequest{OptionsOf(object), TextOf(At(object, "kind"))};
  });
}

std::string AnswerJson(const Status& status) {
  return Write([&](Writer& writer) { Put(writer, status); });
}

std::string AnswerJson(const Inventory& inventory) {
  return Write([&](Writer& writer) {
    Put(writer, absl::OkStatus());
    PutKey(writer, "devices");
    writer.StartArray();
    for (const DeviceInfo& device : inventory) Put(writer, device);
    writer.EndArray();
  });
}

StatusOr<Inventory> InventoryFrom(const std::string& json) {
  return Parse<Inventory>(json, [](const Json& object) {
    Inventory inventory;
    for (const Json& device : Elements(At(object, "devices"), 0).GetArray()) inventory.push_back(DeviceOf(Object(device)));
    return inventory;
  });
}

ChildAnswer AskChild(const std::string& program, const std::string& subcommand, const std::string& json,
                     std::chrono::milliseconds limit) {
  auto run = RunSubprocess({program.empty() ? OwnExecutable() : program, subcommand}, json, limit);
  if (!run.ok()) return {ChildAnswer::Kind::kNone, run.status(), ""};
  LogDebug("{}: {}; {}", subcommand, run->How(), LastLine(run->err));
  if (!run->timed_out && run->signal == 0) {
    if (const std::optional<Status> answer = AnswerFrom(run->out)) return {ChildAnswer::Kind::kAnswered, *answer, run->out};
  }
  const std::string last = LastLine(run->err);
  return {ChildAnswer::Kind::kEnded,
          Error(run->timed_out ? StatusCode::kDeadlineExceeded : StatusCode::kInternal, "{}{}", run->How(),
                last.empty() ? "" : "; its last words: " + last),
          ""};
}

}  // namespace switchyard
