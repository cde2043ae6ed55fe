#include "runtime/openvino/layer_count.h"

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string_view>
#include <system_error>

#include "base/log.h"
#include "base/whole_file.h"
#include "device/target.h"
#include "runtime/openvino/convert.h"

namespace switchyard {
namespace {

// A model has a few dozen types of operations on a handful of devices.
constexpr size_t kMaxFileBytes = 1 << 20;

// FNV-1a: the same in every build, as a file's name must be. Two identities of one value are told apart by the text inside.
uint64_t Fnv(std::string_view text) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

std::optional<std::map<std::string, int>> ReadTypes(const rapidjson::Value& value) {
  if (!value.IsObject()) return std::nullopt;
  std::map<std::string, int> types;
  for (const auto& [type, count] : value.GetObject()) {
    if (!count.IsInt() || count.GetInt() < 1) return std::nullopt;
    types[type.GetString()] = count.GetInt();
  }
  return types;
}

}  // namespace

LayerCount AllOn(const ov::Model& model, const std::string& device) {
  LayerCount layers;
  for (const auto& node : model.get_ops()) ++layers[device][node->get_type_name()];
  return layers;
}

StatusOr<LayerCount> AskLayers(ov::Core& core, const std::shared_ptr<ov::Model>& model, const std::string& target,
                               const ov::AnyMap& properties) {
  return Guarded(StatusCode::kInternal, fmt::format("{} does not tell which device takes which layer", target),
                 [&]() -> StatusOr<LayerCount> {
                   const ov::SupportedOpsMap devices = core.query_model(model, target, properties);
                   LayerCount layers;
                   for (const auto& node : model->get_ops()) {
                     const auto found = devices.find(node->get_friendly_name());
                     if (found != devices.end()) ++layers[CanonicalDevice(found->second)][node->get_type_name()];
                   }
                   return layers;
                 });
}

std::vector<std::string> IdleDevices(const LayerCount& layers, const std::vector<std::string>& devices) {
  std::vector<std::string> idle;
  for (const std::string& device : devices) {
    const auto found = layers.find(device);
    const bool works = found != layers.end() && std::any_of(found->second.begin(), found->second.end(), [](const auto& type) {
                         return type.first != "Parameter" && type.first != "Constant" && type.first != "Result";
                       });
    if (!works) idle.push_back(device);
  }
  return idle;
}

LayerFile::LayerFile(const std::string& folder, std::string identity) : identity_(std::move(identity)) {
  if (folder.empty()) return;
  path_ = (std::filesystem::path(folder) / fmt::format("{:016x}.layers.json", Fnv(identity_))).string();
}

std::optional<LayerCount> LayerFile::Read() const {
  if (path_.empty()) return std::nullopt;
  std::error_code error;
  // Opening a pipe that somebody put there would wait for ever.
  if (!std::filesystem::is_regular_file(path_, error)) return std::nullopt;
  std::ifstream file(path_, std::ios::binary);
  std::string text(kMaxFileBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(text.data(), text.size());
  if (document.HasParseError() || !document.IsObject()) return std::nullopt;
  const auto identity = document.FindMember("identity");
  const auto devices = document.FindMember("layers");
  if (identity == document.MemberEnd() || !identity->value.IsString() || identity->value.GetString() != identity_ ||
      devices == document.MemberEnd() || !devices->value.IsObject()) {
    return std::nullopt;
  }
  LayerCount layers;
  for (const auto& [device, value] : devices->value.GetObject()) {
    auto types = ReadTypes(value);
    if (!types) return std::nullopt;
    layers[device.GetString()] = *std::move(types);
  }
  return layers;
}

void LayerFile::Write(const LayerCount& layers) const {
  if (path_.empty()) return;
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.StartObject();
  writer.Key("identity");
  writer.String(identity_.data(), static_cast<rapidjson::SizeType>(identity_.size()));
  writer.Key("layers");
  writer.StartObject();
  for (const auto& [device, types] : layers) {
    writer.Key(device.data(), static_cast<rapidjson::SizeType>(device.size()));
    writer.StartObject();
    for (const auto& [type, count] : types) {
      writer.Key(type.data(), static_cast<rapidjson::SizeType>(type.size()));
      writer.Int(count);
    }
    writer.EndObject();
  }
  writer.EndObject();
  writer.EndObject();
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), error);
  // Several servers may share the folder.
  if (WriteWholeFile(path_, {buffer.GetString(), buffer.GetSize()}) != 0) {
    LogDebug("The count of layers cannot be kept in {}", path_);
  }
}

}  // namespace switchyard
