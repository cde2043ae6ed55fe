#include "transport/http/request_parser.h"

#include <boost/beast/http/error.hpp>

#include "transport/http/http_server.h"

namespace switchyard {
namespace http = boost::beast::http;

RequestParser::RequestParser(BodySink& sink, uint64_t max_body_bytes) : sink_(sink) {
  header_limit(kMaxHeaderBytes);
  body_limit(max_body_bytes);
}

void RequestParser::on_request_impl(http::verb, View method, View target, int version, ErrorCode&) {
  request.method.assign(method.data(), method.size());
  request.target.assign(target.data(), target.size());
  http11 = version >= 11;
}

void RequestParser::on_field_impl(http::field name, View name_text, View value, ErrorCode& ec) {
  // A trailer of a chunked body must not change how the request is read.
  if (header_done_) return;
  switch (name) {
    case http::field::content_encoding:
      if (!request.content_encoding.empty()) request.content_encoding += ", ";
      request.content_encoding.append(value.data(), value.size());
      return;
    case http::field::accept_encoding:
      if (!request.accept_encoding.empty()) request.accept_encoding += ", ";
      request.accept_encoding.append(value.data(), value.size());
      return;
    case http::field::expect: expect.emplace(value.data(), value.size()); return;
    case http::field::unknown: break;
    default: return;
  }
  // By length first: most unknown fields are none of these.
  std::string* const text = name_text.size() == 11 && boost::beast::iequals(name_text, "traceparent")    ? &request.traceparent
                            : name_text.size() == 10 && boost::beast::iequals(name_text, "tracestate")   ? &request.tracestate
                            : name_text.size() == 12 && boost::beast::iequals(name_text, "x-request-id") ? &request.request_id
                                                                                                         : nullptr;
  if (text != nullptr) {
    if (!text->empty()) *text += ',';
    text->append(value.data(), value.size());
    return;
  }
  if (!boost::beast::iequals(name_text, "Inference-Header-Content-Length")) return;
  // Two values would leave open where the JSON ends.
  if (request.inference_header_length) {
    ec = http::error::bad_field;
    return;
  }
  request.inference_header_length.emplace(value.data(), value.size());
}

void RequestParser::on_header_impl(ErrorCode&) { header_done_ = true; }

std::size_t RequestParser::on_body_impl(View body, ErrorCode&) {
  sink_.AppendBody(body.data(), body.size());
  return body.size();
}

std::size_t RequestParser::on_chunk_body_impl(std::uint64_t, View body, ErrorCode&) {
  sink_.AppendBody(body.data(), body.size());
  return body.size();
}

}  // namespace switchyard
