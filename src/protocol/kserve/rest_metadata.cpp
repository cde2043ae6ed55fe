#include "protocol/kserve/rest_metadata.h"

#include "protocol/http/json_writer.h"

namespace switchyard {
namespace {

template <typename Strings>
void AppendStrings(std::string& out, const Strings& strings) {
  out += '[';
  bool first = true;
  for (const auto& text : strings) {
    if (!first) out += ',';
    AppendJsonString(out, text);
    first = false;
  }
  out += ']';
}

void AppendTensors(std::string& out, const std::vector<TensorSpec>& specs) {
  out += '[';
  for (size_t i = 0; i < specs.size(); ++i) {
    out += i == 0 ? "{\"name\":" : ",{\"name\":";
    AppendJsonString(out, specs[i].name);
    out += ",\"datatype\":\"";
    out += KserveName(specs[i].type);
    out += "\",\"shape\":";
    AppendJsonIntegers(out, specs[i].shape.Wire());
    out += '}';
  }
  out += ']';
}

void AppendInfo(std::string& out, const std::vector<ModelInfo>& entries) {
  out += '{';
  for (const ModelInfo& entry : entries) {
    if (&entry != &entries.front()) out += ',';
    AppendJsonString(out, entry.name);
    out += ':';
    if (entry.text) {
      AppendJsonString(out, *entry.text);
    } else {
      AppendInfo(out, entry.entries);
    }
  }
  out += '}';
}

}  // namespace

std::string EncodeKserveServerMetadata(const Manager& manager) {
  std::string out = "{\"name\":";
  AppendJsonString(out, kserve::kServerName);
  out += ",\"version\":";
  AppendJsonString(out, kserve::kServerVersion);
  out += ",\"extensions\":";
  AppendStrings(out, kserve::Extensions(manager));
  out += '}';
  return out;
}

std::string EncodeKserveModelMetadata(const kserve::ModelDescription& model) {
  std::string out = "{\"name\":";
  AppendJsonString(out, model.version->model_name());
  out += ",\"versions\":";
  AppendStrings(out, model.versions);
  out += ",\"platform\":";
  AppendJsonString(out, kserve::kPlatform);
  out += ",\"inputs\":";
  AppendTensors(out, model.version->signature().inputs);
  out += ",\"outputs\":";
  AppendTensors(out, model.version->signature().outputs);
  if (const auto& info = model.version->signature().info) {
    out += ",\"rt_info\":{\"model_info\":";
    AppendInfo(out, *info);
    out += '}';
  }
  out += '}';
  return out;
}

}  // namespace switchyard
