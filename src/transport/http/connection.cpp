#include "transport/http/connection.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <new>

#include <boost/asio/socket_base.hpp>
#include <fmt/format.h>

#include "protocol/http/http_error.h"
#include "transport/http/cors.h"
#include "transport/http/reason.h"

namespace switchyard {
namespace {

namespace http = boost::beast::http;
using ErrorCode = boost::system::error_code;

constexpr size_t kFirstInput = 4096;
// A whole header, and some of what follows it.
constexpr size_t kMostInput = kMaxHeaderBytes + 4096;
constexpr size_t kFirstBody = size_t{1} << 20;
// A body is read in pieces of up to this size: of 602 KB that come over loopback, one read costs a third of the processor time
// that a read for every 64 KB costs, with its waking and its acknowledgement. The kernel keeps no more for a socket than
// tcp_rmem allows, and calls it readable in time when that is less.
constexpr size_t kPiece = kFirstBody;
// Less is not worth the two calls that set the mark.
constexpr size_t kSmallPiece = size_t{32} << 10;
constexpr uint32_t kLingerMs = 2000;
// The server is stopping: so long it waits for the next byte of a request that has begun.
constexpr uint32_t kDrainMs = 1000;

bool WouldBlock(const ErrorCode& error) {
  return error == boost::asio::error::would_block || error == boost::asio::error::try_again;
}

}  // namespace

Connection::Connection(std::shared_ptr<Worker> worker, Socket socket)
    : worker_(std::move(worker)), server_(worker_->state()), socket_(std::move(socket)) {
  server_.connections.fetch_add(1);
}

Connection::~Connection() {
  if (state_ != State::kClosed) server_.ConnectionClosed();
}

// The turn's work; what it throws, for want of memory most likely, is the end of this connection and of nothing else.
template <typename Work>
void Connection::Turn(Work work) {
  try {
    work();
  } catch (const std::exception&) {
    return Abandon();
  }
  if (lost_.load(std::memory_order_relaxed)) Abandon();
}

// Answers with what needs no memory, when a request waits for its answer, and closes.
void Connection::Abandon() {
  static constexpr std::string_view kHead =
      "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 90\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
  static constexpr std::string_view kBody =
      R"({"error":"The server has no memory left for this request; send less at once or try later"})";
  static_assert(kBody.size() == 90);
  lost_.store(false, std::memory_order_relaxed);
  inside_ = false;
  if (idle() || state_ == State::kWriting || state_ == State::kLingering) return Close();
  if (state_ == State::kClosed) return;
  const std::shared_ptr<Connection> self = shared_from_this();
  state_ = State::kLingering;
  reply_ = HttpReply();
  if (!reading_) body_ = HttpBody();
  DropCall();
  const std::array<boost::asio::const_buffer, 2> answer = {
      boost::asio::buffer(kHead.data(), kHead.size()), boost::asio::buffer(kBody.data(), head_only_ ? 0 : kBody.size())};
  ErrorCode error;
  socket_.write_some(answer, error);
  if (error || (whole_ && begin_ == end_)) return Close();
  Linger();
  try {
    Read();
  } catch (const std::exception&) {
    Close();
  }
}

void Connection::Start() {
  Turn([this] { Open(); });
}

bool Connection::Join() {
  worker_->Add(shared_from_this());
  ErrorCode error;
  socket_.non_blocking(true, error);
  return !error;
}

void Connection::Open() {
  if (!Join() || server_.draining) return Close();
  SetDeadline(server_.options.header_timeout_ms);
  Read();
}

void Connection::Refuse(int code, std::string_view text) {
  Turn([&] {
    if (!Join()) return Close();
    Fail(code, text);
    Advance();
  });
}

void Connection::SetDeadline(uint32_t milliseconds) {
  if (server_.draining && state_ != State::kWriting) milliseconds = std::min(milliseconds, kDrainMs);
  deadline_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
}

// Until more bytes, or somebody else, are needed.
void Connection::Advance() {
  for (;;) {
    switch (state_) {
      case State::kHeader:
        if (!ReadHeader()) return Read();
        break;
      case State::kBody:
        if (!ReadBody()) return Read();
        Dispatch();
        break;
      case State::kChunks:
        if (!ReadChunks()) return Read();
        break;
      case State::kHandling:
        if (!replied_) return Read();
        BeginWrite();
        break;
      case State::kWriting:
        if (!Write()) return;
        OnWritten();
        break;
      case State::kLingering: return Read();
      case State::kClosed: return;
    }
  }
}

bool Connection::MakeInputRoom() {
  if (state_ == State::kLingering || begin_ == end_) begin_ = end_ = 0;
  // One large header must not hold its memory while the connection is idle.
  if (end_ == 0 && input_.size() > 4 * kFirstInput && idle()) input_ = Buffer();
  if (!input_) input_ = Buffer::Allocate(kFirstInput);
  if (end_ < input_.size()) return true;
  if (begin_ > 0) {
    std::memmove(input_.data(), input_.data() + begin_, end_ - begin_);
  } else {
    if (input_.size() >= kMostInput) return false;
    Buffer larger = Buffer::Allocate(std::min(2 * input_.size(), kMostInput));
    std::memcpy(larger.data(), input_.data(), end_);
    input_ = std::move(larger);
  }
  end_ -= begin_;
  begin_ = 0;
  return true;
}

void Connection::Read() {
  if (reading_ || state_ == State::kClosed) return;
  if (ended_) return OnEnd();
  boost::asio::mutable_buffer target;
  reading_body_ = state_ == State::kBody;
  if (reading_body_) {
    if (body_.size == body_room_) GrowBody(body_.size + 1, static_cast<size_t>(body_length_));
    if (ReadPiece()) return;
    target = BodyRoom();
  } else {
    // While a request is handled, a client that goes on sending is not watched any more when the memory for that is full.
    if (!MakeInputRoom()) {
      if (state_ == State::kHandling) return;
      Fail(state_ == State::kHeader ? 431 : 400, "Request header or chunk header is too large");
      return Advance();
    }
    target = {input_.data() + end_, input_.size() - end_};
  }
  reading_ = true;
  socket_.async_read_some(target, [self = shared_from_this()](const ErrorCode& error, size_t bytes) {
    self->Turn([&] { self->OnRead(error, bytes); });
  });
}

boost::asio::mutable_buffer Connection::BodyRoom() {
  return {body_.memory.data() + body_.offset + body_.size, body_room_ - body_.size};
}

// Waits until a large piece of the body lies in the socket, and reads it then. False: the rest is small, or comes slowly.
bool Connection::ReadPiece() {
  const size_t piece = std::min(body_room_ - body_.size, kPiece);
  if (slow_ || piece < kSmallPiece) {
    SetLowWater(1);
    return false;
  }
  SetLowWater(static_cast<int>(piece));
  reading_ = true;
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const ErrorCode& failure) {
    self->Turn([&] {
      if (failure || self->state_ != State::kBody) return self->OnRead(failure, 0);
      ErrorCode error;
      const size_t bytes = self->socket_.read_some(self->BodyRoom(), error);
      if (!WouldBlock(error)) return self->OnRead(error, bytes);
      self->reading_ = false;
      self->Read();
    });
  });
  return true;
}

