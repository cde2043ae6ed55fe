// One connection: reads requests one after another, has each handled, writes its reply. Everything happens on its worker's
// thread.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <absl/functional/any_invocable.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>

#include "base/timer.h"
#include "protocol/http/http_message.h"
#include "transport/http/request_parser.h"
#include "transport/http/worker.h"

namespace switchyard {

class Connection final : public HttpResponder, public BodySink, public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::generic::stream_protocol::socket;

  // Counts as one of the server's connections until it is closed.
  Connection(std::shared_ptr<Worker> worker, Socket socket);
  ~Connection();

  void Start();
  // Instead of Start: answers with an error and closes.
  void Refuse(int code, std::string_view text);

  void Reply(HttpReply reply) override;
  void Run(absl::AnyInvocable<void()> work) override;
  void OnClientGone(absl::AnyInvocable<void()> cancel) override { cancel_ = std::move(cancel); }
  void AppendBody(const char* data, size_t size) override;

  // For the worker.
  void OnTick(TimePoint now);
  // The server is stopping: closes what no request has come to whole, and lets a body that comes go on for a little.
  void Drain();
  void Close();
  size_t index() const { return index_; }
  void set_index(size_t index) { index_ = index; }

 private:
  enum class State {
    kHeader,  // idle, or within a header
    kBody,    // of a known length, straight into its memory
    kChunks,
    kHandling,  // the handler has it; what arrives meanwhile is kept
    kWriting,
    kLingering,  // everything is said; waits for the client to have read it
    kClosed,
  };

  template <typename Work>
  void Turn(Work work);
  void Abandon();
  bool Join();
  void Open();
  void Advance();
  void Read();
  bool ReadPiece();
  boost::asio::mutable_buffer BodyRoom();
  void SetLowWater(int bytes);
  bool HasBytes();
  void OnRead(const boost::system::error_code& error, size_t bytes);
  bool MakeInputRoom();
  void OnEnd();

  // Each returns false when more bytes are needed.
  bool ReadHeader();
  bool ReadBody();
  bool ReadChunks();
  void OnHeader();
  void PrepareBody(uint64_t expected);
  void GrowBody(size_t needed, size_t most);
  bool AllowBody();

  void Dispatch();
  template <typename Work>
  void Hand(Work work);
  template <typename Work>
  void RunInside(Work& work);
  void Cancel();
  void DropCall();
  // Answers with an error on behalf of the handler, and closes after it.
  void Fail(int code, std::string_view text, std::string headers = {});
  void FailTooLarge();
  void BeginWrite();
  bool Write();
  void OnWritten();
  void Linger();
  void SetDeadline(uint32_t milliseconds);
  void OnDeadline();
  bool idle() const { return state_ == State::kHeader && !parser_ && begin_ == end_; }

  const std::shared_ptr<Worker> worker_;
  ServerState& server_;
  Socket socket_;
  State state_ = State::kHeader;
  TimePoint deadline_ = kNoDeadline;
  size_t index_ = 0;

  Buffer input_;  // bytes [begin_, end_) arrived and were not used yet
  size_t begin_ = 0;
  size_t end_ = 0;
  bool reading_ = false;
  bool reading_body_ = false;
  bool ended_ = false;  // the client sends no more

  std::optional<RequestParser> parser_;
  HttpBody body_;
  size_t body_room_ = 0;      // bytes of the body that its memory has room for
  uint64_t body_length_ = 0;  // kBody: Content-Length
  bool slow_ = false;         // kBody: is read as it comes, not in large pieces
  int low_water_ = 1;         // of the socket: see SetLowWater

  bool inside_ = false;  // the handler, or work of its own, is on the stack
  // There was no memory for what a request waits for; the next turn answers so. The only member that other threads write.
  std::atomic<bool> lost_{false};
  bool replied_ = false;
  bool whole_ = false;  // the request was read to its end
  bool keep_alive_ = true;
  bool head_only_ = false;
  HttpReply reply_;
  absl::AnyInvocable<void()> cancel_;
  std::string head_;
  std::vector<boost::asio::const_buffer> out_;
  size_t out_next_ = 0;
};

}  // namespace switchyard
