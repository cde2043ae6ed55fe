// Beast's parser, keeping only what the server needs of a header.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/beast/http/basic_parser.hpp>

#include "protocol/http/http_message.h"

namespace switchyard {

// Takes a body's bytes as the parser finds them; used for chunked bodies only.
class BodySink {
 public:
  virtual void AppendBody(const char* data, size_t size) = 0;

 protected:
  ~BodySink() = default;
};

// Why a request whose header Beast takes is refused nevertheless.
struct HeaderFault {
  int code = 400;
  std::string text;
};

// What Inference-Header-Content-Length says; 0 without it, and for what is no length of JSON.
uint64_t JsonLengthOf(const HttpRequest& request);

// Does the first line of `input` end with a version of HTTP, whichever?
bool SaysVersion(std::string_view input);

class RequestParser final : public boost::beast::http::basic_parser<true> {
 public:
  RequestParser(BodySink& sink, uint64_t max_body_bytes);

  // Once the header is there. Where a body ends must be certain: what one side takes for a body, and the other for the next
  // request, is how requests are smuggled past a proxy (RFC 9112, 6.1 and 6.3); the Host, which must be there once (3.2). The
  // connection is of no use after a fault.
  std::optional<HeaderFault> Fault() const;

  HttpRequest request;
  std::optional<std::string> expect;
  std::string origin;       // empty but for pages of browsers
  bool is_options = false;  // the method
  bool http11 = false;

 private:
  using ErrorCode = boost::beast::error_code;
  using View = boost::beast::string_view;

  void on_request_impl(boost::beast::http::verb, View method, View target, int version, ErrorCode& ec) override;
  void on_response_impl(int, View, int, ErrorCode&) override {}
  void on_field_impl(boost::beast::http::field name, View name_text, View value, ErrorCode& ec) override;
  void on_header_impl(ErrorCode& ec) override;
  void on_body_init_impl(const boost::optional<std::uint64_t>&, ErrorCode&) override {}
  std::size_t on_body_impl(View body, ErrorCode& ec) override;
  void on_chunk_header_impl(std::uint64_t, View, ErrorCode&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t remain, View body, ErrorCode& ec) override;
  void on_finish_impl(ErrorCode&) override {}

  std::optional<HeaderFault> FaultOfTransferEncoding() const;

  BodySink& sink_;
  bool header_done_ = false;
  std::optional<std::string> transfer_encoding_;  // all of them, with commas between
  int hosts_ = 0;
  int json_lengths_ = 0;
  bool host_readable_ = true;
};

}  // namespace switchyard
