// A call with one message each way.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/async_unary_call.h>

#include <atomic>
#include <memory>
#include <optional>

#include "serving/infer_call.h"
#include "transport/grpc/call_context.h"

namespace switchyard::grpc_listener {

// Owns itself: waits for a call, answers it, waits for the next one, until there are enough others or the server stops.
// Four parties may hold a call that came: this listener's handler, the answer (which comes on any thread), gRPC's event that
// the answer is out, and gRPC's event that the call is over. The last one that lets go has the object wait again.
class UnaryCall {
 public:
  explicit UnaryCall(MethodPort& port);
  ~UnaryCall();

  // Begins to wait, within the port's gate. The object may be gone when this returns.
  void Arm();

 private:
  static constexpr int kSubmitted = 1;  // the call may be cancelled
  static constexpr int kGone = 2;       // its client has gone

  void OnRequest(bool ok);
  void OnFinished(bool ok);
  void OnDone(bool ok);

  void Handle();
  void HandleControl(const ControlMethod& method);
  void HandleCommand(const CommandMethod& method);
  Status Submit(const InferMethod& method);
  void Answer(const Status& status, Frame frame);
  void AnswerInference(InferCall& call, const Status& status);
  void CancelInference();
  void Release();

  MethodPort& port_;
  CallEvent<UnaryCall, &UnaryCall::OnRequest> request_event_{*this};
  CallEvent<UnaryCall, &UnaryCall::OnFinished> finished_event_{*this};
  CallEvent<UnaryCall, &UnaryCall::OnDone> done_event_{*this};

  // Made anew for each call.
  std::optional<grpc::ServerContext> context_;
  std::optional<grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>> responder_;
  grpc::ByteBuffer request_;
  std::shared_ptr<InferCall> infer_;
  TimePoint deadline_ = kNoDeadline;
  std::atomic<int> phase_{0};
  std::atomic<int> holders_{0};
};

}  // namespace switchyard::grpc_listener
