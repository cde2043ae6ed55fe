#include "protocol/rest/rest_api.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "protocol/http/content_coding.h"
#include "protocol/http/http_error.h"
#include "protocol/http/json_reader.h"
#include "protocol/kserve/log_settings.h"
#include "protocol/kserve/model_reports.h"
#include "protocol/kserve/repository.h"
#include "protocol/kserve/rest_codec.h"
#include "protocol/kserve/rest_metadata.h"
#include "protocol/kserve/shared_memory.h"
#include "protocol/rest/control_replies.h"
#include "protocol/rest/ledger.h"
#include "protocol/tfs/rest_codec.h"
#include "serving/call_metrics.h"
#include "serving/infer_call.h"

namespace switchyard {
namespace {

StatusOr<HttpReply> Encode(const InferCall& call, const KserveOutputForm& form) { return EncodeKserveInfer(call, form); }

struct TfsForm {
  bool rows = false;
};

StatusOr<HttpReply> Encode(const InferCall& call, const TfsForm& form) {
  SY_ASSIGN_OR_RETURN(std::string json, EncodeTfsPredict(call, form.rows));
  return JsonReply(std::move(json));
}

// What an answer's encoding throws, for want of memory most likely.
Status HandlerFailed(const std::exception& error) {
  return Error(StatusCode::kInternal, "The call failed inside the server: {}", error.what());
}

// One inference and its way back. The answer is framed on the thread of its connection, so that the device's own is free at
// once.
template <typename Form>
struct RestCall final : InferCall {
  std::shared_ptr<HttpResponder> responder;
  std::string accept_encoding;
  Form form;
  const Manager* manager = nullptr;
  const Timer* timer = nullptr;
  Status result;  // of the inference

