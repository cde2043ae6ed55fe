// What the tests of sequences share: calls of both protocols, and a Manager over the fake runtime, whose model answers with the
// sum of what its sequence was given.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/fake/fake_runtime.h"
#include "serving/executor.h"
#include "serving/placer.h"
#include "serving/sequences.h"
#include "serving/test_calls.h"

namespace switchyard {

enum Control : uint32_t { kNone = 0, kStart = 1, kEnd = 2 };

// A call as TensorFlow Serving's clients make it.
struct SequenceCall : TestCall {
  SequenceCall(uint64_t id, uint32_t control, float value = 1, TimePoint deadline = kNoDeadline) : TestCall(value, deadline) {
    Add(kSequenceIdInput, ElementType::kUint64, id);
    Add(kSequenceControlInput, ElementType::kUint32, control);
  }
  template <typename Number>
  void Add(std::string_view name, ElementType type, Number number) {
    Buffer memory = Buffer::Allocate(sizeof(number));
    std::memcpy(memory.data(), &number, sizeof(number));
    call->request.inputs.push_back({name, TensorView{type, Shape{1}, memory.data(), sizeof(number)}});
    call->request.memory.push_back(std::move(memory));
  }
  uint64_t id() const {
    uint64_t number = 0;
    std::memcpy(&number, call->outputs.back().tensor.data, sizeof(number));
    return number;
  }
};

// The same as KServe's clients make it.
struct ParameterCall : TestCall {
  ParameterCall(SequenceId id, bool start, bool end, float value = 1) : TestCall(value) {
    call->request.sequence = std::make_unique<SequenceRequest>(SequenceRequest{std::move(id), start, end, true});
  }
};

class SequencesTest : public testing::Test {
 protected:
  void Start(ModelSettings settings, std::vector<std::string> devices = {"CPU"}) {
    runtime_.SetDeviceNames(devices);
    runtime_.Update(settings.name, [](FakeRuntime::Script& script) { script.facts.stateful = true; });
    Manager::Options options;
    options.sequence_idle = std::chrono::minutes(5);
    options.max_queue = max_queue_;
    manager_ = std::make_unique<Manager>(runtime_, timer_, options);
    Want({std::move(settings)});
  }
  void Want(std::vector<ModelSettings> models) {
    manager_->SetWanted(std::move(models), {});
    manager_->WaitForLoads();
  }
  void SetAsync(FakeRuntime::Async async) {
    // Without steady_cost nothing runs on the caller's thread.
    runtime_.Update("dummy", [&](FakeRuntime::Script& script) {
      script.async = async;
      script.facts.steady_cost = false;
    });
  }
  ModelSettings Dummy(uint32_t nireq = 0) {
    ModelSettings settings = repository_.Add("dummy", {1});
    settings.nireq = nireq;
    return settings;
  }
  void Run(const TestCall& test, std::optional<int64_t> version = std::nullopt) {
    auto handle = manager_->Acquire("dummy", version);
    // A Version that was replaced between the look at the map and the taking of it.
    while (handle.status().code() == StatusCode::kUnavailable) handle = manager_->Acquire("dummy", version);
    ASSERT_TRUE(handle.ok()) << handle.status();
    test.call->request.version = version;
    Infer(*std::move(handle), test.call);
  }
  // The first value of the answer; what went wrong as a string otherwise.
  std::string Result(const TestCall& test) {
    if (!test.answer->done.WaitFor(std::chrono::seconds(10))) return "no answer";
    if (!test.answer->status.ok()) return test.answer->status.ToString();
    return fmt::format("{}", test.answer->values[0]);
  }
  std::string Call(uint64_t id, uint32_t control, float value = 1) {
    const SequenceCall call(id, control, value);
    Run(call);
    return Result(call);
  }
  Sequences& Table() { return *(*manager_->Acquire("dummy", std::nullopt))->sequences(); }
  void TearDown() override {
    if (manager_ == nullptr) return;
    runtime_.CompleteAll();
    manager_->Shutdown();
    EXPECT_TRUE(manager_->Drain(timer_.Now() + std::chrono::seconds(10)));
    manager_.reset();
    // The thread that delivered the last answer may not have let go of it yet.
    for (int i = 0; i < 10000 && runtime_.live_models() > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_THAT(runtime_.violations(), testing::IsEmpty());
    EXPECT_EQ(runtime_.live_requests(), 0u);
    EXPECT_EQ(runtime_.live_models(), 0u);
  }

  FakeRuntime runtime_;
  ManualTimer timer_;
  TempRepository repository_;
  uint32_t max_queue_ = 1024;  // of Start
  std::unique_ptr<Manager> manager_;
};

}  // namespace switchyard
