#include <algorithm>
#include <cstring>

#include "protocol/kserve/rest_codec.h"
#include "protocol/kserve/shared_memory.h"
#include "base/utf8.h"
#include "protocol/http/http_error.h"
#include "protocol/http/json_writer.h"

namespace switchyard {
namespace {

// Below this, copying is cheaper than one more piece for the socket to gather.
constexpr size_t kSmallestReference = 4096;

size_t RawStringBytes(const OutputTensor& tensor) {
  size_t bytes = 0;
  for (const std::string& text : tensor.strings) bytes += sizeof(uint32_t) + text.size();
  return bytes;
}

Status AppendStrings(std::string& out, const NamedOutput& output) {
  for (size_t i = 0; i < output.tensor.strings.size(); ++i) {
    if (!IsUtf8(output.tensor.strings[i])) {
      return InvalidArgument(
          "Output cannot be written as JSON: element {} is not UTF-8; ask for it with the parameter "
          "binary_data; output name: {}",
          i, output.spec->name);
    }
    if (i != 0) out += ',';
    AppendJsonString(out, output.tensor.strings[i]);
  }
  return Status();
}

void AppendBinary(const OutputTensor& tensor, std::string& tail, Frame& frame) {
  if (tensor.type == ElementType::kBytes) {
    for (const std::string& text : tensor.strings) {
      const auto length = static_cast<uint32_t>(text.size());
      tail.append(reinterpret_cast<const char*>(&length), sizeof(length));
      tail += text;
    }
  } else if (tensor.bytes < kSmallestReference) {
    tail.append(reinterpret_cast<const char*>(tensor.data), tensor.bytes);
  } else {
    frame.Append(std::move(tail));
    tail.clear();
    frame.Append(tensor.data, tensor.bytes, tensor.owner);
  }
}

Status AppendOutput(const NamedOutput& output, bool binary, std::string& json) {
  const OutputTensor& tensor = output.tensor;
  json += "{\"name\":";
  AppendJsonString(json, output.spec->name);
  json += ",\"datatype\":\"";
  json += KserveName(tensor.type);
  json += "\",\"shape\":";
  AppendJsonIntegers(json, tensor.shape);
  if (output.shared != nullptr) {
    json += fmt::format(",\"parameters\":{{\"{}\":", kserve::kRegionParameter);
    AppendJsonString(json, output.shared->region);
    json += fmt::format(",\"{}\":{}", kserve::kBytesParameter, tensor.bytes);
    if (output.shared->offset != 0) json += fmt::format(",\"{}\":{}", kserve::kOffsetParameter, output.shared->offset);
    // Triton's C++ client takes any parameters of an output for those of a binary part.
    json += ",\"binary_data_size\":0}}";
    return Status();
  }
  if (binary) {
    json += ",\"parameters\":{\"binary_data_size\":";
    AppendJsonInteger(json, static_cast<int64_t>(tensor.type == ElementType::kBytes ? RawStringBytes(tensor) : tensor.bytes));
    json += "}}";
    return Status();
  }
  json += ",\"data\":[";
  if (tensor.type == ElementType::kBytes) {
    SY_RETURN_IF_ERROR(AppendStrings(json, output));
  } else {
    AppendJsonElements(json, tensor.type, tensor.data, tensor.bytes / std::max<size_t>(ElementSize(tensor.type), 1));
  }
  json += "]}";
  return Status();
}

// Whether its elements stand behind the JSON.
bool IsBinary(const NamedOutput& output, const KserveOutputForm& form) {
  return output.shared == nullptr && form.IsBinary(output.spec->name);
}

}  // namespace

bool KserveOutputForm::IsBinary(std::string_view output) const {
  for (const auto& [name, is_binary] : binary) {
    if (name == output) return is_binary;
  }
  return binary_default;
}

StatusOr<HttpReply> EncodeKserveInfer(const InferCall& call, const KserveOutputForm& form) {
  std::string json;
  json.reserve(512);
  json += "{\"model_name\":";
  AppendJsonString(json, call.version->model_name());
  json += ",\"model_version\":\"";
  json += call.version->number_text();
  json += '"';
  if (!call.request.id.empty()) {
    json += ",\"id\":";
    AppendJsonString(json, call.request.id);
  }
  if (call.sequence != nullptr && call.request.sequence->by_parameters) {
    json += ",\"parameters\":{\"sequence_id\":";
    const SequenceId& id = call.sequence->id();
    if (id.name.empty()) {
      json += std::to_string(id.number);
    } else {
      AppendJsonString(json, id.name);
    }
    json += '}';
  }
  json += ",\"outputs\":[";
  bool any_binary = false;
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    if (i != 0) json += ',';
    const bool binary = IsBinary(call.outputs[i], form);
    any_binary |= binary;
    SY_RETURN_IF_ERROR(AppendOutput(call.outputs[i], binary, json));
  }
  json += "]}";
  if (!any_binary) return JsonReply(std::move(json));
  HttpReply reply;
  reply.content_type = kBinaryType;
  reply.headers = "Inference-Header-Content-Length: ";
  AppendJsonInteger(reply.headers, static_cast<int64_t>(json.size()));
  reply.headers += "\r\n";
  for (const NamedOutput& output : call.outputs) {
    if (IsBinary(output, form)) AppendBinary(output.tensor, json, reply.body);
  }
  reply.body.Append(std::move(json));
  return reply;
}

}  // namespace switchyard
