#include "transport/grpc/call_context.h"

#include "transport/grpc/stream_call.h"
#include "transport/grpc/unary_call.h"

namespace switchyard::grpc_listener {

void CallContext::Add(StreamCall& stream) {
  MutexLock lock(&mutex_);
  streams_.insert(&stream);
}

void CallContext::Remove(StreamCall& stream) {
  MutexLock lock(&mutex_);
  streams_.erase(&stream);
}

void CallContext::EndStreams() {
  MutexLock lock(&mutex_);
  for (StreamCall* const stream : streams_) stream->End();
}

void MethodPort::Fill() {
  while (armed.load(std::memory_order_relaxed) < most && gate.Enter(context.stopping)) {
    if (streaming()) {
      StreamCall::Arm(*this);
    } else {
      (new UnaryCall(*this))->Arm();
    }
    gate.Leave();
  }
}

}  // namespace switchyard::grpc_listener
