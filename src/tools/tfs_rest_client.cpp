#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "tools/infer_client.h"
#include "tools/json_tensor.h"
#include "tools/rest_connection.h"
#include "tools/tfs_types.h"

namespace switchyard {
namespace {

// Servers write protobuf's JSON with either spelling of a field's name.
const rapidjson::Value* Member(const rapidjson::Value* object, const char* name, const char* other = nullptr) {
  if (object == nullptr || !object->IsObject()) return nullptr;
  auto found = object->FindMember(name);
  if (found == object->MemberEnd() && other != nullptr) found = object->FindMember(other);
  return found == object->MemberEnd() ? nullptr : &found->value;
}

std::optional<int64_t> ParseSize(const rapidjson::Value* value) {
  if (value == nullptr) return std::nullopt;
  if (value->IsInt64()) return value->GetInt64();
  if (!value->IsString()) return std::nullopt;
  int64_t size = 0;
  const char* end = value->GetString() + value->GetStringLength();
  const auto [stop, error] = std::from_chars(value->GetString(), end, size);
  return error == std::errc() && stop == end ? std::optional(size) : std::nullopt;
}

Status ParseSpecs(const rapidjson::Value* tensors, std::vector<ClientTensorSpec>* specs) {
  if (tensors == nullptr || !tensors->IsObject()) {
    return Error(StatusCode::kUnknown, "the server's metadata has no signature_def with serving_default");
  }
  for (const auto& [name, info] : tensors->GetObject()) {
    ClientTensorSpec spec;
    spec.name = name.GetString();
    const rapidjson::Value* dtype = Member(&info, "dtype");
    if (dtype != nullptr && dtype->IsString()) spec.type = FromTfsName(dtype->GetString());
    const rapidjson::Value* shape = Member(&info, "tensor_shape", "tensorShape");
    const rapidjson::Value* unknown = Member(shape, "unknown_rank", "unknownRank");
    const rapidjson::Value* dims = Member(shape, "dim");
    if (unknown != nullptr && unknown->IsTrue()) spec.shape = {-1};
    if (dims != nullptr && dims->IsArray()) {
      for (const rapidjson::Value& dim : dims->GetArray()) {
        const auto size = ParseSize(Member(&dim, "size"));
        if (!size) return Error(StatusCode::kUnknown, "the server's metadata has a dimension without a size");
        spec.shape.push_back(*size);
      }
    }
    specs->push_back(std::move(spec));
  }
  return absl::OkStatus();
}

class TfsRestClient final : public InferClient {
 public:
  explicit TfsRestClient(const InferTarget& target)
      : connection_(target.address, target.timeout), path_("/v1/models/" + PathSegment(target.model)) {
    if (!target.version.empty()) path_ += "/versions/" + PathSegment(target.version);
  }

  Status Connect() override { return connection_.Connect(); }

  StatusOr<ModelDescription> Describe() override {
    SY_ASSIGN_OR_RETURN(const RestReply reply, connection_.Call(path_ + "/metadata", {}, 0));
    rapidjson::Document document;
    SY_RETURN_IF_ERROR(ParseJsonDocument(reply.body, &document));
    const rapidjson::Value* signature = Member(Member(&document, "metadata"), "signature_def");
    signature = Member(Member(signature, "signature_def", "signatureDef"), "serving_default");
    ModelDescription model;
    SY_RETURN_IF_ERROR(ParseSpecs(Member(signature, "inputs"), &model.inputs));
    SY_RETURN_IF_ERROR(ParseSpecs(Member(signature, "outputs"), &model.outputs));
    return model;
  }

  Status Prepare(const ModelDescription& model, const std::vector<ClientTensor>& inputs) override {
    outputs_ = model.outputs;
    body_ = "{\"inputs\":{";
    for (const ClientTensor& input : inputs) {
      if (&input != &inputs.front()) body_ += ',';
      body_ += JsonString(input.name) + ':';
      AppendJsonTensor(input, JsonLayout::kNested, JsonStrings::kBase64, &body_);
    }
    body_ += "}}";
    return absl::OkStatus();
  }

  Status Call() override {
    SY_ASSIGN_OR_RETURN(reply_, connection_.Call(path_ + ":predict", body_, 0));
    return absl::OkStatus();
  }

  StatusOr<std::vector<ClientTensor>> Outputs() override {
    rapidjson::Document document;
    SY_RETURN_IF_ERROR(ParseJsonDocument(reply_.body, &document));
    const rapidjson::Value* answer = Member(&document, "outputs");
    if (answer == nullptr) return Error(StatusCode::kUnknown, "the server's answer has no outputs");
    std::vector<ClientTensor> outputs;
    for (const ClientTensorSpec& spec : outputs_) {
      // One output stands for itself, several stand in an object; an object of one is a name too, unless it is a b64 string.
      const rapidjson::Value* value = outputs_.size() == 1 && !answer->IsObject() ? answer : Member(answer, spec.name.c_str());
      if (value == nullptr && outputs_.size() == 1) value = answer;
      if (value == nullptr) continue;
      ClientTensor tensor{spec.name, spec.type, {}, {}, {}};
      SY_RETURN_IF_ERROR(Annotate(ParseJsonTensor(*value, &tensor), "the server's answer, " + spec.name));
      outputs.push_back(std::move(tensor));
    }
    return outputs;
  }

 private:
  RestConnection connection_;
  std::string path_;
  std::vector<ClientTensorSpec> outputs_;
  std::string body_;
  RestReply reply_;
};

}  // namespace

std::unique_ptr<InferClient> MakeTfsRestClient(const InferTarget& target) { return std::make_unique<TfsRestClient>(target); }

}  // namespace switchyard
