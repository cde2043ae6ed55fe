// A request and a reply of HTTP as plain values: what transport/http hands to the protocols and takes from them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <absl/functional/any_invocable.h>

#include "protocol/frame.h"
#include "tensor/buffer.h"

namespace switchyard {

// Readable bytes behind every body, of any value: the JSON parser loads whole registers.
inline constexpr size_t kBodyPadding = 64;
// No header of KServe's binary extension says a JSON part longer than this, so that offsets cannot overflow.
inline constexpr uint64_t kMaxJsonLength = uint64_t{1} << 62;

// `size` bytes at `offset` of `memory`, with kBodyPadding allocated bytes behind them.
struct HttpBody {
  Buffer memory;
  size_t offset = 0;
  size_t size = 0;

  const char* data() const { return memory ? reinterpret_cast<const char*>(memory.data()) + offset : ""; }
  std::string_view view() const { return {data(), size}; }
};

// Where in its memory a body starts so that what follows its first `json_length` bytes lies on kBufferAlignment.
inline size_t BodyOffset(uint64_t json_length) {
  return static_cast<size_t>((kBufferAlignment - json_length % kBufferAlignment) % kBufferAlignment);
}

struct HttpRequest {
  std::string method;  // "GET"
  std::string target;  // as it came: percent-encoded, with its query
  std::string content_encoding;
  std::string accept_encoding;
  std::optional<std::string> inference_header_length;  // Inference-Header-Content-Length
  HttpBody body;
  // W3C's trace context and X-Request-Id. A field that came twice has both values, with a comma between.
  std::string traceparent;
  std::string tracestate;
  std::string request_id;
};

struct HttpReply {
  int code = 200;
  std::string_view content_type;  // of static storage; empty: none
  std::string headers;            // further ones, "Name: value\r\n" each
  Frame body;
};

// The way back to the client of one request. Kept alive by whoever will reply. Where there is no memory for it, or `work`
// throws, the client is told so (503) and the connection is closed.
class HttpResponder {
 public:
  // Exactly once, from any thread.
  virtual void Reply(HttpReply reply) = 0;
  // Runs `work` on the thread of the connection: at once when called there, else soon. It is dropped when the server stops
  // first.
  virtual void Run(absl::AnyInvocable<void()> work) = 0;
  // `cancel` runs when the client went away before the reply, on the thread of the connection. To be called within
  // HttpHandler::Handle only.
  virtual void OnClientGone(absl::AnyInvocable<void()> cancel) = 0;

 protected:
  ~HttpResponder() = default;
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // On the thread of the connection; must not block. May reply before it returns.
  virtual void Handle(HttpRequest request, std::shared_ptr<HttpResponder> responder) = 0;
};

}  // namespace switchyard
