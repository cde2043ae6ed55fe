// Bodies and responders for tests of the REST codecs.
#pragma once

#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/http/http_message.h"

namespace switchyard {

// As the listener would have placed it. Nothing but what the contract asks for lies behind its end, so that sanitizers see
// reads beyond.
inline HttpBody MakeBody(std::string_view text, uint64_t json_length = 0) {
  HttpBody body;
  body.offset = BodyOffset(json_length);
  body.size = text.size();
  body.memory = Buffer::Allocate(body.offset + text.size() + kBodyPadding);
  std::memset(body.memory.data(), '7', body.memory.size());
  if (!text.empty()) std::memcpy(body.memory.data() + body.offset, text.data(), text.size());
  return body;
}

// Keeps the reply; work runs at once.
class TestResponder final : public HttpResponder {
 public:
  void Reply(HttpReply reply) override { replies.push_back(std::move(reply)); }
  void Run(absl::AnyInvocable<void()> work) override { work(); }
  void OnClientGone(absl::AnyInvocable<void()> gone) override { cancel = std::move(gone); }

  std::vector<HttpReply> replies;
  absl::AnyInvocable<void()> cancel;
};

}  // namespace switchyard
