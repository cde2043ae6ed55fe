#include "protocol/kserve/grpc_repository.h"

#include <utility>

#include "kserve.pb.h"
#include "protocol/kserve/repository.h"
#include "protocol/wire/parse_message.h"

namespace switchyard::kserve {
namespace {

using google::protobuf::io::ZeroCopyInputStream;
using Done = CommandMethod::Done;

// Answers for itself when the message is faulty.
template <typename Request>
bool Parse(ZeroCopyInputStream& message, Request* request, Done& done) {
  auto parsed = wire::ParseMessage<Request>(message);
  if (!parsed.ok()) {
    done(parsed.status());
    return false;
  }
  *request = *std::move(parsed);
  const Status named = CheckRepositoryName(request->repository_name());
  if (!named.ok()) done(named);
  return named.ok();
}

// Both answers are empty messages.
ModelControl::Done Answer(Done done) {
  return [done = std::move(done)](const ControlOutcome& outcome) mutable {
    if (outcome.status.ok()) {
      done(std::string());
    } else {
      done(outcome.status);
    }
  };
}

void RepositoryIndex(ModelControl& control, ZeroCopyInputStream& message, Done done) {
  inference::RepositoryIndexRequest request;
  if (!Parse(message, &request, done)) return;
  inference::RepositoryIndexResponse response;
  for (const IndexedModel& model : IndexOf(control, request.ready())) {
    inference::RepositoryIndexResponse::ModelIndex& row = *response.add_models();
    row.set_name(model.name);
    row.set_version(model.version);
    row.set_state(model.state);
    row.set_reason(model.reason);
  }
  done(response.SerializeAsString());
}

void RepositoryModelLoad(ModelControl& control, ZeroCopyInputStream& message, Done done) {
  inference::RepositoryModelLoadRequest request;
  if (!Parse(message, &request, done)) return;
  LoadParameters parameters;
  for (const auto& [name, value] : request.parameters()) {
    const Status taken = value.parameter_choice_case() == inference::ModelRepositoryParameter::kStringParam
                             ? parameters.AddText(name, value.string_param())
                             : parameters.AddOther(name);
    if (!taken.ok()) return done(taken);
  }
  control.Load(request.model_name(), parameters.TakeConfig(), Answer(std::move(done)));
}

void RepositoryModelUnload(ModelControl& control, ZeroCopyInputStream& message, Done done) {
  inference::RepositoryModelUnloadRequest request;
  if (!Parse(message, &request, done)) return;
  for (const auto& [name, value] : request.parameters()) {
    const Status taken = CheckUnloadParameter(name);
    if (!taken.ok()) return done(taken);
  }
  control.Unload(request.model_name(), Answer(std::move(done)));
}

}  // namespace

std::vector<CommandMethod> RepositoryMethods() {
  return {{"/inference.GRPCInferenceService/RepositoryIndex", RepositoryIndex},
          {"/inference.GRPCInferenceService/RepositoryModelLoad", RepositoryModelLoad},
          {"/inference.GRPCInferenceService/RepositoryModelUnload", RepositoryModelUnload}};
}

}  // namespace switchyard::kserve
