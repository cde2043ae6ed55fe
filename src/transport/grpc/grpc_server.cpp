#include "transport/grpc/grpc_server.h"

#include <absl/strings/str_replace.h>
#include <fmt/ranges.h>
#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string_view>
#include <thread>

#include "base/log.h"
#include "base/mutex.h"
#include "base/socket_file.h"
#include "base/thread_name.h"
#include "device/cpu_facts.h"
#include "transport/grpc/call_context.h"
#include "transport/grpc/health.h"
#include "transport/grpc/reflection.h"

namespace switchyard {
namespace {

using grpc_listener::CallContext;
using grpc_listener::Event;
using grpc_listener::HealthService;
using grpc_listener::MethodPort;
using grpc_listener::RawService;
using grpc_listener::ReflectionService;

// Call objects that wait per queue: of inferences, of everything else. Fewer than half: more are made.
constexpr int kWaitingInferences = 64;
constexpr int kWaitingStreams = 4;
constexpr int kWaitingControls = 2;

constexpr std::string_view kUnixPrefix = "unix:";

bool IsUnix(const std::string& host) { return host.starts_with(kUnixPrefix); }

std::string AddressOf(const std::string& host, int port) {
  if (IsUnix(host)) return host;
  const bool bare_ipv6 = host.find(':') != std::string::npos && host.front() != '[';
  return bare_ipv6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

// gRPC takes what it is to listen on for percent-encoded; a socket's path is not.
std::string EncodedAddressOf(const std::string& host, int port) {
  return absl::StrReplaceAll(AddressOf(host, port), {{"%", "%25"}});
}

// Any client could fill the log with what gRPC says of garbage on its port; and what concerns us comes back as an error anyway.
void LogOfGrpc(gpr_log_func_args* args) { LogDebug("gRPC: {} ({}:{})", args->message, args->file, args->line); }

std::vector<std::string> NamesOf(const std::vector<RpcService>& tables) {
  std::vector<std::string> names;
  for (const RpcService& table : tables) names.push_back(table.name);
  return names;
}

int ClampToInt(uint64_t value) { return static_cast<int>(std::min<uint64_t>(value, std::numeric_limits<int>::max())); }

}  // namespace

class GrpcServer::Impl {
 public:
  Impl(const Manager& manager, const Timer& timer, std::vector<RpcService> services, ModelControl* control)
      : context_(manager, timer), tables_(std::move(services)), health_(context_, NamesOf(tables_)) {
    context_.control = control;
    std::vector<std::string> names = NamesOf(tables_);
    names.emplace_back(HealthService::kName);
    for (const auto* const version : ReflectionService::Versions()) names.push_back(version->full_name());
    for (const auto* const version : ReflectionService::Versions()) {
      reflection_.push_back(std::make_unique<ReflectionService>(context_, *version, names));
    }
  }
  ~Impl() { Drain(context_.timer.Now()); }

  Status Start(const Options& options);
  void SetServing(bool serving);
  void Drain(TimePoint deadline);

  const std::vector<std::string>& addresses() const { return addresses_; }
  size_t in_flight() const { return context_.in_flight.load(); }

 private:
  void Configure(const Options& options, grpc::ServerBuilder& builder);
  void OpenPorts();
  void Poll(grpc::ServerCompletionQueue& queue);
  void ShutDownServer(TimePoint deadline);