// So many bytes lie in the socket, or its end, before it counts as readable.
void Connection::SetLowWater(int bytes) {
  if (bytes == low_water_) return;
  low_water_ = bytes;
  ErrorCode ignored;
  socket_.set_option(boost::asio::socket_base::receive_low_watermark(bytes), ignored);
}

void Connection::OnRead(const ErrorCode& error, size_t bytes) {
  reading_ = false;
  if (state_ == State::kClosed) return;
  if (error) {
    ended_ = true;
    if (error != boost::asio::error::eof && state_ != State::kHandling) return Close();
    if (state_ == State::kWriting) return;
    return OnEnd();
  }
  if (reading_body_) {
    body_.size += bytes;
  } else {
    end_ += bytes;
  }
  if (state_ == State::kBody || state_ == State::kChunks) SetDeadline(server_.options.body_timeout_ms);
  if (state_ == State::kHandling) return Read();
  if (state_ != State::kWriting) Advance();
}

// More bytes are wanted, and there will be none.
void Connection::OnEnd() {
  switch (state_) {
    case State::kBody:
    case State::kChunks: Fail(400, "The connection ended within the request's body"); return Advance();
    case State::kHandling: return Cancel();
    default: return Close();
  }
}

bool Connection::ReadHeader() {
  if (!parser_) {
    // Some old clients end a body with an empty line that no length counts.
    while (begin_ != end_ && (input_.data()[begin_] == std::byte{'\r'} || input_.data()[begin_] == std::byte{'\n'})) ++begin_;
    if (begin_ == end_) return false;
    parser_.emplace(static_cast<BodySink&>(*this), server_.options.max_body_bytes);
    SetDeadline(server_.options.header_timeout_ms);
  }
  ErrorCode error;
  begin_ += parser_->put(boost::asio::const_buffer(input_.data() + begin_, end_ - begin_), error);
  if (error == http::error::need_more) return false;
  if (!error) {
    OnHeader();
  } else if (error == http::error::header_limit) {
    Fail(431, fmt::format("Request header is larger than {} bytes", kMaxHeaderBytes));
  } else if (error == http::error::body_limit) {
    FailTooLarge();
  } else if (error == http::error::bad_version &&
             SaysVersion({reinterpret_cast<const char*>(input_.data()) + begin_, end_ - begin_})) {
    Fail(505, "This server speaks HTTP/1.0 and HTTP/1.1");
  } else {
    Fail(400, fmt::format("This is not an HTTP/1.1 request: {}", error.message()));
  }
  return true;
}

