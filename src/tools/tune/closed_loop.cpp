#include "tools/tune/closed_loop.h"

#include <algorithm>
#include <deque>
#include <string_view>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "tools/latency.h"

namespace switchyard::tune {
namespace {

using Clock = std::chrono::steady_clock;
using Inputs = std::shared_ptr<const std::vector<ClientTensor>>;

ClientTensor ToClientTensor(const NamedOutput& output) {
  ClientTensor tensor;
  tensor.name = output.spec->name;
  tensor.type = output.tensor.type;
  tensor.shape = output.tensor.shape;
  tensor.strings = output.tensor.strings;
  if (output.tensor.bytes > 0) tensor.data.assign(reinterpret_cast<const char*>(output.tensor.data), output.tensor.bytes);
  return tensor;
}

// One calling thread and the calls that it keeps in flight. Answers come on other threads, or within Infer.
class Caller {
 public:
  Caller(const std::function<StatusOr<Handle>()>& acquire, const std::vector<Inputs>& inputs, size_t calls)
      : acquire_(acquire), inputs_(inputs), calls_(calls) {}

  void Run(Clock::time_point until, const std::atomic<bool>& interrupted) {
    size_t in_flight = 0;
    for (; in_flight < calls_; ++in_flight) Start();
    while (in_flight > 0) {
      const Answered answered = Next();
      --in_flight;
      if (!answered.status.ok()) {
        if (error_.ok()) error_ = answered.status;
        continue;
      }
      milliseconds_.push_back(std::chrono::duration<double, std::milli>(answered.took).count());
      if (Clock::now() >= until || interrupted.load() || !error_.ok()) continue;
      Start();
      ++in_flight;
    }
  }

  const Status& error() const { return error_; }
  const std::vector<double>& milliseconds() const { return milliseconds_; }

 private:
  struct Answered {
    Status status;
    Clock::duration took{};
  };

  void Start() {
    std::shared_ptr<InferCall> call = MakeCall(inputs_[next_input_++ % inputs_.size()]);
    const Clock::time_point begin = Clock::now();
    call->received = begin;
    call->on_done = [this, begin](InferCall&, const Status& status) {
      MutexLock lock(&mutex_);
      answered_.push_back({status, Clock::now() - begin});
    };
    StatusOr<Handle> handle = acquire_();
    if (!handle.ok()) {
      MutexLock lock(&mutex_);
      answered_.push_back({handle.status(), {}});
      return;
    }
    Infer(*std::move(handle), std::move(call));
  }

  Answered Next() {
    MutexLock lock(&mutex_);
    mutex_.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !answered_.empty(); });
    Answered answered = std::move(answered_.front());
    answered_.pop_front();
    return answered;
  }

  const std::function<StatusOr<Handle>()>& acquire_;
  const std::vector<Inputs>& inputs_;
  const size_t calls_;
  size_t next_input_ = 0;
  Status error_;
  std::vector<double> milliseconds_;
  Mutex mutex_;
  std::deque<Answered> answered_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<InferCall> MakeCall(Inputs inputs) {
  auto call = std::make_shared<InferCall>();
  for (const ClientTensor& input : *inputs) {
    TensorView view;
    view.type = input.type;
    view.shape = input.shape;
    if (input.type == ElementType::kBytes) {
      auto table = std::make_unique<std::string_view[]>(input.strings.size());
      std::copy(input.strings.begin(), input.strings.end(), table.get());
      view.strings = absl::MakeConstSpan(table.get(), input.strings.size());
      call->request.string_tables.push_back(std::move(table));
    } else {
      view.data = reinterpret_cast<const std::byte*>(input.data.data());
      view.bytes = input.data.size();
    }
    call->request.inputs.push_back(NamedTensor{input.name, std::move(view)});
  }
  call->attachment = std::const_pointer_cast<std::vector<ClientTensor>>(std::move(inputs));
  return call;
}

StatusOr<std::vector<ClientTensor>> InferOnce(Handle handle, Inputs inputs) {
  struct Answer {
    Notification done;
    Status status;
    std::vector<ClientTensor> outputs;
  };
  const auto answer = std::make_shared<Answer>();
  std::shared_ptr<InferCall> call = MakeCall(std::move(inputs));
  call->on_done = [answer](InferCall& done, const Status& status) {
    answer->status = status;
    if (status.ok()) {
      for (const NamedOutput& output : done.outputs) answer->outputs.push_back(ToClientTensor(output));
    }
    answer->done.Notify();
  };
  Infer(std::move(handle), std::move(call));
  answer->done.WaitForNotification();
  SY_RETURN_IF_ERROR(answer->status);
  return std::move(answer->outputs);
}

StatusOr<Figures> RunClosedLoop(const std::function<StatusOr<Handle>()>& acquire, const std::vector<Inputs>& inputs,
                                size_t concurrency, size_t threads, std::chrono::duration<double> duration,
                                const std::atomic<bool>& interrupted) {
  threads = std::clamp<size_t>(threads, 1, concurrency);
  std::vector<std::unique_ptr<Caller>> callers;
  for (size_t i = 0; i < threads; ++i) {
    callers.push_back(std::make_unique<Caller>(acquire, inputs, concurrency / threads + (i < concurrency % threads ? 1 : 0)));
  }
  const Clock::time_point begin = Clock::now();
  const Clock::time_point until = begin + std::chrono::duration_cast<Clock::duration>(duration);
  std::vector<std::thread> running;
  for (const auto& caller : callers) running.emplace_back([&, one = caller.get()] { one->Run(until, interrupted); });
  for (std::thread& thread : running) thread.join();
  const std::chrono::duration<double> took = Clock::now() - begin;
  std::vector<double> milliseconds;
  for (const auto& caller : callers) {
    SY_RETURN_IF_ERROR(caller->error());
    milliseconds.insert(milliseconds.end(), caller->milliseconds().begin(), caller->milliseconds().end());
  }
  const LatencySummary summary = Summarize(std::move(milliseconds), 0, took);
  return Figures{.per_second = summary.per_second,
                 .p50_ms = summary.p50,
                 .p99_ms = summary.p99,
                 .concurrency = concurrency,
                 .calls = summary.calls};
}

}  // namespace switchyard::tune
