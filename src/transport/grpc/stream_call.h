// A call with messages both ways, each of which asks for an inference.
#pragma once

#include <absl/base/thread_annotations.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/async_stream.h>

#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>

#include "serving/infer_call.h"
#include "transport/grpc/call_context.h"

namespace switchyard::grpc_listener {

// Serves one stream, owns itself. Up to kWindow messages are in flight; then it reads on when the oldest was answered. Answers
// go out in the order of the messages, errors among them. Ends with OK after the last answer once the client has said that it
// is done.
class StreamCall {
 public:
  // Waits for a call; within the port's gate. The object is gone when it is over.
  static void Arm(MethodPort& port);

  // The server stops: what was read is answered, then the stream ends with UNAVAILABLE. Thread-safe.
  void End() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  static constexpr size_t kWindow = 8;

  // One message and its answer.
  struct Slot {
    std::shared_ptr<InferCall> call = std::make_shared<InferCall>();
    bool submitted = false;  // may be cancelled
    bool answered = false;
    Frame answer;
  };

  explicit StreamCall(MethodPort& port);
  ~StreamCall();

  void OnRequest(bool ok);
  void OnRead(bool ok) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnWritten(bool ok) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnFinished(bool ok);
  void OnDone(bool ok) ABSL_LOCKS_EXCLUDED(mutex_);

  Status Submit(Slot& slot);
  void Answer(Slot& slot, const Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  // Starts what can go on: the next write, the next read, the end.
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Status WhyGone() const;

  void Hold() { holders_.fetch_add(1, std::memory_order_relaxed); }
  void Release();

  MethodPort& port_;
  CallEvent<StreamCall, &StreamCall::OnRequest> request_event_{*this};
  CallEvent<StreamCall, &StreamCall::OnRead> read_event_{*this};
  CallEvent<StreamCall, &StreamCall::OnWritten> written_event_{*this};
  CallEvent<StreamCall, &StreamCall::OnFinished> finished_event_{*this};
  CallEvent<StreamCall, &StreamCall::OnDone> done_event_{*this};
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> stream_{&context_};
  TimePoint deadline_ = kNoDeadline;
  grpc::ByteBuffer message_;  // of the read at hand
  TraceContext trace_;        // that the messages belong to, each by a span of its own
  std::string header_id_;
  bool begun_ = false;
  std::atomic<int> holders_{1};  // events to come and answers to come

  Mutex mutex_;
  std::deque<std::unique_ptr<Slot>> slots_ ABSL_GUARDED_BY(mutex_);  // in the order of their messages
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool input_ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;  // the client
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace switchyard::grpc_listener
