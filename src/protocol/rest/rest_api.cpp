#include "protocol/rest/rest_api.h"

#include <chrono>
#include <string>
#include <utility>

#include "protocol/http/content_coding.h"
#include "protocol/http/http_error.h"
#include "protocol/kserve/log_settings.h"
#include "protocol/kserve/model_reports.h"
#include "protocol/kserve/rest_codec.h"
#include "protocol/kserve/rest_metadata.h"
#include "protocol/rest/ledger.h"
#include "protocol/tfs/rest_codec.h"
#include "serving/call_metrics.h"
#include "serving/infer_call.h"

namespace switchyard {
namespace {

// One inference and its way back. The answer is framed on the thread of its connection, so that the device's own is free at
// once.
template <typename Form>
struct RestCall final : InferCall {
  std::shared_ptr<HttpResponder> responder;
  std::string accept_encoding;
  Form form;
  const Manager* manager = nullptr;
  const Timer* timer = nullptr;

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
};

StatusOr<HttpReply> Encode(const InferCall& call, const KserveOutputForm& form) { return EncodeKserveInfer(call, form); }

struct TfsForm {
  bool rows = false;
};

StatusOr<HttpReply> Encode(const InferCall& call, const TfsForm& form) {
  SY_ASSIGN_OR_RETURN(std::string json, EncodeTfsPredict(call, form.rows));
  return JsonReply(std::move(json));
}

template <typename Form>
void Start(Handle handle, std::shared_ptr<RestCall<Form>> call) {
  call->on_done = [](InferCall& done, const Status& status) {
    auto& self = static_cast<RestCall<Form>&>(done);
    if (!status.ok()) return self.Refuse(status);
    HttpResponder& responder = *self.responder;
    responder.Run([call = std::static_pointer_cast<RestCall<Form>>(done.shared_from_this())] {
      StatusOr<HttpReply> encoded = Encode(*call, call->form);
      const StatusCode code = encoded.status().code();
      HttpReply reply = encoded.ok() ? *std::move(encoded) : ErrorReply(encoded.status());
      EncodeContent(call->accept_encoding, reply);
      call->Answer(code, std::move(reply));
    });
  };
  call->responder->OnClientGone([weak = std::weak_ptr<InferCall>(call)] {
    if (const auto held = weak.lock()) held->Cancel(Error(StatusCode::kCancelled, "The client closed the connection"));
  });
  Infer(std::move(handle), std::move(call));
}

template <typename Form>
std::shared_ptr<RestCall<Form>> MakeCall(const Route& route, Endpoint endpoint, HttpRequest& request,
                                         std::shared_ptr<HttpResponder> responder, const Manager& manager,
                                         const Timer& timer) {
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
  call->accept_encoding = std::move(request.accept_encoding);
  call->responder = std::move(responder);
  return call;
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
    case RouteKind::kInfer: return KserveInfer(found.route, std::move(request), std::move(responder));
    case RouteKind::kTfsPredict: return TfsPredict(found.route, std::move(request), std::move(responder));
    default: break;
  }
  HttpReply reply = found.route.kind == RouteKind::kLogChange ? ChangeLog(request) : Query(found.route);
  EncodeContent(request.accept_encoding, reply);
  responder->Reply(std::move(reply));
}

HttpReply RestApi::Query(const Route& route) const {
  switch (route.kind) {
    case RouteKind::kServerLive: return HttpReply();
    case RouteKind::kServerReady:
      if (manager_.Ready()) return HttpReply();
      return ErrorReply(503, "The server is not ready: models are being loaded, none could be loaded, or it is shutting down");
    case RouteKind::kServerMetadata: return JsonReply(EncodeKserveServerMetadata());
    case RouteKind::kModelReady: return ModelReady(route);
    case RouteKind::kModelMetadata: return KserveMetadata(route);
    case RouteKind::kStatistics:
    case RouteKind::kModelConfig: {
      const std::string version = route.version ? std::to_string(*route.version) : std::string();
      const bool statistics = route.kind == RouteKind::kStatistics;
      const auto json = statistics ? kserve::StatisticsJson(manager_, route.model, version)
                                   : kserve::ConfigJson(manager_, route.model, version);
      return json.ok() ? JsonReply(*json) : ErrorReply(json.status());
    }
    case RouteKind::kTfsStatus: return TfsStatus(route);
    case RouteKind::kTfsMetadata: {
      const auto handle = manager_.Acquire(route.model, route.version);
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
      const auto placement = manager_.Placement(route.model, route.version);
      return placement.ok() ? JsonReply(EncodePlacement(*placement)) : ErrorReply(placement.status());
    }
    case RouteKind::kConfigStatus: return JsonReply(EncodeTfsConfigStatus(manager_.Statuses()));
    case RouteKind::kTfsUnsupported:
      return ErrorReply(501, fmt::format("Method {} is not implemented; use :predict", route.verb));
    case RouteKind::kConfigReload:
      return ErrorReply(501, "Reloading the configuration is not implemented; restart the server to apply a change");
    case RouteKind::kLogSettings:
      return JsonReply(kserve::EncodeLogSettings());
    case RouteKind::kLogChange:
    case RouteKind::kInfer:
    case RouteKind::kTfsPredict: break;
  }
  return ErrorReply(500, "The route has no handler");
}

HttpReply RestApi::ChangeLog(HttpRequest& request) const {
  if (auto refused = DecodeContent(request.content_encoding, 0, kserve::kMaxLogChangeBytes, request.body)) {
    return *std::move(refused);
  }
  const Status changed = kserve::ChangeLog(request.body.view());
  return changed.ok() ? JsonReply(kserve::EncodeLogSettings()) : ErrorReply(changed);
}

HttpReply RestApi::ModelReady(const Route& route) const {
  const bool ready = manager_.ModelReady(route.model, route.version);
  manager_.metrics().CountQuery(route.model, Endpoint::kKserveRestReady, ready);
  if (ready) return HttpReply();
  const auto handle = manager_.Acquire(route.model, route.version);
  if (!handle.ok()) return ErrorReply(handle.status());
  return ErrorReply(503, fmt::format("Model {} is loaded, but no device answers for it", route.model));
}

HttpReply RestApi::KserveMetadata(const Route& route) const {
  const std::string version = route.version ? std::to_string(*route.version) : std::string();
  const auto model = kserve::DescribeModel(manager_, route.model, version);
  if (!model.ok()) return ErrorReply(model.status());
  model->version->metrics().CountQuery(Endpoint::kKserveRestMetadata, true);
  return JsonReply(EncodeKserveModelMetadata(*model));
}

HttpReply RestApi::TfsStatus(const Route& route) const {
  const auto versions = tfs::ReportModel(manager_, route.model, route.version);
  manager_.metrics().CountQuery(route.model, Endpoint::kTfsRestStatus, versions.ok());
  return versions.ok() ? JsonReply(EncodeTfsStatus(*versions)) : ErrorReply(versions.status());
}

void RestApi::KserveInfer(const Route& route, HttpRequest request, std::shared_ptr<HttpResponder> responder) {
  const auto call =
      MakeCall<KserveOutputForm>(route, Endpoint::kKserveRestInfer, request, std::move(responder), manager_, timer_);
  auto handle = manager_.Acquire(route.model, route.version);
  if (!handle.ok()) return call->Refuse(handle.status());
  const auto json_length = ParseJsonLength(request.inference_header_length);
  if (!json_length.ok()) return call->Refuse(json_length.status());
  if (auto refused = DecodeContent(request.content_encoding, json_length->value_or(0), options_.max_body_bytes, request.body)) {
    return call->Answer(CodeOf(*refused), *std::move(refused));
  }
  const Status decoded = DecodeKserveInfer(std::move(request.body), *json_length, call->received, call->request, call->form);
  if (!decoded.ok()) return call->Refuse(decoded);
  Start(*std::move(handle), call);
}

void RestApi::TfsPredict(const Route& route, HttpRequest request, std::shared_ptr<HttpResponder> responder) {
  const auto call = MakeCall<TfsForm>(route, Endpoint::kTfsRestPredict, request, std::move(responder), manager_, timer_);
  auto handle = manager_.Acquire(route.model, route.version);
  if (!handle.ok()) return call->Refuse(handle.status());
  if (auto refused = DecodeContent(request.content_encoding, 0, options_.max_body_bytes, request.body)) {
    return call->Answer(CodeOf(*refused), *std::move(refused));
  }
  const Signature& signature = (*handle)->signature();
  const Status decoded = DecodeTfsPredict(request.body, signature, call->request, call->form.rows);
  if (!decoded.ok()) return call->Refuse(decoded);
  Start(*std::move(handle), call);
}

}  // namespace switchyard
