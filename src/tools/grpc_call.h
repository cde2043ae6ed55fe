// Unary gRPC calls by name, with messages and without generated service code.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/impl/client_unary_call.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/impl/rpc_method.h>

#include <chrono>
#include <memory>
#include <string>

#include "base/status.h"
#include "tools/infer_options.h"

namespace switchyard {

// A connection of its own, which no other channel shares; messages of any size.
std::shared_ptr<grpc::Channel> MakeChannel(const ServerAddress& address);
// Blocks until it is connected. UNAVAILABLE after `timeout`, or after 20 s when that is zero or longer.
Status WaitUntilConnected(grpc::Channel& channel, const ServerAddress& address, std::chrono::milliseconds timeout);
// With the code's name before the server's text.
Status FromGrpc(const grpc::Status& status);

// `method` like "/package.Service/Method". A zero `timeout` sets no deadline.
template <typename Request, typename Response>
Status CallUnary(grpc::Channel& channel, const char* method, std::chrono::milliseconds timeout, const Request& request,
                 Response* response) {
  grpc::ClientContext context;
  if (timeout.count() > 0) context.set_deadline(std::chrono::system_clock::now() + timeout);
  const grpc::internal::RpcMethod rpc(method, grpc::internal::RpcMethod::NORMAL_RPC);
  return FromGrpc(grpc::internal::BlockingUnaryCall(&channel, rpc, &context, request, response));
}

}  // namespace switchyard
