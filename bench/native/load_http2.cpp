// gRPC over HTTP/2 by nghttp2: unary calls of one message each, already framed.
#include <nghttp2/nghttp2.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "load_channel.h"

namespace switchyard::bench {
namespace {

constexpr uint32_t kWindow = (1u << 31) - 1;  // the client never holds a server's answer back
constexpr size_t kSendAtOnce = 256 * 1024;

nghttp2_nv Header(const std::string& name, const std::string& value) {
  const auto bytes = [](const std::string& text) { return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data())); };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

struct Call {
  TimePoint due;
  size_t sent = 0;
  std::string status;
  std::string grpc_status;
  std::string grpc_message;
  std::string answer;
};

void Check(int code, const char* what) {
  if (code < 0) throw std::runtime_error(std::string(what) + ": " + nghttp2_strerror(code));
}

class Http2Channel : public Channel {
 public:
  Http2Channel(const Request& request, int streams, OnDone done) : Channel(request, std::move(done)), streams_(streams) {
    nghttp2_session_callbacks* callbacks = nullptr;
    Check(nghttp2_session_callbacks_new(&callbacks), "nghttp2");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClose);
    const int made = nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    Check(made, "nghttp2");
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                               {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow},
                                               {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1 << 20}};
    Check(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 3), "settings");
    Check(nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(kWindow)), "window");
    authority_ = request.host + ":" + std::to_string(request.port);
    headers_ = {Header(kMethod, kPost), Header(kScheme, kHttp), Header(kPath, request.path), Header(kAuthority, authority_)};
    for (const auto& [name, value] : request.headers) headers_.push_back(Header(name, value));
    buffer_.resize(256 * 1024);
    fd_ = ConnectTo(request);
  }
  ~Http2Channel() override {
    nghttp2_session_del(session_);
    if (fd_ >= 0) close(fd_);
  }

  int most_calls() const override { return streams_; }

  void Submit(TimePoint due) override {
    auto call = std::make_unique<Call>();
    call->due = due;
    nghttp2_data_provider body{};
    body.source.ptr = call.get();
    body.read_callback = ReadBody;
    const int32_t id = nghttp2_submit_request(session_, nullptr, headers_.data(), headers_.size(), &body, call.get());
    Check(id, "request");
    calls_.emplace(id, std::move(call));
    ++in_flight_;
    Write();
  }

  void Work() override {
    while (const size_t got = ReceiveSome(buffer_.data(), buffer_.size())) {
      const ssize_t used = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(buffer_.data()), got);
      Check(static_cast<int>(used), "what the server sent");
      // Outside nghttp2's callback, so that the next call may begin at once.
      for (auto& [call, error] : std::exchange(ended_, {})) done_(*this, call->due, error, call->answer);
    }
    Write();
    if (nghttp2_session_want_read(session_) == 0) throw std::runtime_error("the server ended the connection");
  }

 private:
  void Write() {
    while (true) {
      if (written_ == out_.size()) {
        out_.clear();
        written_ = 0;
        while (out_.size() < kSendAtOnce) {
          const uint8_t* data = nullptr;
          const ssize_t size = nghttp2_session_mem_send(session_, &data);
          Check(static_cast<int>(size), "sending");
          if (size == 0) break;
          out_.append(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
        }
      }
      if (out_.empty()) break;
      written_ += SendSome(out_.data() + written_, out_.size() - written_);
      if (written_ < out_.size()) break;
    }
    wants_write_ = written_ < out_.size();
  }

  static ssize_t ReadBody(nghttp2_session*, int32_t, uint8_t* to, size_t room, uint32_t* flags, nghttp2_data_source* source,
                          void* self) {
    const std::string& body = static_cast<Http2Channel*>(self)->request_.body;
    auto* call = static_cast<Call*>(source->ptr);
    const size_t size = std::min(room, body.size() - call->sent);
    std::memcpy(to, body.data() + call->sent, size);
    call->sent += size;
    if (call->sent == body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(size);
  }

  static Call* CallOf(nghttp2_session* session, int32_t id) {
    return static_cast<Call*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int OnHeader(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void*) {
    Call* const call = CallOf(session, frame->hd.stream_id);
    if (call == nullptr) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), name_size);
    const std::string_view text(reinterpret_cast<const char*>(value), value_size);
    if (key == ":status") call->status = text;
    if (key == "grpc-status") call->grpc_status = text;
    if (key == "grpc-message") call->grpc_message = text;
    return 0;
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size, void*) {
    if (Call* const call = CallOf(session, id)) call->answer.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }

  static int OnClose(nghttp2_session*, int32_t id, uint32_t code, void* self_pointer) {
    auto* self = static_cast<Http2Channel*>(self_pointer);
    const auto found = self->calls_.find(id);
    if (found == self->calls_.end()) return 0;
    std::unique_ptr<Call> call = std::move(found->second);
    self->calls_.erase(found);
    --self->in_flight_;
    std::string error;
    // A server that has answered may reset the stream with "no error" when it does not want the rest of a body.
    if (call->grpc_status != "0") {
      error = "HTTP status " + call->status + ", grpc-status " + call->grpc_status + " " + call->grpc_message;
      if (call->grpc_status.empty()) error += std::string(", stream ended with ") + nghttp2_http2_strerror(code);
    }
    self->ended_.emplace_back(std::move(call), std::move(error));
    return 0;
  }

  const std::string kMethod = ":method", kPost = "POST", kScheme = ":scheme", kHttp = "http", kPath = ":path";
  const std::string kAuthority = ":authority";
  const int streams_;
  nghttp2_session* session_ = nullptr;
  std::string authority_;
  std::vector<nghttp2_nv> headers_;
  std::unordered_map<int32_t, std::unique_ptr<Call>> calls_;
  std::vector<std::pair<std::unique_ptr<Call>, std::string>> ended_;
  std::string buffer_;
  std::string out_;
  size_t written_ = 0;
};

}  // namespace

std::unique_ptr<Channel> OpenHttp2(const Request& request, int streams, Channel::OnDone done) {
  return std::make_unique<Http2Channel>(request, streams, std::move(done));
}

}  // namespace switchyard::bench
