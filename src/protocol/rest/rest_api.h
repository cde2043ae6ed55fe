// The REST front end of both protocols: routes a request, decodes it, has it served, and frames the answer. No sockets.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/timer.h"
#include "protocol/http/http_message.h"
#include "protocol/rest/router.h"
#include "serving/manager.h"

namespace switchyard {

class RestApi final : public HttpHandler {
 public:
  struct Options {
    uint64_t max_body_bytes = uint64_t{1} << 30;  // of a body whose compression is undone
  };

  // `manager` and `timer` must outlive every request.
  RestApi(Manager& manager, Timer& timer, Options options) : manager_(manager), timer_(timer), options_(options) {}

  // Thread-safe.
  void Handle(HttpRequest request, std::shared_ptr<HttpResponder> responder) override;

 private:
  // Answers everything but inferences.
  HttpReply Query(const Route& route) const;
  HttpReply ModelReady(const Route& route) const;
  HttpReply ChangeLog(HttpRequest& request) const;
  HttpReply KserveMetadata(const Route& route) const;
  HttpReply TfsStatus(const Route& route) const;
  void KserveInfer(const Route& route, HttpRequest request, std::shared_ptr<HttpResponder> responder);
  void TfsPredict(const Route& route, HttpRequest request, std::shared_ptr<HttpResponder> responder);

  Manager& manager_;
  Timer& timer_;
  const Options options_;
};

}  // namespace switchyard
