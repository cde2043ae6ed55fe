#include <string>
#include <vector>

#include "protocol/http/json_writer.h"
#include "protocol/tfs/dtype.h"
#include "protocol/tfs/rest_codec.h"
#include "protocol/tfs/signature_names.h"

namespace switchyard {
namespace {

void AppendStatus(std::string& out, absl::Span<const tfs::ReportedVersion> versions) {
  out += "{\"model_version_status\":[";
  for (size_t i = 0; i < versions.size(); ++i) {
    const tfs::ReportedVersion& one = versions[i];
    out += i == 0 ? "{\"version\":\"" : ",{\"version\":\"";
    AppendJsonInteger(out, one.version);
    out += "\",\"state\":\"";
    out += one.state_name;
    out += "\",\"status\":{\"error_code\":\"";
    out += one.error_name;
    out += "\",\"error_message\":";
    AppendJsonString(out, one.error_message);
    out += "}}";
  }
  out += "]}";
}

// What OVMS does not tell, within the object that was written last.
void AppendNames(std::string& out, const ModelStatus& model) {
  if (model.labels.empty() && model.aliases.empty()) return;
  out.pop_back();
  const char* separator = ",\"labels\":{";
  for (const auto& [label, version] : model.labels) {
    out += separator;
    AppendJsonString(out, label);
    out += ':';
    AppendJsonInteger(out, version);
    separator = ",";
  }
  if (!model.labels.empty()) out += '}';
  separator = ",\"aliases\":[";
  for (const std::string& alias : model.aliases) {
    out += separator;
    AppendJsonString(out, alias);
    separator = ",";
  }
  if (!model.aliases.empty()) out += ']';
  out += '}';
}

void AppendTensors(std::string& out, const std::vector<TensorSpec>& specs) {
  out += '{';
  for (size_t i = 0; i < specs.size(); ++i) {
    if (i != 0) out += ',';
    AppendJsonString(out, specs[i].name);
    out += ":{\"dtype\":\"";
    out += tfs::DtypeName(specs[i].type);
    out += "\",\"tensorShape\":{\"dim\":[";
    bool first = true;
    for (const Dimension& dim : specs[i].shape.dims) {
      out += first ? "{\"size\":\"" : ",{\"size\":\"";
      AppendJsonInteger(out, dim.wire());
      out += "\",\"name\":\"\"}";
      first = false;
    }
    out += specs[i].shape.dynamic_rank ? "],\"unknownRank\":true},\"name\":" : "],\"unknownRank\":false},\"name\":";
    AppendJsonString(out, specs[i].name);
    out += '}';
  }
  out += '}';
}

}  // namespace

std::string EncodeTfsStatus(absl::Span<const tfs::ReportedVersion> versions) {
  std::string out;
  AppendStatus(out, versions);
  return out;
}

std::string EncodeTfsConfigStatus(absl::Span<const ModelStatus> models) {
  std::string out = "{";
  for (const ModelStatus& model : models) {
    if (out.size() > 1) out += ',';
    AppendJsonString(out, model.name);
    out += ':';
    std::vector<tfs::ReportedVersion> versions;
    for (const VersionStatus& version : model.versions) versions.push_back(tfs::Report(version));
    AppendStatus(out, versions);
    AppendNames(out, model);
  }
  out += '}';
  return out;
}

std::string EncodeTfsMetadata(const Version& version) {
  std::string out = "{\"modelSpec\":{\"name\":";
  AppendJsonString(out, version.model_name());
  out += ",\"signatureName\":\"\",\"version\":\"";
  out += version.number_text();
  out +=
      "\"},\"metadata\":{\"signature_def\":{\"@type\":\"type.googleapis.com/tensorflow.serving.SignatureDefMap\","
      "\"signatureDef\":{\"";
  out += tfs::kSignatureName;
  out += "\":{\"inputs\":";
  AppendTensors(out, version.signature().inputs);
  out += ",\"outputs\":";
  AppendTensors(out, version.signature().outputs);
  out += ",\"methodName\":\"";
  out += tfs::kMethodName;
  out += "\"}}}}}";
  return out;
}

}  // namespace switchyard
