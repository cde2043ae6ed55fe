// Takes connections of one address and hands them to the workers in turn.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "transport/http/worker.h"

namespace switchyard {

class Listener {
 public:
  virtual ~Listener() = default;
  // "host:port" or "unix:/path", as bound.
  virtual std::string address() const = 0;
  // The port as bound; 0 for a Unix socket.
  virtual uint16_t port() const = 0;
  // The first accept; further ones follow by themselves. Does nothing while one is under way.
  virtual void Accept() = 0;
  // On the thread of workers[0].
  virtual void Close() = 0;
};

using Workers = std::vector<std::shared_ptr<Worker>>;

// `host` is a name, an address or "unix:/path"; port 0 takes a free one. Accepts on the thread of workers[0].
StatusOr<std::shared_ptr<Listener>> Listen(const std::string& host, uint16_t port, std::shared_ptr<ServerState> state,
                                           Workers workers);

}  // namespace switchyard
