#include "transport/http/request_parser.h"

#include <algorithm>
#include <string_view>

#include <boost/beast/http/error.hpp>
#include <fmt/format.h>

#include "config/text.h"
#include "transport/http/http_server.h"

namespace switchyard {
namespace http = boost::beast::http;

namespace {

// A name or an address, with a port or without; also none at all.
bool IsHost(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](unsigned char c) {
    constexpr std::string_view kOthers = "-._~%!$&'()*+,;=:[]";
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || kOthers.find(c) != kOthers.npos;
  });
}

}  // namespace

uint64_t JsonLengthOf(const HttpRequest& request) {
  uint64_t length = 0;
  if (!request.inference_header_length) return 0;
  for (const char c : *request.inference_header_length) {
    // A faulty value is the codec's to refuse; here it only places the body.
    if (c < '0' || c > '9' || length > kMaxJsonLength / 16) return 0;
    length = length * 10 + static_cast<uint64_t>(c - '0');
  }
  return length;
}

bool SaysVersion(std::string_view input) {
  constexpr std::string_view kName = " HTTP/";
  const std::string_view line = input.substr(0, input.find("\r\n"));
  const size_t at = line.rfind(kName);
  if (at == line.npos || line.size() != at + kName.size() + 3) return false;
  const std::string_view version = line.substr(at + kName.size());
  return version[0] >= '0' && version[0] <= '9' && version[1] == '.' && version[2] >= '0' && version[2] <= '9';
}

RequestParser::RequestParser(BodySink& sink, uint64_t max_body_bytes) : sink_(sink) {
  header_limit(kMaxHeaderBytes);
  body_limit(max_body_bytes);
}

void RequestParser::on_request_impl(http::verb verb, View method, View target, int version, ErrorCode&) {
  request.method.assign(method.data(), method.size());
  request.target.assign(target.data(), target.size());
  is_options = verb == http::verb::options;
  http11 = version >= 11;
}

void RequestParser::on_field_impl(http::field name, View name_text, View value, ErrorCode&) {
  // A trailer of a chunked body must not change how the request is read.
  if (header_done_) return;
  switch (name) {
    case http::field::content_encoding:
      if (value.empty()) return;  // RFC 9110, 5.6.1: lists may have such
      if (!request.content_encoding.empty()) request.content_encoding += ", ";
      request.content_encoding.append(value.data(), value.size());
      return;
    case http::field::accept_encoding:
      if (!request.accept_encoding.empty()) request.accept_encoding += ", ";
      request.accept_encoding.append(value.data(), value.size());
      return;
    case http::field::host:
      ++hosts_;
      host_readable_ = host_readable_ && IsHost({value.data(), value.size()});
      return;
    case http::field::transfer_encoding:
      if (!transfer_encoding_) {
        transfer_encoding_.emplace();
      } else {
        *transfer_encoding_ += ", ";
      }
      transfer_encoding_->append(value.data(), value.size());
      return;
    case http::field::origin:
      origin.assign(value.data(), value.size());
      return;
    case http::field::expect:
      if (!value.empty()) expect.emplace(value.data(), value.size());
      return;
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
  json_lengths_ += 1;
  request.inference_header_length.emplace(value.data(), value.size());
}

std::optional<HeaderFault> RequestParser::Fault() const {
  if (hosts_ > 1 || (hosts_ == 0 && http11)) {
    return HeaderFault{400, fmt::format("Expected one Host header; Actual: {}", hosts_ == 0 ? "none" : "several")};
  }
  if (!host_readable_) return HeaderFault{400, "The Host header is no name or address with a port or without"};
  if (json_lengths_ > 1) return HeaderFault{400, "Expected one Inference-Header-Content-Length header; Actual: several"};
  return transfer_encoding_ ? FaultOfTransferEncoding() : std::nullopt;
}

std::optional<HeaderFault> RequestParser::FaultOfTransferEncoding() const {
  if (!http11) return HeaderFault{400, "HTTP/1.0 has no Transfer-Encoding"};
  if (content_length())
    return HeaderFault{400, "Transfer-Encoding and Content-Length leave open where the body ends; send one"};
  int codings = 0;
  bool last_is_chunked = false, chunked_before = false;
  for (std::string_view coding : Split(*transfer_encoding_, ',')) {
    coding = Trim(coding);
    if (coding.empty()) continue;  // RFC 9110, 5.6.1: lists may have such
    ++codings;
    chunked_before = chunked_before || last_is_chunked;
    last_is_chunked = boost::beast::iequals(View(coding.data(), coding.size()), "chunked");
  }
  if (!last_is_chunked || chunked_before) {
    return HeaderFault{400,
                       fmt::format("Transfer-Encoding: {} leaves open where the body ends; expected chunked, once and last",
                                   *transfer_encoding_)};
  }
  if (codings > 1) {
    return HeaderFault{501, fmt::format("Transfer-Encoding: {} is not implemented; send chunked alone, and compress by "
                                        "Content-Encoding",
                                        *transfer_encoding_)};
  }
  // Beast, which will read the body, must see it the same way.
  if (!chunked()) return HeaderFault{400, fmt::format("Transfer-Encoding: {} cannot be read", *transfer_encoding_)};
  return std::nullopt;
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
