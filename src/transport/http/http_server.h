// HTTP/1.1 over TCP and Unix sockets: connections, limits and timeouts. What a request means is its handler's business.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/timer.h"
#include "config/settings.h"
#include "protocol/http/http_message.h"

namespace switchyard {

struct HttpServerOptions {
  std::vector<std::string> hosts = {"127.0.0.1"};  // names, addresses, or "unix:/path"
  uint16_t port = 0;                               // 0: the first host takes a free one, the others the same
  uint32_t workers = 0;                            // threads, each with its own connections; 0: one per core
  uint32_t max_connections = 10000;                // above: 503 and the connection is closed
  uint32_t header_timeout_ms = 10000;  // from a request's first byte (or the connection) to the end of its header: else 408
  uint32_t body_timeout_ms = 60000;    // without any byte of a body arriving (408), or of a reply leaving
  uint32_t idle_timeout_ms = 300000;   // between requests
  uint64_t max_body_bytes = uint64_t{1} << 30;  // else 413, before anything is read when Content-Length says so
  CorsSettings cors;

  static HttpServerOptions From(const ServerSettings& settings);
};

// Header fields of a request may have this many bytes together, else 431.
inline constexpr uint32_t kMaxHeaderBytes = 64 * 1024;

class HttpServer {
 public:
  // Listens when it returns. `handler` must outlive the server and every responder. Errors: InvalidArgument for a host that is
  // none, Unavailable for an address that is taken; both name it. A socket file that nobody listens on is replaced.
  static StatusOr<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options, HttpHandler& handler);
  // Closes every connection and cancels what is in flight.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // "host:port" as bound, of the first host that is not a Unix socket; "unix:/path" when all are.
  const std::string& address() const;
  // Takes no new connections, closes idle ones, answers what is in flight with "Connection: close". Blocks until no connection
  // is left, at most until `deadline` (of steady_clock). True if none is.
  bool Drain(TimePoint deadline);

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace switchyard
