#include "transport/grpc/unary_call.h"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>

#include "serving/call_metrics.h"
#include "transport/grpc/messages.h"

namespace switchyard::grpc_listener {

UnaryCall::UnaryCall(MethodPort& port) : port_(port) { port_.context.Born(); }

UnaryCall::~UnaryCall() {
  // Everything that gRPC counts first: after Died its queue may be shut down.
  responder_.reset();
  context_.reset();
  infer_.reset();
  request_.Clear();
  port_.context.Died();
}

void UnaryCall::Arm() {
  responder_.reset();
  context_.emplace();
  responder_.emplace(&*context_);
  request_.Clear();
  // Ready before the call comes: gRPC may report its end while another thread still handles its beginning.
  infer_ = port_.infer != nullptr ? std::make_shared<InferCall>() : nullptr;
  deadline_ = kNoDeadline;
  phase_.store(0, std::memory_order_relaxed);
  context_->AsyncNotifyWhenDone(static_cast<Event*>(&done_event_));
  holders_.store(4, std::memory_order_release);
  port_.armed.fetch_add(1, std::memory_order_relaxed);
  port_.service.RequestUnary(port_.index, *context_, request_, *responder_, port_.queue, request_event_);
}

void UnaryCall::OnRequest(bool ok) {
  holders_.load(std::memory_order_acquire);
  const int armed = port_.armed.fetch_sub(1, std::memory_order_relaxed) - 1;
  if (!ok) {
    delete this;
    return;
  }
  port_.context.in_flight.fetch_add(1, std::memory_order_relaxed);
  if (armed < port_.least) port_.Fill();
  Handle();
  Release();
}

void UnaryCall::Handle() {
  if (port_.control != nullptr) {
    HandleControl(*port_.control);
    return;
  }
  infer_->on_done = [this](InferCall& call, const Status& status) { AnswerInference(call, status); };
  Status status;
  try {
    status = Submit(*port_.infer);
  } catch (const std::exception& error) {
    status = HandlerFailed(error.what());
  } catch (...) {
    status = HandlerFailed("unknown exception");
  }
  if (!status.ok()) infer_->Complete(status);
}

void UnaryCall::HandleControl(const ControlMethod& method) {
  StatusOr<std::string> answer = std::string();
  try {
    answer = ReadMessage(request_, [&](google::protobuf::io::ZeroCopyInputStream& message, size_t) {
      return method.answer(port_.context.manager, message);
    });
  } catch (const std::exception& error) {
    answer = HandlerFailed(error.what());
  }
  if (answer.ok()) {
    Answer(absl::OkStatus(), Frame(*std::move(answer)));
  } else {
    Answer(answer.status(), Frame());
  }
}

Status UnaryCall::Submit(const InferMethod& method) {
  const TimePoint now = port_.context.timer.Now();
  infer_->endpoint = method.endpoint;
  infer_->received = now;
  infer_->bytes = request_.Length();
  const RequestHeaders headers = HeadersOf(*context_);
  infer_->trace = port_.context.manager.journal().Trace(headers.traceparent, headers.tracestate);
  infer_->header_id = headers.request_id;
  deadline_ = DeadlineOf(*context_, now);
  DecodedRequest& request = infer_->request;
  const Status decoded = ReadMessage(request_, [&](google::protobuf::io::ZeroCopyInputStream& message, size_t size) {
    return method.decode(message, size, now, request);
  });
  // Everything was copied out of it.
  request_.Clear();
  SY_RETURN_IF_ERROR(decoded);
  request.deadline = std::min(request.deadline, deadline_);
  SY_ASSIGN_OR_RETURN(switchyard::Handle version, port_.context.manager.Acquire(request.model_name, request.version));
  if (method.prepare != nullptr) SY_RETURN_IF_ERROR(method.prepare(version->signature(), request));
  Infer(std::move(version), infer_);
  if ((phase_.fetch_or(kSubmitted, std::memory_order_acq_rel) & kGone) != 0) CancelInference();
  return absl::OkStatus();
}

void UnaryCall::AnswerInference(InferCall& call, const Status& status) {
  // Before the answer: whoever has it may look at the metrics at once, and this object may be gone.
  const auto record = [&](StatusCode code, size_t bytes) {
    RecordCall(call, code, port_.context.timer.Now(), port_.context.manager, bytes);
  };
  if (!status.ok()) {
    record(status.code(), 0);
    Answer(status, Frame());
    return;
  }
  Frame frame;
  Status encoded;
  try {
    frame = port_.infer->encode(call);
  } catch (const std::exception& error) {
    encoded = HandlerFailed(error.what());
  }
  record(encoded.code(), frame.size());
  Answer(encoded, std::move(frame));
}

void UnaryCall::Answer(const Status& status, Frame frame) {
  if (infer_ != nullptr) PassOn(infer_->trace, *context_);
  if (status.ok()) {
    responder_->Finish(ToByteBuffer(std::move(frame)), grpc::Status::OK, static_cast<Event*>(&finished_event_));
  } else {
    responder_->FinishWithError(ToGrpcStatus(status), static_cast<Event*>(&finished_event_));
  }
  Release();
}

void UnaryCall::OnFinished(bool) { Release(); }

void UnaryCall::OnDone(bool) {
  holders_.load(std::memory_order_acquire);
  if (infer_ != nullptr && context_->IsCancelled() && (phase_.fetch_or(kGone, std::memory_order_acq_rel) & kSubmitted) != 0) {
    CancelInference();
  }
  Release();
}

void UnaryCall::CancelInference() {
  if (!infer_->completed()) infer_->Cancel(WhyCancelled(deadline_, port_.context.timer.Now()));
}

void UnaryCall::Release() {
  if (holders_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  port_.context.in_flight.fetch_sub(1, std::memory_order_relaxed);
  MethodPort& port = port_;
  if (port.armed.load(std::memory_order_relaxed) >= port.most || !port.gate.Enter(port.context.stopping)) {
    delete this;
    return;
  }
  Arm();
  port.gate.Leave();
}

}  // namespace switchyard::grpc_listener