void Connection::OnHeader() {
  keep_alive_ = parser_->keep_alive();
  head_only_ = parser_->request.method == "HEAD";
  if (const std::optional<HeaderFault> fault = parser_->Fault()) return Fail(fault->code, fault->text);
  const bool chunked = parser_->chunked();
  const auto length = parser_->content_length();
  body_length_ = length ? *length : 0;
  if (parser_->expect && parser_->http11) {
    if (!boost::beast::iequals(*parser_->expect, "100-continue")) {
      return Fail(417, fmt::format("Expect: {} is not understood", *parser_->expect));
    }
    if ((chunked || body_length_ > 0) && begin_ == end_ && !AllowBody()) return Close();
  }
  body_ = HttpBody();
  body_room_ = 0;
  slow_ = false;
  if (chunked || body_length_ > 0) {
    SetDeadline(server_.options.body_timeout_ms);
    PrepareBody(chunked ? kFirstInput : body_length_);
  }
  state_ = chunked ? State::kChunks : State::kBody;
}

bool Connection::AllowBody() {
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  ErrorCode error;
  const size_t written = socket_.write_some(boost::asio::buffer(kContinue.data(), kContinue.size()), error);
  // Without it the client sends its body a little later; a part of it would be nonsense.
  return WouldBlock(error) || (!error && written == kContinue.size());
}

void Connection::PrepareBody(uint64_t expected) {
  body_.offset = BodyOffset(JsonLengthOf(parser_->request));
  body_room_ = static_cast<size_t>(std::min<uint64_t>(expected, kFirstBody));
  body_.memory = Buffer::Allocate(body_.offset + body_room_ + kBodyPadding);
}

void Connection::GrowBody(size_t needed, size_t most) {
  body_room_ = std::min(std::max(2 * body_room_, needed), most);
  Buffer larger = Buffer::Allocate(body_.offset + body_room_ + kBodyPadding);
  std::memcpy(larger.data() + body_.offset, body_.memory.data() + body_.offset, body_.size);
  body_.memory = std::move(larger);
}

bool Connection::ReadBody() {
  const size_t take = static_cast<size_t>(std::min<uint64_t>(end_ - begin_, body_length_ - body_.size));
  if (take > 0) {
    if (body_.size + take > body_room_) GrowBody(body_.size + take, static_cast<size_t>(body_length_));
    std::memcpy(body_.memory.data() + body_.offset + body_.size, input_.data() + begin_, take);
    body_.size += take;
    begin_ += take;
  }
  return body_.size == body_length_;
}

