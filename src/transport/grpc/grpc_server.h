// The gRPC listener: sockets, threads, health, reflection and the life of calls. What the calls mean comes as tables of
// methods.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"
#include "base/timer.h"
#include "config/settings.h"
#include "control/model_control.h"
#include "protocol/rpc_service.h"
#include "serving/manager.h"

namespace switchyard {

class GrpcServer {
 public:
  struct Options {
    // Host names, IPv4 or IPv6 addresses, or "unix:/path" for a socket file (the port does not matter to it).
    std::vector<std::string> hosts = {"0.0.0.0"};
    uint16_t port = 0;  // 0: a free one; with several hosts, each has a port of its own then
    // Completion queues, each with a thread of its own; never fewer than cores: threads that share a queue wake one another.
    uint32_t workers = 1;
    uint64_t memory_quota = 0;                       // bytes that gRPC may hold for messages; 0: no limit
    uint64_t max_message_bytes = uint64_t{1} << 30;  // a longer request is RESOURCE_EXHAUSTED
    std::vector<std::pair<std::string, std::variant<int, std::string>>> channel_arguments;
  };
  static Options FromSettings(const ServerSettings& settings);

  // Listens and serves when it returns; grpc.health.v1 says NOT_SERVING until SetServing(true). `manager` and `timer` must
  // outlive the server, as must `control`, which answers commands (null: they are refused). Unavailable: an address cannot be
  // listened on (it is taken, for example). A socket file that nobody listens on is replaced.
  static StatusOr<std::unique_ptr<GrpcServer>> Start(Options options, const Manager& manager, const Timer& timer,
                                                     std::vector<RpcService> services, ModelControl* control = nullptr);
  // Drains at once, when Drain was not called.
  ~GrpcServer();

  // Where it listens, with real ports: "0.0.0.0:9000", "[::1]:9000", "unix:/path". One for each host.
  const std::vector<std::string>& addresses() const;
  const std::string& address() const { return addresses().front(); }

  // What grpc.health.v1 answers, for the server as a whole and for each service. Thread-safe.
  void SetServing(bool serving);

  // Takes no new calls, lets those in flight finish until `deadline` (of the timer's clock), then cancels them. Streams end
  // after the answers to what they had sent. Blocks; afterwards no thread and no call of the server is left. Only the first
  // call counts.
  void Drain(TimePoint deadline);

  // Calls that were taken and not yet answered, streams included. For tests and metrics.
  size_t calls_in_flight() const;

 private:
  class Impl;
  explicit GrpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace switchyard