  // Counts the call, and answers it. Counted first: whoever has the answer may look at the metrics at once.
  void Answer(StatusCode code, HttpReply reply) {
    // The next one in the trace is told which span of ours it belongs to.
    if (trace.valid) {
      reply.headers += fmt::format("traceparent: {}\r\n", TraceParentOf(trace));
      if (!trace.state.empty()) reply.headers += fmt::format("tracestate: {}\r\n", trace.state);
    }
    RecordCall(*this, code, timer->Now(), *manager, reply.body.size());
    responder->Reply(std::move(reply));
  }
  void Refuse(const Status& status) { Answer(status.code(), ErrorReply(status)); }
  // With `result`, on the thread of the connection.
  void Finish() {
    if (!result.ok()) return Refuse(result);
    StatusOr<HttpReply> reply = HttpReply();
    try {
      reply = Encode(*this, form);
      if (reply.ok()) EncodeContent(accept_encoding, *reply);
    } catch (const std::exception& error) {
      reply = HandlerFailed(error);
    }
    if (!reply.ok()) return Refuse(reply.status());
    Answer(StatusCode::kOk, *std::move(reply));
  }
};

template <typename Form>
void Start(Handle handle, std::shared_ptr<RestCall<Form>> call) {
  call->on_done = [](InferCall& done, const Status& status) {
    auto& self = static_cast<RestCall<Form>&>(done);
    self.result = status;
    HttpResponder& responder = *self.responder;
    // No larger than a function holds in itself: the device's thread has nobody to tell that there is no memory.
    responder.Run([call = std::static_pointer_cast<RestCall<Form>>(done.shared_from_this())] { call->Finish(); });
  };
  call->responder->OnClientGone([weak = std::weak_ptr<InferCall>(call)] {
    if (const auto held = weak.lock()) held->Cancel(Error(StatusCode::kCancelled, "The client closed the connection"));
  });
  Infer(std::move(handle), std::move(call));
}

template <typename Form>
std::shared_ptr<RestCall<Form>> MakeCall(const Route& route, Endpoint endpoint, HttpRequest& request,
                                         std::shared_ptr<HttpResponder> responder, const Manager& manager, const Timer& timer) {
  auto call = std::make_shared<RestCall<Form>>();
  call->endpoint = endpoint;
  call->received = timer.Now();
  call->bytes = request.body.size;
  call->trace = manager.journal().Trace(request.traceparent, request.tracestate);
  call->header_id = std::move(request.request_id);
  call->manager = &manager;
  call->timer = &timer;
  call->request.model_name = route.model;
  call->request.version = route.version;
  call->request.label = route.label;
  call->accept_encoding = std::move(request.accept_encoding);
  call->responder = std::move(responder);
  return call;
}

// Compresses `reply` as the client asks, but for what KServe's own calls are told beside inferences: Triton's asyncio client
// asks for compression with every call, and undoes it for inferences alone.
void Compress(RouteKind kind, std::string_view accept_encoding, HttpReply& reply) {
  switch (kind) {
    case RouteKind::kTfsStatus:
    case RouteKind::kTfsMetadata:
    case RouteKind::kConfigStatus:
    case RouteKind::kConfigReload:
    case RouteKind::kMetrics:
    case RouteKind::kDevices:
    case RouteKind::kPlacement:
      return EncodeContent(accept_encoding, reply);
    default:
      return;
  }
}

// Undoes the body's Content-Encoding. Returns what to answer when that cannot be done, or when there is more JSON than is read.
std::optional<HttpReply> Unpack(HttpRequest& request, std::optional<uint64_t> json_length, uint64_t max_bytes) {
  HttpBody& body = request.body;
  if (auto refused = DecodeContent(request.content_encoding, json_length.value_or(0), max_bytes, body)) return refused;
  const uint64_t json = std::min<uint64_t>(json_length.value_or(body.size), body.size);
  if (json <= kMaxJsonBytes) return std::nullopt;
  return ErrorReply(413, fmt::format("Request body has {} bytes of JSON, at most {} are read; send large tensors by the binary "
                                     "extension",
                                     json, kMaxJsonBytes));
}

// Of a body that could not be unpacked: too large, or faulty.
StatusCode CodeOf(const HttpReply& refused) {
  return refused.code == 413 ? StatusCode::kResourceExhausted : StatusCode::kInvalidArgument;
}

}  // namespace

void RestApi::Handle(HttpRequest request, std::shared_ptr<HttpResponder> responder) {
  RouteResult found = FindRoute(request.method, request.target);
  if (found.answer) return responder->Reply(*std::move(found.answer));
  switch (found.route.kind) {
    case RouteKind::kInfer:
      return KserveInfer(found.route, std::move(request), std::move(responder));
    case RouteKind::kTfsPredict:
      return TfsPredict(found.route, std::move(request), std::move(responder));
    case RouteKind::kConfigReload:
    case RouteKind::kRepositoryIndex:
    case RouteKind::kModelLoad:
    case RouteKind::kModelUnload:
      return Command(found.route, std::move(request), std::move(responder));
    default:
      break;
  }
  HttpReply reply = Query(found.route, request);
  Compress(found.route.kind, request.accept_encoding, reply);
  responder->Reply(std::move(reply));
}

HttpReply RestApi::Query(const Route& route, HttpRequest& request) const {
  switch (route.kind) {
    case RouteKind::kServerLive:
      return JsonReply("{\"live\":true}");
    case RouteKind::kServerReady:
      if (manager_.Ready()) return JsonReply("{\"ready\":true}");
      return ErrorReply(503, "The server is not ready: models are being loaded, none could be loaded, or it is shutting down");
    case RouteKind::kServerMetadata:
      return JsonReply(EncodeKserveServerMetadata(manager_));
    case RouteKind::kModelReady:
      return ModelReady(route);
    case RouteKind::kModelMetadata:
      return KserveMetadata(route);
    case RouteKind::kStatistics:
    case RouteKind::kModelConfig: {
      const std::string version = route.version ? std::to_string(*route.version) : route.label.name;
      const bool statistics = route.kind == RouteKind::kStatistics;
      const auto json = statistics ? kserve::StatisticsJson(manager_, route.model, version)
                                   : kserve::ConfigJson(manager_, route.model, version);
      return json.ok() ? JsonReply(*json) : ErrorReply(json.status());
    }
    case RouteKind::kTfsStatus:
      return TfsStatus(route);
    case RouteKind::kTfsMetadata: {
      const auto handle = manager_.Acquire(route.model, route.version, route.label);
      if (!handle.ok()) return ErrorReply(handle.status());
      (*handle)->metrics().CountQuery(Endpoint::kTfsRestMetadata, true);
      return JsonReply(EncodeTfsMetadata(**handle));
    }
    case RouteKind::kMetrics: {
      HttpReply reply;
      reply.content_type = MetricsPage::kContentType;
      reply.body = Frame(manager_.metrics().Text());
      return reply;
    }
    case RouteKind::kDevices:
      return JsonReply(EncodeDevices(ReadDevices(manager_), timer_.Now(), std::chrono::system_clock::now()));
    case RouteKind::kPlacement: {
      const auto placement = manager_.Placement(route.model, route.version, route.label);
      return placement.ok() ? JsonReply(EncodePlacement(*placement)) : ErrorReply(placement.status());
    }
    case RouteKind::kConfigStatus:
      return ConfigStatus();
    case RouteKind::kTfsUnsupported:
      return ErrorReply(501, fmt::format("Method {} is not implemented; use :predict", route.verb));
    case RouteKind::kLogSettings:
      return JsonReply(kserve::EncodeLogSettings());
    case RouteKind::kLogChange:
      return ChangeLog(request);
    case RouteKind::kRegionStatus:
    case RouteKind::kRegionAdd:
    case RouteKind::kRegionRemove:
      return SharedMemory(route, request);
    case RouteKind::kConfigReload:
    case RouteKind::kRepositoryIndex:
    case RouteKind::kModelLoad:
    case RouteKind::kModelUnload:
    case RouteKind::kInfer:
    case RouteKind::kTfsPredict:
      break;
  }
  return ErrorReply(500, "The route has no handler");
}

HttpReply RestApi::ConfigStatus() const {
  const ModelControl* const control = options_.control;
  return JsonReply(EncodeConfig(manager_.Statuses(), control != nullptr ? control->LastReload() : std::nullopt));
}

void RestApi::Command(const Route& route, HttpRequest request, std::shared_ptr<HttpResponder> responder) {
  if (options_.control == nullptr) {
    return responder->Reply(ErrorReply(501, "What is served cannot be changed or listed by calls on this server"));
  }
  ModelControl& control = *options_.control;
  const auto answer = [responder, kind = route.kind, accept = request.accept_encoding](HttpReply reply) {
    Compress(kind, accept, reply);
    responder->Reply(std::move(reply));
  };
  if (auto refused = Unpack(request, std::nullopt, options_.max_body_bytes)) return answer(*std::move(refused));
  // Both answers of KServe are empty.
  const auto empty = [answer](const ControlOutcome& outcome) {
    answer(outcome.status.ok() ? HttpReply() : RefusalReply(outcome));
  };
  switch (route.kind) {
    case RouteKind::kConfigReload:
      return control.Reload([answer, &manager = manager_](const ControlOutcome& outcome) {
        if (!outcome.status.ok()) return answer(RefusalReply(outcome));
        HttpReply reply = JsonReply(EncodeConfig(manager.Statuses(), std::nullopt));
        reply.code = outcome.changed ? 201 : 200;
        answer(std::move(reply));
      });
    case RouteKind::kModelLoad: {
      auto config = ReadLoadRequest(request.body);
      if (!config.ok()) return answer(ErrorReply(config.status()));
      return control.Load(route.model, *std::move(config), empty);
    }
    case RouteKind::kModelUnload: {
      const Status read = CheckUnloadRequest(request.body);
      if (!read.ok()) return answer(ErrorReply(read));
      return control.Unload(route.model, empty);
    }
    default:
      break;
  }
  const auto only_ready = ReadIndexRequest(request.body);
  if (!only_ready.ok()) return answer(ErrorReply(only_ready.status()));
  answer(JsonReply(EncodeIndex(kserve::IndexOf(control, *only_ready))));
}

HttpReply RestApi::ChangeLog(HttpRequest& request) const {
  if (auto refused = DecodeContent(request.content_encoding, 0, kserve::kMaxLogChangeBytes, request.body)) {
    return *std::move(refused);
  }
  const Status changed = kserve::ChangeLog(request.body.view());
  return changed.ok() ? JsonReply(kserve::EncodeLogSettings()) : ErrorReply(changed);
}

HttpReply RestApi::SharedMemory(const Route& route, HttpRequest& request) const {
  const auto kind = route.cuda ? kserve::RegionKind::kCuda : kserve::RegionKind::kSystem;
  if (route.kind == RouteKind::kRegionStatus) {
    const auto regions = kserve::ListRegions(manager_, kind, route.region);
    return regions.ok() ? JsonReply(kserve::EncodeRegions(*regions)) : ErrorReply(regions.status());
  }
  Status done;
  if (route.kind == RouteKind::kRegionRemove) {
    done = kserve::UnregisterRegions(manager_, kind, route.region);
  } else if (route.cuda) {
    done = kserve::RegisterCudaRegion();
  } else {
    if (auto refused = DecodeContent(request.content_encoding, 0, kserve::kMaxRegisterBytes, request.body)) {
      return *std::move(refused);
    }
    auto info = kserve::ReadRegistration(route.region, request.body.view());
    done = info.ok() ? kserve::RegisterRegion(manager_, *std::move(info)) : info.status();
  }
  return done.ok() ? HttpReply() : ErrorReply(done);
}

HttpReply RestApi::ModelReady(const Route& route) const {
  const bool ready = manager_.ModelReady(route.model, route.version, route.label);
  manager_.metrics().CountQuery(manager_.OwnName(route.model), Endpoint::kKserveRestReady, ready);
  if (ready) return HttpReply();
  const auto handle = manager_.Acquire(route.model, route.version, route.label);
  if (!handle.ok()) return ErrorReply(handle.status());
  return ErrorReply(503, fmt::format("Model {} is loaded, but no device answers for it", route.model));
}

HttpReply RestApi::KserveMetadata(const Route& route) const {
  const std::string version = route.version ? std::to_string(*route.version) : route.label.name;
  const auto model = kserve::DescribeModel(manager_, route.model, version);
  if (!model.ok()) return ErrorReply(model.status());
  model->version->metrics().CountQuery(Endpoint::kKserveRestMetadata, true);
  return JsonReply(EncodeKserveModelMetadata(*model));
}

HttpReply RestApi::TfsStatus(const Route& route) const {
  const auto report = [&]() -> StatusOr<std::vector<tfs::ReportedVersion>> {
    SY_ASSIGN_OR_RETURN(const auto labelled, manager_.VersionOf(route.model, route.label));
    return tfs::ReportModel(manager_, route.model, labelled ? labelled : route.version);
  };
  const auto versions = report();
  manager_.metrics().CountQuery(manager_.OwnName(route.model), Endpoint::kTfsRestStatus, versions.ok());
  return versions.ok() ? JsonReply(EncodeTfsStatus(*versions)) : ErrorReply(versions.status());
}

void RestApi::KserveInfer(const Route& route, HttpRequest request, std::shared_ptr<HttpResponder> responder) {
  const auto call =
      MakeCall<KserveOutputForm>(route, Endpoint::kKserveRestInfer, request, std::move(responder), manager_, timer_);
  auto handle = manager_.Acquire(route.model, route.version, route.label);
  if (!handle.ok()) return call->Refuse(handle.status());
  const auto json_length = ParseJsonLength(request.inference_header_length);
  if (!json_length.ok()) return call->Refuse(json_length.status());
  if (auto refused = Unpack(request, *json_length, options_.max_body_bytes)) {
    return call->Answer(CodeOf(*refused), *std::move(refused));
  }
  const Status decoded = DecodeKserveInfer(std::move(request.body), *json_length, (*handle)->signature(), call->received,
                                           call->request, call->form);
  if (!decoded.ok()) return call->Refuse(decoded);
  Start(*std::move(handle), call);
}

void RestApi::TfsPredict(const Route& route, HttpRequest request, std::shared_ptr<HttpResponder> responder) {
  const auto call = MakeCall<TfsForm>(route, Endpoint::kTfsRestPredict, request, std::move(responder), manager_, timer_);
  auto handle = manager_.Acquire(route.model, route.version, route.label);
  if (!handle.ok()) return call->Refuse(handle.status());
  if (auto refused = Unpack(request, std::nullopt, options_.max_body_bytes)) {
    return call->Answer(CodeOf(*refused), *std::move(refused));
  }
  const Signature& signature = (*handle)->signature();
  const Status decoded = DecodeTfsPredict(request.body, signature, call->request, call->form.rows);
  if (!decoded.ok()) return call->Refuse(decoded);
  Start(*std::move(handle), call);
}

}  // namespace switchyard
