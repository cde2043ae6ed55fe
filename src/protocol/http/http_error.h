// The one form of every error over REST: {"error":"<text>"}.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "protocol/http/http_message.h"

namespace switchyard {

inline constexpr std::string_view kJsonType = "application/json";
inline constexpr std::string_view kBinaryType = "application/octet-stream";

// `text` may hold any bytes; what is not UTF-8 is replaced.
HttpReply ErrorReply(int code, std::string_view text);
// With HttpCode's code.
HttpReply ErrorReply(const Status& status);
HttpReply JsonReply(std::string json);

}  // namespace switchyard