void Connection::AppendBody(const char* data, size_t size) {
  if (body_.size + size > body_room_) GrowBody(body_.size + size, SIZE_MAX);
  std::memcpy(body_.memory.data() + body_.offset + body_.size, data, size);
  body_.size += size;
}

bool Connection::ReadChunks() {
  while (!parser_->is_done()) {
    ErrorCode error;
    if (begin_ == end_) return false;
    begin_ += parser_->put(boost::asio::const_buffer(input_.data() + begin_, end_ - begin_), error);
    if (error == http::error::need_more) return false;
    if (error == http::error::body_limit) {
      FailTooLarge();
      return true;
    }
    if (error) {
      Fail(400, fmt::format("The chunked body is faulty: {}", error.message()));
      return true;
    }
  }
  Dispatch();
  return true;
}

void Connection::Dispatch() {
  state_ = State::kHandling;
  SetLowWater(1);
  deadline_ = kNoDeadline;
  replied_ = false;
  cancel_ = nullptr;
  HttpRequest request = std::move(parser_->request);
  request.body = std::move(body_);
  body_ = HttpBody();
  whole_ = true;
  inside_ = true;
  try {
    server_.handler.Handle(std::move(request), shared_from_this());
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    keep_alive_ = false;
    if (!replied_) Reply(ErrorReply(500, fmt::format("The request could not be handled: {}", e.what())));
  }
  inside_ = false;
}

void Connection::Reply(HttpReply reply) {
  if (worker_->OnThread() && inside_) {
    if (state_ != State::kHandling || replied_) return;
    reply_ = std::move(reply);
    replied_ = true;
    cancel_ = nullptr;
    return;
  }
  Hand([this, reply = std::move(reply)]() mutable { Reply(std::move(reply)); });
}

void Connection::Run(absl::AnyInvocable<void()> work) {
  // Directly only within this connection's own turn: the thread may be in the middle of another connection's.
  if (!worker_->OnThread() || !inside_) return Hand(std::move(work));
  try {
    work();
  } catch (const std::exception&) {
    lost_.store(true, std::memory_order_relaxed);
  }
}

template <typename Work>
void Connection::Hand(Work work) {
  const bool posted = worker_->Post([self = shared_from_this(), work = std::move(work)]() mutable {
    self->Turn([&] { self->RunInside(work); });
  });
  if (!posted) lost_.store(true, std::memory_order_relaxed);
}

template <typename Work>
void Connection::RunInside(Work& work) {
  inside_ = true;
  work();
  inside_ = false;
  if (state_ == State::kHandling && replied_) Advance();
}

void Connection::Cancel() {
  if (!cancel_) return;
  absl::AnyInvocable<void()> cancel = std::move(cancel_);
  cancel_ = nullptr;
  RunInside(cancel);
}

// As Cancel, for a connection that answers no more.
void Connection::DropCall() {
  try {
    Cancel();
  } catch (const std::exception&) {
    inside_ = false;
  }
  cancel_ = nullptr;
}

void Connection::Fail(int code, std::string_view text, std::string headers) {
  reply_ = ErrorReply(code, text);
  reply_.headers = std::move(headers);
  keep_alive_ = false;
  replied_ = true;
  BeginWrite();
}

void Connection::FailTooLarge() {
  Fail(413, fmt::format("Request body is larger than {} bytes (--max_body_bytes)", server_.options.max_body_bytes));
}

void Connection::BeginWrite() {
  if (server_.draining) keep_alive_ = false;
  head_.clear();
  fmt::format_to(std::back_inserter(head_), "HTTP/1.1 {} {}\r\nContent-Length: {}\r\n", reply_.code, ReasonOf(reply_.code),
                 reply_.body.size());
  head_ += worker_->DateLine();
  if (!reply_.content_type.empty()) {
    head_ += "Content-Type: ";
    head_ += reply_.content_type;
    head_ += "\r\n";
  }
  head_ += reply_.headers;
  if (parser_ && !parser_->origin.empty()) AppendCors(server_.options.cors, parser_->origin, parser_->is_options, head_);
  if (!keep_alive_) {
    head_ += "Connection: close\r\n";
  } else if (parser_ && !parser_->http11) {
    head_ += "Connection: keep-alive\r\n";
  }
  head_ += "\r\n";
  out_.clear();
  out_next_ = 0;
  out_.emplace_back(head_.data(), head_.size());
  if (!head_only_) {
    for (const Frame::Segment& segment : reply_.body.segments()) out_.emplace_back(segment.begin(), segment.size);
  }
  // Last: until here nothing of it went out, and another answer may.
  state_ = State::kWriting;
  SetDeadline(server_.options.body_timeout_ms);
}

