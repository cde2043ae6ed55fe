#include "transport/http/http_server.h"

#include <algorithm>
#include <thread>
#include <tuple>
#include <utility>

#include "device/cpu_facts.h"
#include "transport/http/listener.h"

namespace switchyard {

HttpServerOptions HttpServerOptions::From(const ServerSettings& settings) {
  HttpServerOptions options;
  options.hosts = settings.rest.hosts;
  options.port = settings.rest.port;
  options.workers = settings.rest_workers;
  options.max_connections = settings.max_connections;
  options.header_timeout_ms = settings.header_timeout_ms;
  options.body_timeout_ms = settings.body_timeout_ms;
  options.max_body_bytes = settings.max_body_bytes;
  options.cors = settings.cors;
  return options;
}

struct HttpServer::Impl {
  std::shared_ptr<ServerState> state;
  Workers workers;
  std::vector<std::shared_ptr<Listener>> listeners;
  std::string address;

  Status Open() {
    uint16_t port = state->options.port;
    for (const std::string& host : state->options.hosts) {
      SY_ASSIGN_OR_RETURN(std::shared_ptr<Listener> listener, Listen(host, port, state, workers));
      const bool local = listener->port() == 0;
      if (!local) port = listener->port();
      if (address.empty() || (!local && address.starts_with("unix:"))) address = listener->address();
      listeners.push_back(std::move(listener));
    }
    if (listeners.empty()) return InvalidArgument("There is no address to listen on for REST");
    return Status();
  }

  void CloseListeners() {
    for (const auto& listener : listeners) {
      std::ignore = workers[0]->Post([listener] { listener->Close(); });  // without memory it ends with its worker
    }
  }

  ~Impl() {
    state->draining = true;
    CloseListeners();
    for (const auto& worker : workers) worker->Stop();
  }
};

StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options, HttpHandler& handler) {
  auto impl = std::make_unique<Impl>();
  impl->state = std::make_shared<ServerState>(options, handler);
  const uint32_t cores = UsableProcessors();
  const uint32_t workers = options.workers != 0 ? options.workers : cores;
  for (uint32_t i = 0; i < workers; ++i) impl->workers.push_back(std::make_shared<Worker>(impl->state));
  SY_RETURN_IF_ERROR(impl->Open());
  // A listener whose next step was lost for want of memory takes it again.
  impl->workers[0]->OnFault([listeners = impl->listeners] {
    for (const auto& listener : listeners) listener->Accept();
  });
  for (const auto& worker : impl->workers) worker->StartThread();
  for (const auto& listener : impl->listeners) {
    if (!impl->workers[0]->Post([listener] { listener->Accept(); })) {
      return Error(StatusCode::kResourceExhausted, "There is no memory to listen on {}", listener->address());
    }
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

const std::string& HttpServer::address() const { return impl_->address; }

bool HttpServer::Drain(TimePoint deadline) {
  ServerState& state = *impl_->state;
  state.draining = true;
  impl_->CloseListeners();
  for (const auto& worker : impl_->workers) {
    // Without memory they end with the deadline.
    std::ignore = worker->Post([worker] { worker->DrainConnections(); });
  }
  std::unique_lock lock(state.mutex);
  return state.none_left.wait_until(lock, deadline, [&] { return state.connections.load() == 0; });
}

}  // namespace switchyard
