// What the calls of one listener share.
#pragma once

#include <absl/base/thread_annotations.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/service_type.h>

#include <atomic>
#include <cstddef>
#include <set>
#include <thread>

#include "base/mutex.h"
#include "base/timer.h"
#include "protocol/rpc_service.h"
#include "serving/manager.h"

namespace switchyard::grpc_listener {

// What a completion queue gives back. Runs on the queue's thread.
class Event {
 public:
  virtual void Run(bool ok) = 0;

 protected:
  ~Event() = default;
};

// Event that calls a member function of the call that owns it.
template <typename Call, void (Call::*kFunction)(bool)>
class CallEvent final : public Event {
 public:
  explicit CallEvent(Call& call) : call_(call) {}
  void Run(bool ok) override { (call_.*kFunction)(ok); }

 private:
  Call& call_;
};

// One gRPC service whose methods are known by name alone; messages stay bytes.
class RawService final : public grpc::Service {
 public:
  explicit RawService(const RpcService& table) {
    for (const ControlMethod& method : table.control) Add(method.path, grpc::internal::RpcMethod::NORMAL_RPC);
    for (const InferMethod& method : table.infer) {
      Add(method.path,
          method.encode_error != nullptr ? grpc::internal::RpcMethod::BIDI_STREAMING : grpc::internal::RpcMethod::NORMAL_RPC);
    }
    for (const CommandMethod& method : table.commands) Add(method.path, grpc::internal::RpcMethod::NORMAL_RPC);
  }
  void RequestUnary(int index, grpc::ServerContext& context, grpc::ByteBuffer& request,
                    grpc::internal::ServerAsyncStreamingInterface& responder, grpc::ServerCompletionQueue& queue,
                    Event& event) {
    RequestAsyncUnary(index, &context, &request, &responder, &queue, &queue, &event);
  }
  void RequestStream(int index, grpc::ServerContext& context, grpc::internal::ServerAsyncStreamingInterface& stream,
                     grpc::ServerCompletionQueue& queue, Event& event) {
    RequestAsyncBidiStreaming(index, &context, &stream, &queue, &queue, &event);
  }

 private:
  void Add(const char* path, grpc::internal::RpcMethod::RpcType type) {
    AddMethod(new grpc::internal::RpcServiceMethod(path, type, nullptr));
    MarkMethodRaw(count_++);
  }
  int count_ = 0;
};

class StreamCall;

// Who is about to make a call object wait. gRPC may take the object and end it before the function that hands it over returns,
// and it forgets one that comes while it shuts down: the server may be stopped only when nobody is in here any more.
class ArmingGate {
 public:
  // False when the server stops; else Leave() comes next, when gRPC has the call object. From any thread.
  bool Enter(const std::atomic<bool>& stopping) {
    inside_.fetch_add(1);
    if (!stopping.load()) return true;
    Leave();
    return false;
  }
  void Leave() { inside_.fetch_sub(1, std::memory_order_release); }
  // After `stopping` was set. Those inside need microseconds.
  void WaitUntilEmpty() const {
    while (inside_.load() != 0) std::this_thread::yield();
  }

 private:
  std::atomic<int> inside_{0};
};

// Counts what lives, so that the queues are shut down only when nobody can touch them any more.
class CallContext {
 public:
  CallContext(const Manager& manager, const Timer& timer) : manager(manager), timer(timer) {}

  const Manager& manager;
  const Timer& timer;
  ModelControl* control = nullptr;  // null: nothing changes what is served
  std::atomic<size_t> in_flight{0};
  std::atomic<bool> stopping{false};

  // A call object, waiting for a call or in the middle of one.
  void Born() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    ++alive_;
  }
  void Died() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    --alive_;
  }
  void WaitUntilAllDied() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    const auto none = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return alive_ == 0; };
    mutex_.Await(none);
  }

  // Streams that have begun, to be told when the server stops.
  void Add(StreamCall& stream) ABSL_LOCKS_EXCLUDED(mutex_);
  void Remove(StreamCall& stream) ABSL_LOCKS_EXCLUDED(mutex_);
  void EndStreams() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  Mutex mutex_;
  size_t alive_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<StreamCall*> streams_ ABSL_GUARDED_BY(mutex_);
};

// One method on one completion queue: where its calls come from. One of `control`, `infer` and `command` is set.
struct MethodPort {
  CallContext& context;
  RawService& service;
  int index = 0;
  grpc::ServerCompletionQueue& queue;
  const ControlMethod* control = nullptr;
  const InferMethod* infer = nullptr;
  const CommandMethod* command = nullptr;
  // Call objects that wait for a call: at most `most`; more are made when they fall below `least`.
  int least = 1;
  int most = 1;
  std::atomic<int> armed{0};
  ArmingGate gate;

  bool streaming() const { return infer != nullptr && infer->encode_error != nullptr; }
  // Makes call objects wait until there are `most`.
  void Fill();
};

}  // namespace switchyard::grpc_listener
