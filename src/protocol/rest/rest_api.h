// The REST front end of both protocols: routes a request, decodes it, has it served, and frames the answer. No sockets.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/timer.h"
#include "control/model_control.h"
#include "protocol/http/http_message.h"
#include "protocol/rest/router.h"
#include "serving/manager.h"

namespace switchyard {

class RestApi final : public HttpHandler {
 public:
  struct Options {
    uint64_t max_body_bytes = uint64_t{1} << 30;  // of a body whose compression is undone
    ModelControl* control = nullptr;              // null: what is served cannot be changed or listed by calls
  };

  // `manager`, `timer` and the options' `control` must outlive every request.
  RestApi(Manager& manager, Timer& timer, Options options) : manager_(manager), timer_(timer), options_(options) {}

  // Thread-safe.
  void Handle(HttpRequest request, std::shared_ptr<HttpResponder> responder) override;

 private:
  // Answers everything but inferences.
  HttpReply Query(const Route& route, HttpRequest& request) const;
  HttpReply ConfigStatus() const;
  // What the control plane answers, at once or later.
  void Command(const Route& route, HttpRequest request, std::shared_ptr<HttpResponder> responder);
  HttpReply ModelReady(const Route& route) const;
  HttpReply ChangeLog(HttpRequest& request) const;
  HttpReply SharedMemory(const Route& route, HttpRequest& request) const;
  HttpReply KserveMetadata(const Route& route) const;
  HttpReply TfsStatus(const Route& route) const;
  void KserveInfer(const Route& route, HttpRequest request, std::shared_ptr<HttpResponder> responder);
  void TfsPredict(const Route& route, HttpRequest request, std::shared_ptr<HttpResponder> responder);

  Manager& manager_;
  Timer& timer_;
  const Options options_;
};

}  // namespace switchyard
