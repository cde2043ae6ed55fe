#include "transport/grpc/stream_call.h"

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include "serving/call_metrics.h"
#include "transport/grpc/messages.h"

namespace switchyard::grpc_listener {

StreamCall::StreamCall(MethodPort& port) : port_(port) { port_.context.Born(); }

StreamCall::~StreamCall() {
  if (begun_) {
    port_.context.in_flight.fetch_sub(1, std::memory_order_relaxed);
    port_.context.Remove(*this);
  }
  port_.context.Died();
}

void StreamCall::Arm(MethodPort& port) {
  auto* const call = new StreamCall(port);
  call->context_.AsyncNotifyWhenDone(static_cast<Event*>(&call->done_event_));
  call->holders_.store(1, std::memory_order_release);
  port.armed.fetch_add(1, std::memory_order_relaxed);
  port.service.RequestStream(port.index, call->context_, call->stream_, port.queue, call->request_event_);
}

void StreamCall::Release() {
  if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

void StreamCall::OnRequest(bool ok) {
  holders_.load(std::memory_order_acquire);
  const int armed = port_.armed.fetch_sub(1, std::memory_order_relaxed) - 1;
  if (ok) {
    begun_ = true;
    port_.context.in_flight.fetch_add(1, std::memory_order_relaxed);
    if (armed < port_.least) port_.Fill();
    Hold();  // for OnDone
    deadline_ = DeadlineOf(context_, port_.context.timer.Now());
    const RequestHeaders headers = HeadersOf(context_);
    trace_ = port_.context.manager.journal().Trace(headers.traceparent, headers.tracestate);
    header_id_ = headers.request_id;
    PassOn(trace_, context_);
    port_.context.Add(*this);
    MutexLock lock(&mutex_);
    if (port_.context.stopping.load()) ending_ = true;
    Advance();
  }
  Release();
}

void StreamCall::End() {
  MutexLock lock(&mutex_);
  ending_ = true;
  Advance();
}

void StreamCall::Advance() {
  if (finishing_) return;
  if (!writing_ && !gone_ && !slots_.empty() && slots_.front()->answered) {
    writing_ = true;
    Hold();
    stream_.Write(ToByteBuffer(std::move(slots_.front()->answer)), static_cast<Event*>(&written_event_));
  }
  // Answers that nobody can get any more.
  while (gone_ && !writing_ && !slots_.empty() && slots_.front()->answered) slots_.pop_front();
  if (!reading_ && !input_ended_ && !gone_ && !ending_ && slots_.size() < kWindow) {
    reading_ = true;
    Hold();
    stream_.Read(&message_, static_cast<Event*>(&read_event_));
  }
  if (slots_.empty() && !writing_ && (gone_ || input_ended_ || ending_)) {
    finishing_ = true;
    Hold();
    Status status;
    if (gone_) {
      status = WhyGone();
    } else if (!input_ended_) {
      status = Error(StatusCode::kUnavailable, "The server is stopping; connect again");
    }
    stream_.Finish(ToGrpcStatus(status), static_cast<Event*>(&finished_event_));
  }
}

void StreamCall::OnRead(bool ok) {
  Slot* slot = nullptr;
  {
    MutexLock lock(&mutex_);
    // Also when the stream has been finished meanwhile: nobody would get the answer.
    if (!ok || finishing_) {
      reading_ = false;
      input_ended_ = true;
      Advance();
    } else {
      slots_.push_back(std::make_unique<Slot>());
      slot = slots_.back().get();
    }
  }
  if (slot != nullptr) {
    const std::shared_ptr<InferCall> call = slot->call;
    Hold();  // for the answer
    call->on_done = [this, slot](InferCall&, const Status& status) { Answer(*slot, status); };
    Status status;
    try {
      status = Submit(*slot);
    } catch (const std::exception& error) {
      status = HandlerFailed(error.what());
    }
    if (!status.ok()) call->Complete(status);
    MutexLock lock(&mutex_);
    // Only now: an answer that came meanwhile must not have the next message read over this one.
    reading_ = false;
    Advance();
  }
  Release();
}

Status StreamCall::Submit(Slot& slot) {
  const std::shared_ptr<InferCall> call = slot.call;
  const InferMethod& method = *port_.infer;
  const TimePoint now = port_.context.timer.Now();
  call->endpoint = method.endpoint;
  call->received = now;
  call->bytes = message_.Length();
  call->trace = trace_;
  if (trace_.valid) call->trace.span_id = NewSpanId();
  call->header_id = header_id_;
  const Status decoded = ReadMessage(message_, [&](google::protobuf::io::ZeroCopyInputStream& message, size_t size) {
    return method.decode(message, size, now, call->request);
  });
  message_.Clear();
  SY_RETURN_IF_ERROR(decoded);
  DecodedRequest& request = call->request;
  request.deadline = std::min(request.deadline, deadline_);
  SY_ASSIGN_OR_RETURN(Handle version, port_.context.manager.Acquire(request.model_name, request.version));
  if (method.prepare != nullptr) SY_RETURN_IF_ERROR(method.prepare(version->signature(), request));
  Infer(std::move(version), call);
  bool gone = false;
  {
    MutexLock lock(&mutex_);
    // The slot may have been answered, written and dropped already.
    const auto still = std::find_if(slots_.begin(), slots_.end(), [&](const auto& each) { return each->call == call; });
    if (still != slots_.end()) (*still)->submitted = true;
    gone = gone_;
  }
  if (gone && !call->completed()) call->Cancel(WhyGone());
  return absl::OkStatus();
}

void StreamCall::Answer(Slot& slot, const Status& status) {
  Frame answer;
  Status ended = status;
  if (status.ok()) {
    try {
      answer = port_.infer->encode(*slot.call);
    } catch (const std::exception& error) {
      ended = HandlerFailed(error.what());
    }
  }
  if (!ended.ok()) answer = port_.infer->encode_error(ended, slot.call->request.id);
  RecordCall(*slot.call, ended.code(), port_.context.timer.Now(), port_.context.manager, answer.size());
  {
    MutexLock lock(&mutex_);
    slot.answer = std::move(answer);
    slot.answered = true;
    Advance();
  }
  Release();
}

void StreamCall::OnWritten(bool ok) {
  {
    MutexLock lock(&mutex_);
    writing_ = false;
    slots_.pop_front();
    // The call is broken; OnDone says so too, and cancels what is in flight.
    if (!ok) gone_ = true;
    Advance();
  }
  Release();
}

void StreamCall::OnFinished(bool) { Release(); }

Status StreamCall::WhyGone() const { return WhyCancelled(deadline_, port_.context.timer.Now()); }

void StreamCall::OnDone(bool) {
  if (context_.IsCancelled()) {
    std::vector<std::shared_ptr<InferCall>> in_flight;
    {
      MutexLock lock(&mutex_);
      gone_ = true;
      for (const auto& slot : slots_) {
        if (slot->submitted && !slot->answered) in_flight.push_back(slot->call);
      }
    }
    for (const auto& call : in_flight) call->Cancel(WhyGone());
    MutexLock lock(&mutex_);
    Advance();
  }
  Release();
}

}  // namespace switchyard::grpc_listener
