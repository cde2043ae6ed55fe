// Server reflection, grpc.reflection.v1 and v1alpha, on the listener's own completion queues. (gRPC 1.51's own knows v1alpha
// alone, and brings threads that poll every connection of the server.)
#pragma once

#include <google/protobuf/descriptor.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/service_type.h>

#include <string>
#include <vector>

#include "transport/grpc/call_context.h"

namespace switchyard::grpc_listener {

class ReflectionCall;

// One version of the service. Tells of what is compiled into this program, from protobuf's own pool. Thread-safe.
class ReflectionService final : public grpc::Service {
 public:
  // The services of reflection itself: each is to be served by an object of its own.
  static std::vector<const google::protobuf::ServiceDescriptor*> Versions();

  // `names`: the services of the server, as clients are told.
  ReflectionService(CallContext& context, const google::protobuf::ServiceDescriptor& version, std::vector<std::string> names);

  // Begins to take calls from `queue`. They end when the client or the server ends them.
  void Open(grpc::ServerCompletionQueue& queue);
  const ArmingGate& gate() const { return gate_; }

 private:
  friend class ReflectionCall;

  // Has a call object wait, unless the server stops.
  void Arm(grpc::ServerCompletionQueue& queue);
  void RequestInfo(grpc::ServerContext& context, grpc::internal::ServerAsyncStreamingInterface& stream,
                   grpc::ServerCompletionQueue& queue, Event& event) {
    RequestAsyncBidiStreaming(0, &context, &stream, &queue, &queue, &event);
  }

  CallContext& context_;
  ArmingGate gate_;
  const std::string path_;  // gRPC refers to it
  const std::vector<std::string> names_;
};

}  // namespace switchyard::grpc_listener
