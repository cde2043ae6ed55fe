#include "tools/rest_connection.h"

#include <fmt/format.h>
#include <rapidjson/document.h>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <limits>
#include <optional>
#include <vector>

#include "tools/json_tensor.h"

namespace switchyard {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Protocol = asio::generic::stream_protocol;
using Response = http::response<http::string_body>;

constexpr const char* kHeaderLength = "Inference-Header-Content-Length";

std::string_view View(beast::string_view text) { return {text.data(), text.size()}; }

// The text of {"error": "..."}, or the start of whatever else came.
std::string ErrorText(const std::string& body) {
  rapidjson::Document document;
  if (ParseJsonDocument(body, &document).ok() && document.IsObject() && document.HasMember("error") &&
      document["error"].IsString()) {
    return document["error"].GetString();
  }
  constexpr size_t kMostShown = 500;
  return body.substr(0, kMostShown);
}

StatusOr<RestReply> ToReply(Response response) {
  const int code = static_cast<int>(response.result_int());
  if (code < 200 || code > 299) {
    return Error(StatusCode::kUnknown, "HTTP {} {}: {}", code, View(response.reason()), ErrorText(response.body()));
  }
  RestReply reply;
  const std::string header(View(response[kHeaderLength]));
  reply.body = std::move(response.body());
  reply.json_size = reply.body.size();
  if (!header.empty()) {
    char* end = nullptr;
    reply.json_size = std::strtoull(header.c_str(), &end, 10);
    if (*end != '\0' || reply.json_size > reply.body.size()) {
      return Error(StatusCode::kUnknown, "the answer's {} is '{}', its body has {} bytes", kHeaderLength, header,
                   reply.body.size());
    }
  }
  return reply;
}

}  // namespace

struct RestConnection::Impl {
  Impl(ServerAddress to, std::chrono::milliseconds limit) : address(std::move(to)), timeout(limit) {}

  // Asio's blocking calls know no deadline; its asynchronous ones do, so each is started and run to its end here.
  template <typename Start>
  beast::error_code Run(Start start) {
    beast::error_code result;
    context.restart();
    start([&result](beast::error_code error, auto&&...) { result = error; });
    context.run();
    return result;
  }

  std::string Where() const {
    return address.unix_path.empty() ? fmt::format("{}:{}", address.host, address.port) : "unix:" + address.unix_path;
  }

  Status ToStatus(const beast::error_code& error) {
    stream.reset();
    if (error == beast::error::timeout) {
      return Error(StatusCode::kDeadlineExceeded, "no answer from {} within {} ms", Where(), timeout.count());
    }
    return Error(StatusCode::kUnavailable, "{}: {}; is the server running, and is this its REST address?", Where(),
                 error.message());
  }

  void StartClock() {
    if (timeout.count() > 0) {
      stream->expires_after(timeout);
    } else {
      stream->expires_never();
    }
  }

  Status Connect() {
    if (stream) return absl::OkStatus();
    std::vector<Protocol::endpoint> endpoints;
    beast::error_code error;
    if (!address.unix_path.empty()) {
      if (address.unix_path.size() > 107) return InvalidArgument("{} is too long for the path of a socket", address.unix_path);
      endpoints.emplace_back(asio::local::stream_protocol::endpoint(address.unix_path));
    } else {
      asio::ip::tcp::resolver resolver(context);
      for (const auto& found : resolver.resolve(address.host, address.port, error)) endpoints.emplace_back(found.endpoint());
      if (error) return ToStatus(error);
    }
    for (const Protocol::endpoint& endpoint : endpoints) {
      stream.emplace(context);
      StartClock();
      error = Run([&](auto done) { stream->async_connect(endpoint, std::move(done)); });
      if (error) continue;
      if (address.unix_path.empty()) stream->socket().set_option(asio::ip::tcp::no_delay(true), error);
      buffer.clear();
      return absl::OkStatus();
    }
    return ToStatus(error);
  }

  beast::error_code Exchange(http::request<http::span_body<const char>>& request, Response* response) {
    StartClock();
    beast::error_code error = Run([&](auto done) { http::async_write(*stream, request, std::move(done)); });
    if (error) return error;
    http::response_parser<http::string_body> parser;
    parser.body_limit(std::numeric_limits<uint64_t>::max());
    error = Run([&](auto done) { http::async_read(*stream, buffer, parser, std::move(done)); });
    if (!error) *response = parser.release();
    return error;
  }

  ServerAddress address;
  std::chrono::milliseconds timeout;
  asio::io_context context{1};
  std::optional<beast::basic_stream<Protocol>> stream;
  beast::flat_buffer buffer;
};

RestConnection::RestConnection(const ServerAddress& address, std::chrono::milliseconds timeout)
    : impl_(std::make_unique<Impl>(address, timeout)) {}
RestConnection::~RestConnection() = default;

Status RestConnection::Connect() { return impl_->Connect(); }

StatusOr<RestReply> RestConnection::Call(const std::string& target, std::string_view body, size_t json_size) {
  http::request<http::span_body<const char>> request;
  request.method(body.empty() ? http::verb::get : http::verb::post);
  request.target(target);
  request.version(11);
  request.set(http::field::host, impl_->address.unix_path.empty() ? impl_->Where() : "localhost");
  request.set(http::field::user_agent, "switchyard-infer");
  if (!body.empty()) request.set(http::field::content_type, json_size != 0 ? "application/octet-stream" : "application/json");
  if (json_size != 0) request.set(kHeaderLength, std::to_string(json_size));
  request.body() = {body.data(), body.size()};
  request.prepare_payload();

  Response response;
  while (true) {
    const bool kept_alive = impl_->stream.has_value();
    SY_RETURN_IF_ERROR(impl_->Connect());
    const beast::error_code error = impl_->Exchange(request, &response);
    if (!error) break;
    if (!kept_alive || error == beast::error::timeout) return impl_->ToStatus(error);
    impl_->stream.reset();
  }
  if (!response.keep_alive()) impl_->stream.reset();
  return ToReply(std::move(response));
}

std::string PathSegment(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace switchyard
