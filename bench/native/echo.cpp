// The floor for bench/run: a gRPC server of the same library and shape as Switchyard's (completion queues, raw byte buffers, a
// thread for each core) that looks at nothing.
//   bench_echo READY_FILE [ANSWER_BYTES]    answers each call of any method with its own message, or with so many zero bytes
// Writes its address into READY_FILE as JSON; ends on SIGTERM.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kWaitingCalls = 64;

class Call {
 public:
  Call(grpc::AsyncGenericService& service, grpc::ServerCompletionQueue& queue, const grpc::ByteBuffer* answer)
      : service_(service), queue_(queue), answer_(answer), stream_(&context_) {
    service_.RequestCall(&context_, &stream_, &queue_, &queue_, this);
  }

  // The next event of this call; deletes it at its end.
  void Go(bool ok) {
    switch (step_++) {
      case 0:
        if (!ok) break;
        new Call(service_, queue_, answer_);
        stream_.Read(&message_, this);
        return;
      case 1:
        if (!ok) {
          stream_.Finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "no message"), this);
        } else {
          stream_.WriteAndFinish(answer_ != nullptr ? *answer_ : message_, grpc::WriteOptions(), grpc::Status::OK, this);
        }
        return;
      default:
        break;
    }
    delete this;
  }

 private:
  grpc::AsyncGenericService& service_;
  grpc::ServerCompletionQueue& queue_;
  const grpc::ByteBuffer* answer_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_;
  grpc::ByteBuffer message_;
  int step_ = 0;
};

unsigned Cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

int Serve(const std::string& ready_file, size_t answer_bytes) {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGTERM);

  const grpc::Slice zeros(std::string(answer_bytes, '\0'));
  const grpc::ByteBuffer answer(&zeros, 1);
  grpc::AsyncGenericService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterAsyncGenericService(&service);
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  for (unsigned i = 0; i < Cores(); ++i) queues.push_back(builder.AddCompletionQueue());
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  std::vector<std::thread> threads;
  for (const auto& queue : queues) {
    for (int i = 0; i < kWaitingCalls; ++i) new Call(service, *queue, answer_bytes > 0 ? &answer : nullptr);
    threads.emplace_back([&queue = *queue] {
      void* tag = nullptr;
      bool ok = false;
      while (queue.Next(&tag, &ok)) static_cast<Call*>(tag)->Go(ok);
    });
  }
  const std::string half = ready_file + ".half";
  std::ofstream(half) << "{\"grpc\": \"127.0.0.1:" << port << "\"}\n";
  std::rename(half.c_str(), ready_file.c_str());
  int signal = 0;
  sigwait(&stop, &signal);
  server->Shutdown(std::chrono::system_clock::now());
  for (const auto& queue : queues) queue->Shutdown();
  for (std::thread& thread : threads) thread.join();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fputs("usage: bench_echo READY_FILE [ANSWER_BYTES]\n", stderr);
    return 64;
  }
  return Serve(argv[1], argc == 3 ? std::strtoul(argv[2], nullptr, 10) : 0);
}
