#include <optional>

#include "protocol/tfs/dtype.h"
#include "protocol/tfs/grpc_codec.h"
#include "protocol/tfs/grpc_reload.h"
#include "protocol/tfs/model_state.h"
#include "protocol/tfs/signature_names.h"
#include "protocol/wire/parse_message.h"
#include "tensorflow_serving.pb.h"

namespace switchyard::tfs {
namespace {

using google::protobuf::io::ZeroCopyInputStream;
using wire::ParseMessage;
namespace proto = tensorflow::serving;

constexpr std::string_view kMetadataField = "signature_def";

// Nothing for the default version.
StatusOr<std::optional<int64_t>> VersionOf(const Manager& manager, const proto::ModelSpec& spec) {
  if (!spec.version_label().empty()) return manager.VersionOf(spec.name(), VersionLabel{spec.version_label()});
  const int64_t version = spec.version().value();
  return version == 0 ? std::optional<int64_t>() : version;
}

tensorflow::TensorInfo Describe(const TensorSpec& spec) {
  tensorflow::TensorInfo info;
  info.set_name(spec.name);
  info.set_dtype(static_cast<tensorflow::DataType>(DtypeNumber(spec.type)));
  tensorflow::TensorShapeProto& shape = *info.mutable_tensor_shape();
  if (spec.shape.dynamic_rank) {
    shape.set_unknown_rank(true);
  } else {
    for (const int64_t dim : spec.shape.Wire()) shape.add_dim()->set_size(dim);
  }
  return info;
}

StatusOr<std::string> GetModelMetadata(const Manager& manager, ZeroCopyInputStream& message) {
  SY_ASSIGN_OR_RETURN(const auto request, ParseMessage<proto::GetModelMetadataRequest>(message));
  if (!request.has_model_spec()) return InvalidArgument("model_spec is missing: it names the model");
  SY_ASSIGN_OR_RETURN(const auto number, VersionOf(manager, request.model_spec()));
  SY_ASSIGN_OR_RETURN(const Handle version, manager.Acquire(request.model_spec().name(), number));
  const bool asks_signature = request.metadata_field_size() == 1 && request.metadata_field(0) == kMetadataField;
  version->metrics().CountQuery(Endpoint::kTfsGrpcMetadata, asks_signature);
  if (!asks_signature) {
    return InvalidArgument("Invalid signature name - Expected: exactly one metadata_field, {}; Actual: {} of "
                           "them{}{}", kMetadataField,
                           request.metadata_field_size(), request.metadata_field_size() > 0 ? ", the first is " : "",
                           request.metadata_field_size() > 0 ? request.metadata_field(0) : "");
  }
  tensorflow::SignatureDef signature;
  for (const TensorSpec& spec : version->signature().inputs) (*signature.mutable_inputs())[spec.name] = Describe(spec);
  for (const TensorSpec& spec : version->signature().outputs) (*signature.mutable_outputs())[spec.name] = Describe(spec);
  signature.set_method_name(std::string(kMethodName));
  proto::SignatureDefMap signatures;
  (*signatures.mutable_signature_def())[std::string(kSignatureName)] = std::move(signature);
  proto::GetModelMetadataResponse response;
  response.mutable_model_spec()->set_name(version->model_name());
  response.mutable_model_spec()->mutable_version()->set_value(version->number());
  (*response.mutable_metadata())[std::string(kMetadataField)].PackFrom(signatures);
  return response.SerializeAsString();
}

StatusOr<std::vector<ReportedVersion>> ReportOf(const Manager& manager, const proto::ModelSpec& spec) {
  SY_ASSIGN_OR_RETURN(const auto number, VersionOf(manager, spec));
  return ReportModel(manager, spec.name(), number);
}

StatusOr<std::string> GetModelStatus(const Manager& manager, ZeroCopyInputStream& message) {
  SY_ASSIGN_OR_RETURN(const auto request, ParseMessage<proto::GetModelStatusRequest>(message));
  const StatusOr<std::vector<ReportedVersion>> versions = ReportOf(manager, request.model_spec());
  manager.metrics().CountQuery(manager.OwnName(request.model_spec().name()), Endpoint::kTfsGrpcStatus, versions.ok());
  SY_RETURN_IF_ERROR(versions.status());
  proto::GetModelStatusResponse response;
  for (const ReportedVersion& version : *versions) {
    proto::ModelVersionStatus& status = *response.add_model_version_status();
    status.set_version(version.version);
    status.set_state(static_cast<proto::ModelVersionStatus::State>(version.state));
    status.mutable_status()->set_error_code(static_cast<tensorflow::error::Code>(version.error_code));
    status.mutable_status()->set_error_message(version.error_message);
  }
  return response.SerializeAsString();
}

StatusOr<std::string> OnlyPredict(const Manager&, ZeroCopyInputStream&) {
  return Error(StatusCode::kUnimplemented, "Classify, Regress and MultiInference are not implemented; use Predict");
}

}  // namespace

RpcService PredictionService() {
  return {
      .name = "tensorflow.serving.PredictionService",
      .control = {{"/tensorflow.serving.PredictionService/GetModelMetadata", GetModelMetadata},
                  {"/tensorflow.serving.PredictionService/Classify", OnlyPredict},
                  {"/tensorflow.serving.PredictionService/Regress", OnlyPredict},
                  {"/tensorflow.serving.PredictionService/MultiInference", OnlyPredict}},
      .infer = {{"/tensorflow.serving.PredictionService/Predict", Endpoint::kTfsGrpcPredict, DecodePredictRequest, ExpandValues,
                 EncodePredictResponse, nullptr}},
  };
}

RpcService ModelService() {
  return {
      .name = "tensorflow.serving.ModelService",
      .control = {{"/tensorflow.serving.ModelService/GetModelStatus", GetModelStatus}},
      .infer = {},
      .commands = {ReloadConfigMethod()},
  };
}

}  // namespace switchyard::tfs
