// grpc.health.v1 on the listener's own completion queues. (gRPC's built-in health service brings a completion queue with
// threads that poll every connection of the server: a fifth of the cost of a small call.)
#pragma once

#include <absl/base/thread_annotations.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/service_type.h>

#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "transport/grpc/call_context.h"

namespace switchyard::grpc_listener {

class WatchCall;

// Knows the state of the server, which is the state of each of its services, and the watchers to be told. Thread-safe.
class HealthService final : public grpc::Service {
 public:
  static constexpr char kName[] = "grpc.health.v1.Health";

  // `names`: the services that Check and Watch know, besides "" for the server.
  HealthService(CallContext& context, std::vector<std::string> names);

  // Begins to take calls from `queue`. Watchers end when the server cancels their calls.
  void Open(grpc::ServerCompletionQueue& queue);
  void SetServing(bool serving);
  const ArmingGate& gate() const { return gate_; }

 private:
  friend class CheckCall;
  friend class WatchCall;

  bool Knows(const std::string& name) const;
  // Has a call object wait, unless the server stops.
  template <typename Call>
  void Arm(grpc::ServerCompletionQueue& queue) {
    if (!gate_.Enter(context_.stopping)) return;
    new Call(*this, queue);
    gate_.Leave();
  }
  void RequestCheck(grpc::ServerContext& context, grpc::ByteBuffer& request,
                    grpc::internal::ServerAsyncStreamingInterface& responder, grpc::ServerCompletionQueue& queue,
                    Event& event) {
    RequestAsyncUnary(0, &context, &request, &responder, &queue, &queue, &event);
  }
  void RequestWatch(grpc::ServerContext& context, grpc::ByteBuffer& request,
                    grpc::internal::ServerAsyncStreamingInterface& writer, grpc::ServerCompletionQueue& queue, Event& event) {
    RequestAsyncServerStreaming(1, &context, &request, &writer, &queue, &queue, &event);
  }

  CallContext& context_;
  ArmingGate gate_;
  const std::vector<std::string> names_;
  Mutex mutex_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<WatchCall*> watchers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace switchyard::grpc_listener
