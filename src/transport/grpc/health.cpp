#include "transport/grpc/health.h"

#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/async_unary_call.h>

#include <algorithm>
#include <utility>

#include "health.pb.h"
#include "transport/grpc/messages.h"

namespace switchyard::grpc_listener {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

StatusOr<std::string> ReadName(grpc::ByteBuffer& message) {
  HealthCheckRequest request;
  const bool read = ReadMessage(message, [&](google::protobuf::io::ZeroCopyInputStream& stream, size_t) {
    return request.ParseFromZeroCopyStream(&stream);
  });
  if (!read) return InvalidArgument("The request is not a grpc.health.v1.HealthCheckRequest");
  return request.service();
}

grpc::ByteBuffer ResponseOf(HealthCheckResponse::ServingStatus status) {
  HealthCheckResponse response;
  response.set_status(status);
  return ToByteBuffer(Frame(response.SerializeAsString()));
}

HealthCheckResponse::ServingStatus StatusOf(bool serving) {
  return serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

}  // namespace

// Owns itself; answers one Check.
class CheckCall {
 public:
  CheckCall(HealthService& service, grpc::ServerCompletionQueue& queue) : service_(service), queue_(queue) {
    service_.context_.Born();
    service_.RequestCheck(context_, request_, responder_, queue_, request_event_);
  }
  ~CheckCall() { service_.context_.Died(); }

 private:
  void OnRequest(bool ok) {
    if (!ok) {
      delete this;
      return;
    }
    service_.Arm<CheckCall>(queue_);
    const StatusOr<std::string> name = ReadName(request_);
    if (!name.ok()) {
      responder_.FinishWithError(ToGrpcStatus(name.status()), static_cast<Event*>(&finished_event_));
    } else if (!service_.Knows(*name)) {
      const Status unknown = Error(StatusCode::kNotFound, "There is no service {} on this server", *name);
      responder_.FinishWithError(ToGrpcStatus(unknown), static_cast<Event*>(&finished_event_));
    } else {
      MutexLock lock(&service_.mutex_);
      responder_.Finish(ResponseOf(StatusOf(service_.serving_)), grpc::Status::OK, static_cast<Event*>(&finished_event_));
    }
  }
  void OnFinished(bool) { delete this; }

  HealthService& service_;
  grpc::ServerCompletionQueue& queue_;
  CallEvent<CheckCall, &CheckCall::OnRequest> request_event_{*this};
  CallEvent<CheckCall, &CheckCall::OnFinished> finished_event_{*this};
  grpc::ByteBuffer request_;
  grpc::ServerContext context_;
  grpc::ServerAsyncResponseWriter<grpc::ByteBuffer> responder_{&context_};
};

// Owns itself; tells one watcher of every change until its call is cancelled. The service's mutex guards its state.
class WatchCall {
 public:
  WatchCall(HealthService& service, grpc::ServerCompletionQueue& queue) : service_(service), queue_(queue) {
    service_.context_.Born();
    context_.AsyncNotifyWhenDone(static_cast<Event*>(&done_event_));
    service_.RequestWatch(context_, request_, writer_, queue_, request_event_);
  }
  ~WatchCall() { service_.context_.Died(); }

  void Tell() ABSL_EXCLUSIVE_LOCKS_REQUIRED(service_.mutex_) {
    const HealthCheckResponse::ServingStatus now = known_ ? StatusOf(service_.serving_) : HealthCheckResponse::SERVICE_UNKNOWN;
    if (writing_ || done_ || now == told_) return;
    told_ = now;
    writing_ = true;
    writer_.Write(ResponseOf(now), static_cast<Event*>(&written_event_));
  }

 private:
  void OnRequest(bool ok) {
    if (!ok) {
      delete this;  // the event of the call's end never comes for a call that never came
      return;
    }
    service_.Arm<WatchCall>(queue_);
    const StatusOr<std::string> name = ReadName(request_);
    MutexLock lock(&service_.mutex_);
    known_ = name.ok() && service_.Knows(*name);
    if (!done_) service_.watchers_.insert(this);
    Tell();
  }
  void OnWritten(bool ok) {
    bool over = false;
    {
      MutexLock lock(&service_.mutex_);
      writing_ = false;
      if (ok) Tell();
      over = done_ && !writing_;
    }
    if (over) delete this;
  }
  void OnDone(bool) {
    bool over = false;
    {
      MutexLock lock(&service_.mutex_);
      done_ = true;
      service_.watchers_.erase(this);
      over = !writing_;
    }
    if (over) delete this;
  }

  HealthService& service_;
  grpc::ServerCompletionQueue& queue_;
  CallEvent<WatchCall, &WatchCall::OnRequest> request_event_{*this};
  CallEvent<WatchCall, &WatchCall::OnWritten> written_event_{*this};
  CallEvent<WatchCall, &WatchCall::OnDone> done_event_{*this};
  grpc::ByteBuffer request_;
  grpc::ServerContext context_;
  grpc::ServerAsyncWriter<grpc::ByteBuffer> writer_{&context_};
  bool known_ = false;
  bool writing_ = false;
  bool done_ = false;
  HealthCheckResponse::ServingStatus told_ = HealthCheckResponse::UNKNOWN;
};

HealthService::HealthService(CallContext& context, std::vector<std::string> names)
    : context_(context), names_(std::move(names)) {
  using grpc::internal::RpcMethod;
  AddMethod(new grpc::internal::RpcServiceMethod("/grpc.health.v1.Health/Check", RpcMethod::NORMAL_RPC, nullptr));
  MarkMethodRaw(0);
  AddMethod(new grpc::internal::RpcServiceMethod("/grpc.health.v1.Health/Watch", RpcMethod::SERVER_STREAMING, nullptr));
  MarkMethodRaw(1);
}

void HealthService::Open(grpc::ServerCompletionQueue& queue) {
  Arm<CheckCall>(queue);
  Arm<WatchCall>(queue);
}

bool HealthService::Knows(const std::string& name) const {
  return name.empty() || std::find(names_.begin(), names_.end(), name) != names_.end();
}

void HealthService::SetServing(bool serving) {
  MutexLock lock(&mutex_);
  serving_ = serving;
  for (WatchCall* const watcher : watchers_) watcher->Tell();
}

}  // namespace switchyard::grpc_listener
