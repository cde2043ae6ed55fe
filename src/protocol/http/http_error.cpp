#include "protocol/http/http_error.h"

#include <utility>

#include "protocol/http/json_writer.h"

namespace switchyard {

HttpReply ErrorReply(int code, std::string_view text) {
  HttpReply reply = JsonReply("");
  reply.code = code;
  std::string body = "{\"error\":";
  AppendJsonString(body, text);
  body += '}';
  reply.body = Frame(std::move(body));
  return reply;
}

HttpReply ErrorReply(const Status& status) { return ErrorReply(HttpCode(status.code()), Message(status)); }

HttpReply JsonReply(std::string json) {
  HttpReply reply;
  reply.content_type = kJsonType;
  reply.body = Frame(std::move(json));
  return reply;
}

}  // namespace switchyard
