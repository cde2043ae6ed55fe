#include "tools/infer.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <mutex>
#include <thread>

#include "tools/command.h"
#include "tools/files.h"
#include "tools/infer_client.h"
#include "tools/infer_options.h"
#include "tools/latency.h"
#include "tools/print_tensor.h"

namespace switchyard {
namespace {

using Clock = std::chrono::steady_clock;

void Print(std::FILE* file, const std::string& text) { std::fwrite(text.data(), 1, text.size(), file); }

StatusOr<std::unique_ptr<InferClient>> MakeClient(const InferOptions& options) {
  const InferTarget target{options.address, options.model, options.version, options.timeout};
  switch (options.protocol) {
    case InferProtocol::kKserveGrpc:
      return MakeKserveGrpcClient(target);
    case InferProtocol::kKserveRest:
      return MakeKserveRestClient(target);
    case InferProtocol::kTfsGrpc:
      return MakeTfsGrpcClient(target);
    case InferProtocol::kTfsRest:
      return MakeTfsRestClient(target);
  }
  return InvalidArgument("unknown protocol");
}

std::string Names(const std::vector<ClientTensorSpec>& specs) {
  std::string text;
  for (const ClientTensorSpec& spec : specs) {
    text += fmt::format("{}{} {} {}", text.empty() ? "" : ", ", spec.name, KserveName(spec.type), ToString(spec.shape));
  }
  return text;
}

StatusOr<std::vector<ClientTensor>> MakeInputs(const InferOptions& options, const ModelDescription& model) {
  const auto find = [&](const std::string& name) -> const ClientTensorSpec* {
    for (const ClientTensorSpec& spec : model.inputs) {
      if (spec.name == name) return &spec;
    }
    return nullptr;
  };
  for (const auto& [name, shape] : options.shapes) {
    if (find(name) == nullptr)
      return InvalidArgument("--shape {}: the model has no such input; it has: {}", name, Names(model.inputs));
  }
  std::vector<ClientTensor> inputs;
  for (const auto& [name, text] : options.inputs) {
    const ClientTensorSpec* spec = find(name);
    if (spec == nullptr)
      return InvalidArgument("--input {}: the model has no such input; it has: {}", name, Names(model.inputs));
    const Shape* shape = nullptr;
    for (const auto& entry : options.shapes) {
      if (entry.first == name) shape = &entry.second;
    }
    SY_ASSIGN_OR_RETURN(ClientTensor tensor, MakeInput(*spec, text, shape, inputs.size() + 1));
    inputs.push_back(std::move(tensor));
  }
  if (inputs.empty() && !model.inputs.empty()) {
    return InvalidArgument("no --input is given; the model takes: {}", Names(model.inputs));
  }
  return inputs;
}

struct RunOutcome {
  std::vector<double> milliseconds;  // of the successful calls
  size_t errors = 0;
  Status first_error;
  std::vector<ClientTensor> outputs;  // of the first successful call
};

// What the calling threads share: how many calls are left, and how far they have come.
struct Progress {
  std::atomic<uint64_t> started{0};
  std::atomic<uint64_t> ended{0};
};

void CallRepeatedly(InferClient& client, uint64_t total, Progress* progress, RunOutcome* outcome) {
  while (progress->started.fetch_add(1) < total) {
    const Clock::time_point begin = Clock::now();
    Status status = client.Call();
    const std::chrono::duration<double, std::milli> took = Clock::now() - begin;
    if (status.ok() && outcome->milliseconds.empty()) {
      auto outputs = client.Outputs();
      status = outputs.status();
      if (outputs.ok()) outcome->outputs = *std::move(outputs);
    }
    if (status.ok()) {
      outcome->milliseconds.push_back(took.count());
    } else {
      if (outcome->errors++ == 0) outcome->first_error = status;
    }
    progress->ended.fetch_add(1);
  }
}

// Tells on stderr how far it has come, every other second, until it is destroyed.
class ProgressPrinter {
 public:
  ProgressPrinter(const Progress& progress, uint64_t total) : thread_([this, &progress, total] { Run(progress, total); }) {}
  ~ProgressPrinter() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  void Run(const Progress& progress, uint64_t total) {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, std::chrono::seconds(2), [this] { return done_; })) {
      Print(stderr, fmt::format("{} of {} calls\n", progress.ended.load(), total));
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

RunOutcome Merge(std::vector<RunOutcome> parts) {
  RunOutcome all;
  for (RunOutcome& part : parts) {
    all.milliseconds.insert(all.milliseconds.end(), part.milliseconds.begin(), part.milliseconds.end());
    all.errors += part.errors;
    if (all.first_error.ok()) all.first_error = part.first_error;
    if (all.outputs.empty()) all.outputs = std::move(part.outputs);
  }
  return all;
}

StatusOr<RunOutcome> CallAll(const InferOptions& options, const ModelDescription& model,
                             const std::vector<ClientTensor>& inputs, std::unique_ptr<InferClient> first,
                             std::chrono::duration<double>* wall) {
  const uint64_t threads = std::min(options.concurrency, options.repeat);
  std::vector<std::unique_ptr<InferClient>> clients;
  clients.push_back(std::move(first));
  while (clients.size() < threads) {
    SY_ASSIGN_OR_RETURN(auto client, MakeClient(options));
    SY_RETURN_IF_ERROR(client->Connect());
    clients.push_back(std::move(client));
  }
  for (const auto& client : clients) SY_RETURN_IF_ERROR(client->Prepare(model, inputs));

  Progress progress;
  std::vector<RunOutcome> outcomes(threads);
  const ProgressPrinter printer(progress, options.repeat);
  const Clock::time_point begin = Clock::now();
  {
    std::vector<std::jthread> others;
    for (size_t i = 1; i < threads; ++i) {
      others.emplace_back([&, i] { CallRepeatedly(*clients[i], options.repeat, &progress, &outcomes[i]); });
    }
    CallRepeatedly(*clients[0], options.repeat, &progress, &outcomes[0]);
  }
  *wall = Clock::now() - begin;
  return Merge(std::move(outcomes));
}

void PrintOutcome(const InferOptions& options, const std::vector<std::string>& labels, const RunOutcome& outcome,
                  const LatencySummary& summary) {
  std::string out;
  if (options.json) {
    out = "{\"outputs\":[";
    for (const ClientTensor& tensor : outcome.outputs) {
      if (&tensor != &outcome.outputs.front()) out += ',';
      out += ToJson(tensor);
    }
    out += "],\"latency_ms\":" + ToJson(summary) + "}\n";
  } else if (options.repeat == 1) {
    for (const ClientTensor& tensor : outcome.outputs) out += ToText(tensor, options.top_k, labels);
    out += fmt::format("{:.3f} ms\n", summary.mean);
  } else {
    out = ToText(summary);
  }
  Print(stdout, out);
  std::fflush(stdout);
}

StatusOr<std::vector<std::string>> ReadLabels(const std::string& path) {
  if (path.empty()) return std::vector<std::string>();
  const auto text = ReadFile(path);
  if (!text.ok()) return Annotate(text.status(), "--labels");
  return ParseLabels(*text);
}

int CallModel(const InferOptions& options) {
  const auto labels = ReadLabels(options.labels_file);
  if (!labels.ok()) return Fail("infer", kExitUsage, Message(labels.status()));
  auto client = MakeClient(options);
  if (!client.ok()) return Fail("infer", kExitUsage, Message(client.status()));
  const auto model = (*client)->Describe();
  if (!model.ok()) {
    return Fail("infer", kExitFailure,
                fmt::format("asking for the metadata of model {}: {}", options.model, Message(model.status())));
  }
  const auto inputs = MakeInputs(options, *model);
  if (!inputs.ok()) return Fail("infer", kExitUsage, Message(inputs.status()));

  std::chrono::duration<double> wall{0};
  auto outcome = CallAll(options, *model, *inputs, *std::move(client), &wall);
  if (!outcome.ok()) return Fail("infer", kExitFailure, Message(outcome.status()));
  const LatencySummary summary = Summarize(outcome->milliseconds, outcome->errors, wall);
  if (summary.calls > 0 || options.json || options.repeat > 1) PrintOutcome(options, *labels, *outcome, summary);
  if (outcome->errors == 0) return kExitOk;
  return Fail("infer", kExitFailure, Message(outcome->first_error));
}

}  // namespace

int RunInfer(int argc, const char* const* argv) {
  const auto parsed = ParseInferOptions(argc, argv);
  if (const auto* usage = std::get_if<InferUsage>(&parsed)) {
    Print(usage->exit_code == kExitOk ? stdout : stderr, usage->text);
    return usage->exit_code;
  }
  try {
    return CallModel(std::get<InferOptions>(parsed));
  } catch (const std::exception& error) {  // memory, threads, sockets: what libraries throw when the system refuses
    return Fail("infer", kExitFailure, error.what());
  }
}

}  // namespace switchyard
