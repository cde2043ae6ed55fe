#include <fmt/format.h>

#include "tools/infer_client.h"
#include "tools/json_tensor.h"
#include "tools/rest_connection.h"

namespace switchyard {
namespace {

// The answer to a request that carries its own timeout comes at the deadline; this much later the client gives up by itself.
constexpr std::chrono::milliseconds kGrace{200};

Status NotAsExpected(std::string_view what) {
  return Error(StatusCode::kUnknown, "the server's answer has no usable {}", what);
}

// `name`, `datatype` and `shape`, as metadata and answers both have them.
StatusOr<ClientTensorSpec> ParseSpec(const rapidjson::Value& value) {
  if (!value.IsObject() || !value.HasMember("name") || !value["name"].IsString() || !value.HasMember("datatype") ||
      !value["datatype"].IsString() || !value.HasMember("shape") || !value["shape"].IsArray()) {
    return NotAsExpected("name, datatype and shape of a tensor");
  }
  ClientTensorSpec spec;
  spec.name = value["name"].GetString();
  spec.type = FromKserveName(value["datatype"].GetString()).value_or(ElementType::kUndefined);
  for (const rapidjson::Value& dim : value["shape"].GetArray()) {
    if (dim.IsInt64()) {
      spec.shape.push_back(dim.GetInt64());
    } else if (dim.IsString()) {  // protobuf's JSON writes 64-bit numbers as strings
      spec.shape.push_back(std::strtoll(dim.GetString(), nullptr, 10));
    } else {
      return NotAsExpected("shape");
    }
  }
  return spec;
}

Status ParseSpecs(const rapidjson::Document& document, const char* key, std::vector<ClientTensorSpec>* specs) {
  if (!document.IsObject() || !document.HasMember(key) || !document[key].IsArray()) return NotAsExpected(key);
  for (const rapidjson::Value& value : document[key].GetArray()) {
    SY_ASSIGN_OR_RETURN(ClientTensorSpec spec, ParseSpec(value));
    specs->push_back(std::move(spec));
  }
  return absl::OkStatus();
}

class KserveRestClient final : public InferClient {
 public:
  explicit KserveRestClient(const InferTarget& target)
      : target_(target),
        connection_(target.address, target.timeout.count() > 0 ? target.timeout + kGrace : target.timeout),
        path_("/v2/models/" + PathSegment(target.model)) {
    if (!target.version.empty()) path_ += "/versions/" + PathSegment(target.version);
  }

  Status Connect() override { return connection_.Connect(); }

  StatusOr<ModelDescription> Describe() override {
    SY_ASSIGN_OR_RETURN(const RestReply reply, connection_.Call(path_, {}, 0));
    rapidjson::Document document;
    SY_RETURN_IF_ERROR(ParseJsonDocument(reply.body, &document));
    ModelDescription model;
    SY_RETURN_IF_ERROR(ParseSpecs(document, "inputs", &model.inputs));
    SY_RETURN_IF_ERROR(ParseSpecs(document, "outputs", &model.outputs));
    return model;
  }

  Status Prepare(const ModelDescription&, const std::vector<ClientTensor>& inputs) override {
    std::string json = "{\"inputs\":[", binary;
    for (const ClientTensor& input : inputs) {
      const std::string packed = input.type == ElementType::kBytes ? PackStrings(input.strings) : input.data;
      json += fmt::format("{}{{\"name\":{},\"datatype\":\"{}\",\"shape\":[{}],\"parameters\":{{\"binary_data_size\":{}}}}}",
                          &input == &inputs.front() ? "" : ",", JsonString(input.name), KserveName(input.type),
                          fmt::join(input.shape, ","), packed.size());
      binary += packed;
    }
    json += "],\"parameters\":{\"binary_data_output\":true";
    if (target_.timeout.count() > 0) json += fmt::format(",\"timeout\":{}", target_.timeout.count() * 1000);
    json += "}}";
    json_size_ = json.size();
    body_ = std::move(json) + binary;
    return absl::OkStatus();
  }

  Status Call() override {
    SY_ASSIGN_OR_RETURN(reply_, connection_.Call(path_ + "/infer", body_, json_size_));
    return absl::OkStatus();
  }

  StatusOr<std::vector<ClientTensor>> Outputs() override {
    const std::string_view body = reply_.body;
    rapidjson::Document document;
    SY_RETURN_IF_ERROR(ParseJsonDocument(body.substr(0, reply_.json_size), &document));
    std::vector<ClientTensorSpec> specs;
    SY_RETURN_IF_ERROR(ParseSpecs(document, "outputs", &specs));
    std::string_view binary = body.substr(reply_.json_size);
    std::vector<ClientTensor> outputs;
    for (size_t i = 0; i < specs.size(); ++i) {
      ClientTensor tensor{specs[i].name, specs[i].type, {}, {}, {}};
      SY_RETURN_IF_ERROR(Decode(document["outputs"][static_cast<rapidjson::SizeType>(i)], &binary, &tensor));
      tensor.shape = specs[i].shape;
      SY_RETURN_IF_ERROR(CheckCount(tensor));
      outputs.push_back(std::move(tensor));
    }
    return outputs;
  }

 private:
  static Status Decode(const rapidjson::Value& output, std::string_view* binary, ClientTensor* tensor) {
    if (output.HasMember("data")) return ParseJsonTensor(output["data"], tensor);
    const auto parameters = output.FindMember("parameters");
    if (parameters == output.MemberEnd() || !parameters->value.IsObject()) return NotAsExpected("data of " + tensor->name);
    const auto size = parameters->value.FindMember("binary_data_size");
    if (size == parameters->value.MemberEnd() || !size->value.IsUint64() || size->value.GetUint64() > binary->size()) {
      return NotAsExpected("binary_data_size of " + tensor->name);
    }
    const std::string_view bytes = binary->substr(0, size->value.GetUint64());
    binary->remove_prefix(bytes.size());
    if (tensor->type == ElementType::kBytes) {
      SY_ASSIGN_OR_RETURN(tensor->strings, UnpackStrings(bytes));
    } else {
      tensor->data = bytes;
    }
    return absl::OkStatus();
  }

  const InferTarget target_;
  RestConnection connection_;
  std::string path_;
  std::string body_;
  size_t json_size_ = 0;
  RestReply reply_;
};

}  // namespace

std::unique_ptr<InferClient> MakeKserveRestClient(const InferTarget& target) {
  return std::make_unique<KserveRestClient>(target);
}

}  // namespace switchyard
