#include "protocol/tfs/grpc_reload.h"

#include <algorithm>
#include <utility>

#include "config/text.h"
#include "protocol/wire/parse_message.h"
#include "tensorflow_serving.pb.h"

namespace switchyard::tfs {
namespace {

using google::protobuf::io::ZeroCopyInputStream;
namespace proto = tensorflow::serving;
using PolicyProto = proto::FileSystemStoragePathSourceConfig::ServableVersionPolicy;

StatusOr<VersionPolicy> PolicyOf(const PolicyProto& message) {
  VersionPolicy policy;
  switch (message.policy_choice_case()) {
    case PolicyProto::kAll:
      policy.kind = VersionPolicy::Kind::kAll;
      break;
    case PolicyProto::kSpecific:
      policy.kind = VersionPolicy::Kind::kSpecific;
      policy.versions.assign(message.specific().versions().begin(), message.specific().versions().end());
      std::sort(policy.versions.begin(), policy.versions.end());
      policy.versions.erase(std::unique(policy.versions.begin(), policy.versions.end()), policy.versions.end());
      if (policy.versions.empty() || policy.versions.front() < 1) {
        return InvalidArgument("model_version_policy.specific: expected versions that are positive numbers");
      }
      break;
    case PolicyProto::kLatest:
      policy.latest_count = std::max(1u, message.latest().num_versions());
      break;
    case PolicyProto::POLICY_CHOICE_NOT_SET:
      break;
  }
  return policy;
}

StatusOr<ModelControl::ListedModel> ListedOf(const proto::ModelConfig& message) {
  ModelControl::ListedModel model{.name = message.name(), .base_path = message.base_path(), .version_policy = {}, .labels = {}};
  if (message.name().empty()) return InvalidArgument("model_config_list: expected a name for every model, got one without");
  auto policy = PolicyOf(message.model_version_policy());
  if (!policy.ok()) return Annotate(policy.status(), "model " + message.name());
  model.version_policy = *std::move(policy);
  for (const auto& [label, version] : message.version_labels()) {
    if (label.empty() || label.find_first_not_of("+-0123456789") == label.npos) {
      return InvalidArgument("model {}: version_labels: expected labels that are no numbers, got {}", message.name(),
                             Quote(label));
    }
    model.labels.emplace(label, version);
  }
  return model;
}

std::string Response(const Status& status) {
  proto::ReloadConfigResponse response;
  response.mutable_status()->set_error_code(static_cast<tensorflow::error::Code>(status.code()));
  response.mutable_status()->set_error_message(std::string(Message(status)));
  return response.SerializeAsString();
}

void HandleReloadConfigRequest(ModelControl& control, ZeroCopyInputStream& message, CommandMethod::Done done) {
  const auto request = wire::ParseMessage<proto::ReloadConfigRequest>(message);
  if (!request.ok()) return done(request.status());
  const proto::ModelServerConfig& config = request->config();
  // A request without a list asks for nothing, as OVMS takes it; an empty list asks for no models.
  if (config.config_case() == proto::ModelServerConfig::CONFIG_NOT_SET) return done(Response(absl::OkStatus()));
  if (config.config_case() != proto::ModelServerConfig::kModelConfigList) {
    return done(InvalidArgument("custom_model_config is not understood here; expected model_config_list"));
  }
  std::vector<ModelControl::ListedModel> models;
  for (const proto::ModelConfig& one : config.model_config_list().config()) {
    auto model = ListedOf(one);
    if (!model.ok()) return done(model.status());
    models.push_back(*std::move(model));
  }
  control.Replace(std::move(models), [done = std::move(done)](const ControlOutcome& outcome) mutable {
    if (outcome.status.ok()) {
      done(Response(outcome.status));
    } else {
      done(outcome.status);
    }
  });
}

}  // namespace

CommandMethod ReloadConfigMethod() {
  return {"/tensorflow.serving.ModelService/HandleReloadConfigRequest", HandleReloadConfigRequest};
}

}  // namespace switchyard::tfs
