#include "protocol/rest/rest_api.h"

#include <string>
#include <utility>

#include "protocol/kserve/rest_codec.h"
#include "protocol/kserve/rest_metadata.h"
#include "protocol/http/content_coding.h"
#include "protocol/http/http_error.h"
#include "protocol/tfs/rest_codec.h"
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
};

HttpReply Encode(const InferCall& call, const KserveOutputForm& form) {
  auto reply = EncodeKserveInfer(call, form);
  return reply.ok() ? *std::move(reply) : ErrorReply(reply.status());
}

struct TfsForm {
  bool rows = false;
};

HttpReply Encode(const InferCall& call, const TfsForm& form) {
  auto json = EncodeTfsPredict(call, form.rows);
  return json.ok() ? JsonReply(*std::move(json)) : ErrorReply(json.status());
}

template <typename Form>
void Start(Handle handle, std::shared_ptr<RestCall<Form>> call) {
  call->on_done = [](InferCall& done, const Status& status) {
    auto& self = static_cast<RestCall<Form>&>(done);
    if (!status.ok()) {
      self.responder->Reply(ErrorReply(status));
      return;
    }
    HttpResponder& responder = *self.responder;
    responder.Run([call = std::static_pointer_cast<RestCall<Form>>(done.shared_from_this())] {
      HttpReply reply = Encode(*call, call->form);
      EncodeContent(call->accept_encoding, reply);
      call->responder->Reply(std::move(reply));
    });
  };
  call->responder->OnClientGone([weak = std::weak_ptr<InferCall>(call)] {
    if (const auto held = weak.lock()) held->Cancel(Error(StatusCode::kCancelled, "The client closed the connection"));
  });
  Infer(std::move(handle), std::move(call));
}

template <typename Form>
std::shared_ptr<RestCall<Form>> MakeCall(const Route& route, HttpRequest& request, std::shared_ptr<HttpResponder> responder) {
  auto call = std::make_shared<RestCall<Form>>();
  call->request.model_name = route.model;
  call->request.version = route.version;
  call->accept_encoding = std::move(request.accept_encoding);
  call->responder = std::move(responder);
  return call;
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
  HttpReply reply = Query(found.route);
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
    case RouteKind::kTfsStatus: return TfsStatus(route);
    case RouteKind::kTfsMetadata: {
      const auto handle = manager_.Acquire(route.model, route.version);
      return handle.ok() ? JsonReply(EncodeTfsMetadata(**handle)) : ErrorReply(handle.status());
    }
    case RouteKind::kConfigStatus: return JsonReply(EncodeTfsConfigStatus(manager_.Statuses()));
    case RouteKind::kTfsUnsupported:
      return ErrorReply(501, fmt::format("Method {} is not implemented; use :predict", route.verb));
    case RouteKind::kConfigReload:
      return ErrorReply(501, "Reloading the configuration is not implemented; restart the server to apply a change");
    case RouteKind::kInfer:
    case RouteKind::kTfsPredict: break;
  }
  return ErrorReply(500, "The route has no handler");
}

HttpReply RestApi::ModelReady(const Route& route) const {
  if (manager_.ModelReady(route.model, route.version)) return HttpReply();
  const auto handle = manager_.Acquire(route.model, route.version);
  if (!handle.ok()) return ErrorReply(handle.status());
  return ErrorReply(503, fmt::format("Model {} is loaded, but no device answers for it", route.model));
}

HttpReply RestApi::KserveMetadata(const Route& route) const {
  const std::string version = route.version ? std::to_string(*route.version) : std::string();
  const auto model = kserve::DescribeModel(manager_, route.model, version);
  return model.ok() ? JsonReply(EncodeKserveModelMetadata(*model)) : ErrorReply(model.status());
}

HttpReply RestApi::TfsStatus(const Route& route) const {
  const auto versions = tfs::ReportModel(manager_, route.model, route.version);
  return versions.ok() ? JsonReply(EncodeTfsStatus(*versions)) : ErrorReply(versions.status());
}

void RestApi::KserveInfer(const Route& route, HttpRequest request, std::shared_ptr<HttpResponder> responder) {
  auto handle = manager_.Acquire(route.model, route.version);
  if (!handle.ok()) return responder->Reply(ErrorReply(handle.status()));
  const auto json_length = ParseJsonLength(request.inference_header_length);
  if (!json_length.ok()) return responder->Reply(ErrorReply(json_length.status()));
  if (auto refused = DecodeContent(request.content_encoding, json_length->value_or(0), options_.max_body_bytes, request.body)) {
    return responder->Reply(*std::move(refused));
  }
  auto call = MakeCall<KserveOutputForm>(route, request, std::move(responder));
  const Status decoded = DecodeKserveInfer(std::move(request.body), *json_length, timer_.Now(), call->request, call->form);
  if (!decoded.ok()) return call->responder->Reply(ErrorReply(decoded));
  Start(*std::move(handle), std::move(call));
}

void RestApi::TfsPredict(const Route& route, HttpRequest request, std::shared_ptr<HttpResponder> responder) {
  auto handle = manager_.Acquire(route.model, route.version);
  if (!handle.ok()) return responder->Reply(ErrorReply(handle.status()));
  if (auto refused = DecodeContent(request.content_encoding, 0, options_.max_body_bytes, request.body)) {
    return responder->Reply(*std::move(refused));
  }
  const Signature& signature = (*handle)->signature();
  auto call = MakeCall<TfsForm>(route, request, std::move(responder));
  const Status decoded = DecodeTfsPredict(request.body, signature, call->request, call->form.rows);
  if (!decoded.ok()) return call->responder->Reply(ErrorReply(decoded));
  Start(*std::move(handle), std::move(call));
}

}  // namespace switchyard
