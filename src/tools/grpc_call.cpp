#include "tools/grpc_call.h"

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>

namespace switchyard {
namespace {

std::string ChannelTarget(const ServerAddress& address) {
  if (!address.unix_path.empty()) return "unix:" + address.unix_path;
  const bool v6 = address.host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", address.host, address.port) : fmt::format("{}:{}", address.host, address.port);
}

std::string_view CodeName(grpc::StatusCode code) {
  constexpr std::string_view kNames[] = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  return code >= 0 && static_cast<size_t>(code) < std::size(kNames) ? kNames[code] : "UNKNOWN";
}

}  // namespace

std::shared_ptr<grpc::Channel> MakeChannel(const ServerAddress& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY,
                   0);  // a proxy that the environment names is rarely meant for a server under test
  return grpc::CreateCustomChannel(ChannelTarget(address), grpc::InsecureChannelCredentials(), arguments);
}

Status WaitUntilConnected(grpc::Channel& channel, const ServerAddress& address, std::chrono::milliseconds timeout) {
  constexpr std::chrono::milliseconds kLongest{20000};
  const auto limit = timeout.count() > 0 ? std::min(timeout, kLongest) : kLongest;
  if (channel.WaitForConnected(std::chrono::system_clock::now() + limit)) return absl::OkStatus();
  return Error(StatusCode::kUnavailable, "UNAVAILABLE: no gRPC server answers on {} within {} ms", ChannelTarget(address),
               limit.count());
}

Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return Error(static_cast<StatusCode>(status.error_code()), "{}: {}", CodeName(status.error_code()), status.error_message());
}

}  // namespace switchyard