// False: the rest leaves when the socket takes it.
bool Connection::Write() {
  while (out_next_ < out_.size()) {
    const absl::Span<const boost::asio::const_buffer> rest = absl::MakeConstSpan(out_).subspan(out_next_);
    ErrorCode error;
    size_t written = socket_.write_some(rest, error);
    if (WouldBlock(error)) {
      socket_.async_wait(Socket::wait_write, [self = shared_from_this()](const ErrorCode& failure) {
        if (self->state_ != State::kWriting) return;
        if (failure) return self->Close();
        self->SetDeadline(self->server_.options.body_timeout_ms);
        self->Turn([&] { self->Advance(); });
      });
      return false;
    }
    if (error) {
      Close();
      return false;
    }
    while (written > 0) {
      const size_t part = std::min(written, out_[out_next_].size());
      out_[out_next_] += part;
      written -= part;
      if (out_[out_next_].size() == 0) ++out_next_;
    }
  }
  return true;
}

void Connection::OnWritten() {
  // Gives the model's memory back now, not with the next request.
  reply_ = HttpReply();
  out_.clear();
  const bool nothing_unread = whole_ && begin_ == end_;
  whole_ = false;
  parser_.reset();
  head_only_ = false;
  replied_ = false;
  if (keep_alive_) {
    state_ = State::kHeader;
    if (server_.draining && begin_ == end_) return Close();
    SetDeadline(server_.options.idle_timeout_ms);
    return;
  }
  if (nothing_unread) return Close();
  Linger();
}

// Closing while unread bytes of the request lie in the socket would reset the connection and lose the reply on its way.
void Connection::Linger() {
  SetLowWater(1);
  ErrorCode ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  state_ = State::kLingering;
  SetDeadline(kLingerMs);
}

void Connection::OnTick(TimePoint now) {
  const bool due = deadline_ <= now;
  if (!due && !lost_.load(std::memory_order_relaxed)) return;
  // Somebody else's hands may hold the last reference but this one.
  const std::shared_ptr<Connection> self = shared_from_this();
  Turn([&] {
    if (due) OnDeadline();
  });
}

void Connection::OnDeadline() {
  switch (state_) {
    case State::kHeader:
      if (idle()) return Close();
      Fail(408, fmt::format("The request's header was not complete after {} ms", server_.options.header_timeout_ms));
      return Advance();
    case State::kBody:
      if (low_water_ > 1 && HasBytes()) {
        // They come, only slower than a piece in that time: from now on each one counts. This wakes the reader, too.
        slow_ = true;
        SetDeadline(server_.options.body_timeout_ms);
        return SetLowWater(1);
      }
      [[fallthrough]];
    case State::kChunks:
      Fail(408, fmt::format("No byte of the request's body came for {} ms", server_.options.body_timeout_ms));
      return Advance();
    case State::kHandling: return;
    default: return Close();
  }
}

bool Connection::HasBytes() {
  ErrorCode ignored;
  return socket_.available(ignored) > 0;
}

void Connection::Drain() {
  switch (state_) {
    case State::kHeader: return Close();
    case State::kBody:
    case State::kChunks:
    case State::kLingering: return SetDeadline(kDrainMs);
    default: return;
  }
}

void Connection::Close() {
  if (state_ == State::kClosed) return;
  const std::shared_ptr<Connection> self = shared_from_this();
  const bool handling = state_ == State::kHandling && !replied_;
  state_ = State::kClosed;
  ErrorCode ignored;
  socket_.close(ignored);
  worker_->Remove(*this);
  server_.ConnectionClosed();
  if (handling) DropCall();
  cancel_ = nullptr;
}

}  // namespace switchyard
