#include <google/protobuf/message.h>

#include "kserve.pb.h"
#include "protocol/kserve/grpc_codec.h"
#include "protocol/kserve/grpc_repository.h"
#include "protocol/kserve/log_settings.h"
#include "protocol/kserve/metadata.h"
#include "protocol/kserve/model_reports.h"
#include "protocol/kserve/shared_memory.h"
#include "protocol/wire/parse_message.h"
#include "tensor/signature.h"

namespace switchyard::kserve {
namespace {

using google::protobuf::io::ZeroCopyInputStream;
using wire::ParseMessage;

StatusOr<std::string> ServerLive(const Manager&, ZeroCopyInputStream& message) {
  SY_RETURN_IF_ERROR(ParseMessage<inference::ServerLiveRequest>(message).status());
  inference::ServerLiveResponse response;
  response.set_live(true);
  return response.SerializeAsString();
}

StatusOr<std::string> ServerReady(const Manager& manager, ZeroCopyInputStream& message) {
  SY_RETURN_IF_ERROR(ParseMessage<inference::ServerReadyRequest>(message).status());
  inference::ServerReadyResponse response;
  response.set_ready(manager.Ready());
  return response.SerializeAsString();
}

StatusOr<std::string> ModelReady(const Manager& manager, ZeroCopyInputStream& message) {
  SY_ASSIGN_OR_RETURN(const auto request, ParseMessage<inference::ModelReadyRequest>(message));
  const StatusOr<bool> ready = IsModelReady(manager, request.name(), request.version());
  manager.metrics().CountQuery(manager.OwnName(request.name()), Endpoint::kKserveGrpcReady, ready.ok());
  SY_RETURN_IF_ERROR(ready.status());
  inference::ModelReadyResponse response;
  response.set_ready(*ready);
  return response.SerializeAsString();
}

StatusOr<std::string> ServerMetadata(const Manager& manager, ZeroCopyInputStream& message) {
  SY_RETURN_IF_ERROR(ParseMessage<inference::ServerMetadataRequest>(message).status());
  inference::ServerMetadataResponse response;
  response.set_name(std::string(kServerName));
  response.set_version(std::string(kServerVersion));
  // binary_tensor_data concerns REST alone; raw contents are part of this protocol itself.
  for (const std::string_view extension : Extensions(manager)) response.add_extensions(std::string(extension));
  return response.SerializeAsString();
}

void Describe(const TensorSpec& spec, inference::ModelMetadataResponse::TensorMetadata& tensor) {
  tensor.set_name(spec.name);
  tensor.set_datatype(std::string(KserveName(spec.type)));
  for (const int64_t dim : spec.shape.Wire()) tensor.add_shape(dim);
}

StatusOr<std::string> ModelMetadata(const Manager& manager, ZeroCopyInputStream& message) {
  SY_ASSIGN_OR_RETURN(const auto request, ParseMessage<inference::ModelMetadataRequest>(message));
  SY_ASSIGN_OR_RETURN(const ModelDescription model, DescribeModel(manager, request.name(), request.version()));
  model.version->metrics().CountQuery(Endpoint::kKserveGrpcMetadata, true);
  inference::ModelMetadataResponse response;
  response.set_name(model.version->model_name());
  for (const std::string& version : model.versions) response.add_versions(version);
  response.set_platform(std::string(kPlatform));
  for (const TensorSpec& spec : model.version->signature().inputs) Describe(spec, *response.add_inputs());
  for (const TensorSpec& spec : model.version->signature().outputs) Describe(spec, *response.add_outputs());
  return response.SerializeAsString();
}

StatusOr<std::string> Statistics(const Manager& manager, ZeroCopyInputStream& message) {
  SY_ASSIGN_OR_RETURN(const auto request, ParseMessage<inference::ModelStatisticsRequest>(message));
  return StatisticsMessage(manager, request.name(), request.version());
}

StatusOr<std::string> Config(const Manager& manager, ZeroCopyInputStream& message) {
  SY_ASSIGN_OR_RETURN(const auto request, ParseMessage<inference::ModelConfigRequest>(message));
  return ConfigMessage(manager, request.name(), request.version());
}

StatusOr<std::string> AnswerLogSettings(const Manager&, ZeroCopyInputStream& message) {
  using Value = inference::LogSettingsRequest::SettingValue;
  SY_ASSIGN_OR_RETURN(const auto request, ParseMessage<inference::LogSettingsRequest>(message));
  LogSettingList changes;
  for (const auto& [name, value] : request.settings()) {
    switch (value.parameter_choice_case()) {
      case Value::kBoolParam: changes.emplace_back(name, value.bool_param()); break;
      case Value::kUint32Param: changes.emplace_back(name, value.uint32_param()); break;
      case Value::kStringParam: changes.emplace_back(name, value.string_param()); break;
      case Value::PARAMETER_CHOICE_NOT_SET: return InvalidArgument("{}: expected a value, got none", name);
    }
  }
  SY_RETURN_IF_ERROR(ChangeLog(changes));
  inference::LogSettingsResponse response;
  for (const auto& [name, value] : ListLogSettings()) {
    auto& setting = (*response.mutable_settings())[name];
    if (const auto* flag = std::get_if<bool>(&value)) setting.set_bool_param(*flag);
    if (const auto* number = std::get_if<uint32_t>(&value)) setting.set_uint32_param(*number);
    if (const auto* text = std::get_if<std::string>(&value)) setting.set_string_param(*text);
  }
  return response.SerializeAsString();
}

}  // namespace

RpcService GrpcInferenceService() {
  RpcService service{
      .name = "inference.GRPCInferenceService",
      .control = {{"/inference.GRPCInferenceService/ServerLive", ServerLive},
                  {"/inference.GRPCInferenceService/ServerReady", ServerReady},
                  {"/inference.GRPCInferenceService/ModelReady", ModelReady},
                  {"/inference.GRPCInferenceService/ServerMetadata", ServerMetadata},
                  {"/inference.GRPCInferenceService/ModelMetadata", ModelMetadata},
                  {"/inference.GRPCInferenceService/ModelStatistics", Statistics},
                  {"/inference.GRPCInferenceService/ModelConfig", Config},
                  {"/inference.GRPCInferenceService/LogSettings", AnswerLogSettings}},
      .infer = {{"/inference.GRPCInferenceService/ModelInfer", Endpoint::kKserveGrpcInfer, DecodeInferRequest, nullptr,
                 EncodeInferResponse, nullptr},
                {"/inference.GRPCInferenceService/ModelStreamInfer", Endpoint::kKserveGrpcStreamInfer, DecodeInferRequest,
                 nullptr, EncodeStreamResponse, EncodeStreamError}},
      .commands = RepositoryMethods(),
  };
  for (ControlMethod& method : SharedMemoryMethods()) service.control.push_back(method);
  return service;
}

}  // namespace switchyard::kserve
