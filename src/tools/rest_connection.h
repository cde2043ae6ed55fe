// A keep-alive HTTP/1.1 connection for one caller.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "tools/infer_options.h"

namespace switchyard {

struct RestReply {
  std::string body;
  // Of a body with KServe's binary extension: how many bytes its JSON has. The whole body otherwise.
  size_t json_size = 0;
};

class RestConnection {
 public:
  // A zero `timeout` waits without limit.
  RestConnection(const ServerAddress& address, std::chrono::milliseconds timeout);
  ~RestConnection();

  Status Connect();
  // A body that is not empty makes it a POST. `json_size` other than 0 is sent as Inference-Header-Content-Length. The caller
  // keeps `body` until the return. A connection that the server closed since the last call is made again. Errors: UNAVAILABLE,
  // DEADLINE_EXCEEDED, and UNKNOWN with the server's code and text for every answer but 2xx.
  StatusOr<RestReply> Call(const std::string& target, std::string_view body, size_t json_size);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Percent-encodes everything that may not stand in one segment of a path.
std::string PathSegment(std::string_view text);

}  // namespace switchyard
