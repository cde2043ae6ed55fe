#include <string_view>

#include "protocol/rest/json_writer.h"
#include "protocol/tfs/rest_codec.h"

namespace switchyard {
namespace {

// TensorFlow Serving knows no failed state: it is LOADING with an error, as OVMS shows it.
std::string_view StateName(VersionState state) {
  switch (state) {
    case VersionState::kWanted: return "START";
    case VersionState::kLoading:
    case VersionState::kFailed: return "LOADING";
    case VersionState::kAvailable: return "AVAILABLE";
    case VersionState::kUnloading: return "UNLOADING";
    case VersionState::kGone: return "END";
  }
  return "UNKNOWN";
}

std::string_view DataTypeName(ElementType type) {
  switch (type) {
    case ElementType::kUndefined: return "DT_INVALID";
    case ElementType::kBool: return "DT_BOOL";
    case ElementType::kInt8: return "DT_INT8";
    case ElementType::kInt16: return "DT_INT16";
    case ElementType::kInt32: return "DT_INT32";
    case ElementType::kInt64: return "DT_INT64";
    case ElementType::kUint8: return "DT_UINT8";
    case ElementType::kUint16: return "DT_UINT16";
    case ElementType::kUint32: return "DT_UINT32";
    case ElementType::kUint64: return "DT_UINT64";
    case ElementType::kFp16: return "DT_HALF";
    case ElementType::kBf16: return "DT_BFLOAT16";
    case ElementType::kFp32: return "DT_FLOAT";
    case ElementType::kFp64: return "DT_DOUBLE";
    case ElementType::kBytes: return "DT_STRING";
  }
  return "DT_INVALID";
}

void AppendStatus(std::string& out, absl::Span<const VersionStatus> versions) {
  out += "{\"model_version_status\":[";
  for (size_t i = 0; i < versions.size(); ++i) {
    const VersionStatus& one = versions[i];
    const bool failed = one.state == VersionState::kFailed;
    out += i == 0 ? "{\"version\":\"" : ",{\"version\":\"";
    AppendJsonInteger(out, one.version);
    out += "\",\"state\":\"";
    out += StateName(one.state);
    out += failed ? "\",\"status\":{\"error_code\":\"UNKNOWN\",\"error_message\":" : "\",\"status\":{\"error_code\":\"OK\",\"error_message\":";
    AppendJsonString(out, failed ? Message(one.error) : std::string_view("OK"));
    out += "}}";
  }
  out += "]}";
}

void AppendTensors(std::string& out, const std::vector<TensorSpec>& specs) {
  out += '{';
  for (size_t i = 0; i < specs.size(); ++i) {
    if (i != 0) out += ',';
    AppendJsonString(out, specs[i].name);
    out += ":{\"dtype\":\"";
    out += DataTypeName(specs[i].type);
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

std::string EncodeTfsStatus(absl::Span<const VersionStatus> versions) {
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
    AppendStatus(out, model.versions);
  }
  out += '}';
  return out;
}

std::string EncodeTfsMetadata(const Version& version) {
  std::string out = "{\"modelSpec\":{\"name\":";
  AppendJsonString(out, version.model_name());
  out += ",\"signatureName\":\"\",\"version\":\"";
  out += version.number_text();
  out += "\"},\"metadata\":{\"signature_def\":{\"@type\":\"type.googleapis.com/tensorflow.serving.SignatureDefMap\","
         "\"signatureDef\":{\"serving_default\":{\"inputs\":";
  AppendTensors(out, version.signature().inputs);
  out += ",\"outputs\":";
  AppendTensors(out, version.signature().outputs);
  out += ",\"methodName\":\"\"}}}}}";
  return out;
}

}  // namespace switchyard