  CallContext context_;
  const std::vector<RpcService> tables_;
  HealthService health_;
  std::vector<std::unique_ptr<ReflectionService>> reflection_;  // one per version
  std::vector<std::string> addresses_;
  std::vector<std::unique_ptr<RawService>> services_;  // one per table
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues_;
  std::unique_ptr<grpc::Server> server_;
  std::vector<std::unique_ptr<MethodPort>> ports_;
  std::vector<std::thread> threads_;
  bool drained_ = false;
};

void GrpcServer::Impl::Configure(const Options& options, grpc::ServerBuilder& builder) {
  // Two servers on one port would share its calls at random; the second one must fail instead.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  for (const auto& [name, value] : options.channel_arguments) {
    if (const int* number = std::get_if<int>(&value)) {
      builder.AddChannelArgument(name, *number);
    } else {
      builder.AddChannelArgument(name, std::get<std::string>(value));
    }
  }
  builder.SetMaxReceiveMessageSize(ClampToInt(options.max_message_bytes));
  builder.SetMaxSendMessageSize(-1);
  if (options.memory_quota > 0) {
    grpc::ResourceQuota quota("switchyard");
    quota.Resize(options.memory_quota);
    builder.SetResourceQuota(quota);
  }
  builder.RegisterService(&health_);
  for (const auto& reflection : reflection_) builder.RegisterService(reflection.get());
  for (const RpcService& table : tables_) {
    services_.push_back(std::make_unique<RawService>(table));
    builder.RegisterService(services_.back().get());
  }
  const uint32_t queues = std::max({1u, options.workers, UsableProcessors()});
  for (uint32_t i = 0; i < queues; ++i) queues_.push_back(builder.AddCompletionQueue());
}

Status GrpcServer::Impl::Start(const Options& options) {
  if (options.hosts.empty()) return InvalidArgument("The gRPC listener needs at least one address to listen on");
  // gRPC itself would take the file of a server that listens there, and remove it at its end.
  for (const std::string& host : options.hosts) {
    if (IsUnix(host)) SY_RETURN_IF_ERROR(ClearSocketFile(host.substr(kUnixPrefix.size())));
  }
  gpr_set_log_function(LogOfGrpc);
  grpc::EnableDefaultHealthCheckService(false);
  grpc::ServerBuilder builder;
  std::vector<int> bound(options.hosts.size(), 0);
  for (size_t i = 0; i < options.hosts.size(); ++i) {
    builder.AddListeningPort(EncodedAddressOf(options.hosts[i], options.port), grpc::InsecureServerCredentials(), &bound[i]);
  }
  Configure(options, builder);
  server_ = builder.BuildAndStart();
  std::vector<std::string> wanted;
  for (const std::string& host : options.hosts) wanted.push_back(AddressOf(host, options.port));
  if (server_ == nullptr || std::count(bound.begin(), bound.end(), 0) > 0) {
    return Error(StatusCode::kUnavailable,
                 "gRPC cannot listen on {}: an address is taken, not of this machine, or not "
                 "allowed; choose "
                 "another --port or --grpc_bind_address",
                 fmt::join(wanted, ", "));
  }
  for (size_t i = 0; i < options.hosts.size(); ++i) addresses_.push_back(AddressOf(options.hosts[i], bound[i]));
  OpenPorts();
  for (const auto& queue : queues_) threads_.emplace_back([this, &queue = *queue] { Poll(queue); });
  return absl::OkStatus();
}

void GrpcServer::Impl::OpenPorts() {
  health_.Open(*queues_.front());
  for (const auto& reflection : reflection_) reflection->Open(*queues_.front());
  const auto open = [&](size_t service, int index, const ControlMethod* control, const InferMethod* infer,
                        const CommandMethod* command) {
    for (const auto& queue : queues_) {
      auto port =
          std::unique_ptr<MethodPort>(new MethodPort{context_, *services_[service], index, *queue, control, infer, command});
      port->most = infer == nullptr ? kWaitingControls : port->streaming() ? kWaitingStreams : kWaitingInferences;
      port->least = std::max(1, port->most / 2);
      port->Fill();
      ports_.push_back(std::move(port));
    }
  };
  for (size_t service = 0; service < tables_.size(); ++service) {
    // In the order in which RawService added them.
    int index = 0;
    for (const ControlMethod& method : tables_[service].control) open(service, index++, &method, nullptr, nullptr);
    for (const InferMethod& method : tables_[service].infer) open(service, index++, nullptr, &method, nullptr);
    for (const CommandMethod& method : tables_[service].commands) open(service, index++, nullptr, nullptr, &method);
  }
}

void GrpcServer::Impl::Poll(grpc::ServerCompletionQueue& queue) {
  NameThread("sy-grpc");
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) static_cast<Event*>(tag)->Run(ok);
}

void GrpcServer::Impl::SetServing(bool serving) { health_.SetServing(serving); }

void GrpcServer::Impl::ShutDownServer(TimePoint deadline) {
  const Duration grace = std::max(Duration::zero(), deadline - context_.timer.Now());
  const auto until = std::chrono::system_clock::now() + std::min<Duration>(grace, std::chrono::hours(24));
  Notification done;
  std::thread shutdown([&] {
    server_->Shutdown(until);
    done.Notify();
  });
  // Shutdown waits for every call, also for those of the health and reflection services, which a client may keep open for ever.
  while (!done.WaitFor(std::chrono::milliseconds(200))) {
    if (context_.in_flight.load() == 0) grpc_server_cancel_all_calls(server_->c_server());
  }
  shutdown.join();
}

void GrpcServer::Impl::Drain(TimePoint deadline) {
  if (drained_) return;
  drained_ = true;
  context_.stopping.store(true);
  if (server_ != nullptr) {
    for (const auto& port : ports_) port->gate.WaitUntilEmpty();
    health_.gate().WaitUntilEmpty();
    for (const auto& reflection : reflection_) reflection->gate().WaitUntilEmpty();
    SetServing(false);
    context_.EndStreams();
    ShutDownServer(deadline);
    context_.WaitUntilAllDied();
  }
  for (const auto& queue : queues_) queue->Shutdown();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  // A queue may go only when it is empty, also when the start failed before any thread was there.
  for (const auto& queue : queues_) Poll(*queue);
}

GrpcServer::Options GrpcServer::FromSettings(const ServerSettings& settings) {
  return {.hosts = settings.grpc.hosts,
          .port = settings.grpc.port,
          .workers = settings.grpc_workers,
          .memory_quota = settings.grpc_memory_quota,
          .max_message_bytes = settings.grpc_max_message_bytes,
          .channel_arguments = settings.grpc_channel_arguments};
}

StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(Options options, const Manager& manager, const Timer& timer,
                                                        std::vector<RpcService> services, ModelControl* control) {
  auto impl = std::make_unique<Impl>(manager, timer, std::move(services), control);
  SY_RETURN_IF_ERROR(impl->Start(options));
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GrpcServer::~GrpcServer() = default;

const std::vector<std::string>& GrpcServer::addresses() const { return impl_->addresses(); }
void GrpcServer::SetServing(bool serving) { impl_->SetServing(serving); }
void GrpcServer::Drain(TimePoint deadline) { impl_->Drain(deadline); }
size_t GrpcServer::calls_in_flight() const { return impl_->in_flight(); }

}  // namespace switchyard
