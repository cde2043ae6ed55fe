#include "serving/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "runtime/fake/fake_runtime.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

using std::chrono::milliseconds;
using testing::Each;
using testing::IsEmpty;

// One Version of the dummy model on the fake runtime, with `requests` infer requests.
class ExecutorTest : public testing::Test {
 protected:
  void Load(int requests, uint32_t max_queue = 1024, Duration inline_cost = Duration::zero()) {
    lane_ = MakeTestLane("CPU", requests, inline_cost);
    auto executor = std::make_shared<Executor>(timer_, Executor::Options{.model_name = "dummy", .max_queue = max_queue});
    executor_ = executor.get();
    executor->SetRoute(LaneRoute{.lanes = {lane_}});
    auto version = std::make_unique<Version>(ModelSettings{.name = "dummy"}, 1, DummySignature(), std::move(executor));
    slot_ = std::make_shared<VersionSlot>(std::move(version), [this](VersionSlot&) { drained_.Notify(); });
  }
  std::shared_ptr<Lane> MakeTestLane(const std::string& device, int requests, Duration inline_cost = Duration::zero()) {
    std::shared_ptr<CompiledModel> model =
        *runtime_.Load(LoadRequest{.settings = ModelSettings{.name = "dummy"}, .target = device});
    std::vector<std::unique_ptr<InferRequest>> made;
    for (int i = 0; i < requests; ++i) made.push_back(*model->CreateInferRequest());
    return std::make_shared<Lane>(
        model, std::move(made),
        Lane::Options{.target = device, .device = device, .devices = {device}, .inline_cost = inline_cost});
  }
  void TearDown() override {
    runtime_.CompleteAll();
    lane_.reset();
    if (slot_ != nullptr) {
      slot_->Close();
      EXPECT_FALSE(slot_->Acquire());
      drained_.WaitForNotification();
      slot_->Destroy();
    }
    EXPECT_THAT(runtime_.violations(), IsEmpty());
    EXPECT_EQ(runtime_.live_requests(), 0u);
    EXPECT_EQ(timer_.pending(), 0u);
  }
  void Run(const TestCall& test) {
    ASSERT_TRUE(slot_->Acquire());
    Infer(Handle(slot_), test.call);
  }
  // Threads that call at the same time; each checks every answer of its own.
  void RaceCalls() {
    constexpr int kThreads = 4;
    constexpr int kCalls = 300;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kCalls; ++i) {
          TestCall test(static_cast<float>(t));
          Run(test);
          test.answer->done.WaitForNotification();
          ASSERT_TRUE(test.answer->status.ok());
          ASSERT_THAT(test.answer->values, Each(t + 1.0f));
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }

  FakeRuntime runtime_;
  ManualTimer timer_;
  Notification drained_;
  std::shared_ptr<VersionSlot> slot_;
  std::shared_ptr<Lane> lane_;
  Executor* executor_ = nullptr;
};

TEST_F(ExecutorTest, ACallRunsAndAnswers) {
  Load(1);
  TestCall test(4.0f);
  Run(test);
  EXPECT_FALSE(test.answer->done.HasBeenNotified());
  EXPECT_EQ(executor_->active(), 1u);
  runtime_.CompleteNext();
  ASSERT_TRUE(test.answer->status.ok()) << test.answer->status;
  EXPECT_THAT(test.answer->values, Each(5.0f));
  EXPECT_EQ(executor_->active(), 0u);
}

TEST_F(ExecutorTest, CallsWaitInOrderForAFreeRequest) {
  Load(1);
  std::vector<TestCall> tests(3);
  for (const TestCall& test : tests) Run(test);
  EXPECT_EQ(executor_->queued(), 2u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(runtime_.CompleteNext());
    EXPECT_TRUE(tests[i].answer->status.ok());
    if (i < 2) {
      EXPECT_FALSE(tests[i + 1].answer->done.HasBeenNotified());
    }
  }
  EXPECT_EQ(runtime_.max_running(), 1u);
}

TEST_F(ExecutorTest, PrioritiesOrderWhatWaitsAndNothingStarves) {
  Load(1);
  std::vector<int> order;
  const auto run = [&](int name, uint64_t priority) {
    TestCall test;
    test.call->request.priority = priority;
    test.call->on_done = [&order, name](InferCall&, const Status&) { order.push_back(name); };
    Run(test);
  };
  run(0, 0);
  run(1, 3);
  run(2, 0);
  run(3, 1);
  run(4, 2);
  runtime_.CompleteAll();
  EXPECT_THAT(order, testing::ElementsAre(0, 3, 2, 4, 1));
  order.clear();
  run(0, 0);
  run(1, 0);
  timer_.Advance(std::chrono::milliseconds(1001));
  run(2, 1);
  runtime_.CompleteAll();
  EXPECT_THAT(order, testing::ElementsAre(0, 1, 2)) << "who waited for a second goes before a fresh call of the next level";
}

TEST_F(ExecutorTest, AFullQueueRefuses) {
  Load(1, 1);
  std::vector<TestCall> tests(3);
  for (const TestCall& test : tests) Run(test);
  EXPECT_EQ(tests[2].answer->status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(executor_->queued(), 1u);
}

TEST_F(ExecutorTest, ACancelledCallFreesItsPlace) {
  Load(1, 1);
  std::vector<TestCall> tests(3);
  Run(tests[0]);
  Run(tests[1]);
  tests[1].call->Cancel(absl::CancelledError("gone"));
  EXPECT_EQ(tests[1].answer->status.code(), StatusCode::kCancelled);
  EXPECT_EQ(executor_->queued(), 0u);
  Run(tests[2]);
  runtime_.CompleteAll();
  EXPECT_TRUE(tests[2].answer->status.ok());
  EXPECT_EQ(runtime_.async_starts(), 2u);
}

TEST_F(ExecutorTest, ADeadlinePassesInTheQueueByTheTimerAlone) {
  Load(1);
  TestCall running;
  TestCall waiting(1.0f, timer_.Now() + milliseconds(10));
  Run(running);
  Run(waiting);
  timer_.Advance(milliseconds(9));
  EXPECT_FALSE(waiting.answer->done.HasBeenNotified());
  timer_.Advance(milliseconds(1));
  EXPECT_EQ(waiting.answer->status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(executor_->queued(), 0u);
}

TEST_F(ExecutorTest, ADeadlinePassesDuringTheInferenceAndTheLateResultIsDropped) {
  Load(1);
  TestCall test(1.0f, timer_.Now() + milliseconds(10));
  std::weak_ptr<InferCall> alive = test.call;
  Run(test);
  test.call.reset();
  timer_.Advance(milliseconds(10));
  EXPECT_EQ(test.answer->status.code(), StatusCode::kDeadlineExceeded);
  // The device may still read the call's memory: it lives until the callback has come.
  EXPECT_FALSE(alive.expired());
  runtime_.CompleteNext();
  EXPECT_TRUE(alive.expired());
  EXPECT_EQ(test.answer->status.code(), StatusCode::kDeadlineExceeded);
}

TEST_F(ExecutorTest, AnExpiredCallDoesNotStart) {
  Load(1);
  TestCall test(1.0f, timer_.Now());
  Run(test);
  EXPECT_EQ(test.answer->status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(runtime_.async_starts(), 0u);
}

TEST_F(ExecutorTest, AnErrorOfTheDeviceIsTheAnswerAndTheNextCallRuns) {
  Load(1);
  TestCall first, second;
  Run(first);
  Run(second);
  runtime_.CompleteNext(absl::InternalError("device lost"));
  EXPECT_EQ(first.answer->status.code(), StatusCode::kInternal);
  runtime_.CompleteNext();
  EXPECT_TRUE(second.answer->status.ok());
}

TEST_F(ExecutorTest, ABindErrorIsTheAnswerAndFreesTheRequest) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.bind_error = absl::InternalError("cannot bind"); });
  Load(1);
  TestCall test;
  Run(test);
  EXPECT_EQ(test.answer->status.code(), StatusCode::kInternal);
  EXPECT_EQ(executor_->active(), 0u);
}

TEST_F(ExecutorTest, CallsThatAllFailAtTheirStartAreNoDeepStack) {
  constexpr uint32_t kCalls = 40000;
  Load(1, kCalls);
  Run(TestCall());
  uint32_t failed = 0;
  for (uint32_t i = 0; i < kCalls; ++i) {
    TestCall test;
    test.call->on_done = [&](InferCall&, const Status& status) { failed += status.code() == StatusCode::kInternal ? 1 : 0; };
    Run(test);
  }
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.bind_error = absl::InternalError("cannot bind"); });
  ASSERT_TRUE(runtime_.CompleteNext());
  EXPECT_EQ(failed, kCalls);
  EXPECT_EQ(executor_->active(), 0u);
}

TEST_F(ExecutorTest, ACheapModelRunsOnTheCallersThreadAndADearOneDoesNot) {
  runtime_.Update("dummy", [this](FakeRuntime::Script& script) {
    script.on_infer = [this] { timer_.Advance(std::chrono::microseconds(5)); };
  });
  Load(1, 1024, std::chrono::microseconds(5));
  const size_t measured = runtime_.infers();
  TestCall cheap;
  Run(cheap);
  EXPECT_TRUE(cheap.answer->status.ok());
  EXPECT_EQ(runtime_.infers(), measured + 1);
  EXPECT_EQ(runtime_.async_starts(), 0u);

  runtime_.Update("dummy",
                  [this](FakeRuntime::Script& script) { script.on_infer = [this] { timer_.Advance(milliseconds(50)); }; });
  for (int i = 0; i < 40; ++i) {  // one dear inference proves little, many do
    Run(TestCall());
    runtime_.CompleteAll();
  }
  const size_t before = runtime_.infers();
  for (int i = 0; i < 8; ++i) {
    Run(TestCall());
    runtime_.CompleteAll();
  }
  EXPECT_LE(runtime_.infers() - before, 1u);
}

TEST_F(ExecutorTest, AModelThatWasNotMeasuredNeverRunsInline) {
  Load(1);
  Run(TestCall());
  EXPECT_EQ(runtime_.infers(), 0u);
  EXPECT_EQ(runtime_.async_starts(), 1u);
}

TEST_F(ExecutorTest, AModelThatLookedDearOnABusyMachineRunsInlineInTheEnd) {
  Load(1, 1024, std::chrono::milliseconds(5));
  runtime_.Update("dummy", [&](FakeRuntime::Script& script) {
    script.on_infer = [&] { timer_.Advance(std::chrono::microseconds(10)); };
  });
  for (int i = 0; i < 1000 && runtime_.infers() < 100; ++i) {
    Run(TestCall());
    runtime_.CompleteAll();
  }
  EXPECT_EQ(runtime_.infers(), 100u);
}

TEST_F(ExecutorTest, TheCostIsTheBestOfSeveralRunsAndAFailureIsTold) {
  int runs = 0;
  runtime_.Update("dummy", [&](FakeRuntime::Script& script) {
    script.on_infer = [&] { timer_.Advance(std::chrono::microseconds(++runs == 1 ? 500 : 7)); };
  });
  std::shared_ptr<CompiledModel> model = *runtime_.Load(LoadRequest{ModelSettings{.name = "dummy"}});
  const std::unique_ptr<InferRequest> request = *model->CreateInferRequest();
  const TestCall zeros(0.0f);
  const TensorView view = zeros.call->request.inputs[0].tensor;
  EXPECT_EQ(*MeasureCost(*request, {&view, 1}, timer_), std::chrono::microseconds(7));
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.infer_error = absl::InternalError("no"); });
  EXPECT_EQ(MeasureCost(*request, {&view, 1}, timer_).status().code(), StatusCode::kInternal);
}

TEST_F(ExecutorTest, ThreadsThatRaceForOneRequestLoseNoCall) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.async = FakeRuntime::Async::kThread; });
  Load(2);
  RaceCalls();
  EXPECT_LE(runtime_.max_running(), 2u);
}

TEST_F(ExecutorTest, InlineThreadsThatRaceLoseNoCall) {
  Load(1, 1024, std::chrono::microseconds(5));
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.async = FakeRuntime::Async::kThread; });
  RaceCalls();
}

TEST_F(ExecutorTest, CancelsThatRaceWithCompletionAnswerEachCallOnce) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.async = FakeRuntime::Async::kThread; });
  Load(1);
  for (int i = 0; i < 300; ++i) {
    TestCall test;
    Run(test);
    std::thread canceller([&] { test.call->Cancel(absl::CancelledError("gone")); });
    test.answer->done.WaitForNotification();  // a second answer would notify twice, which ends the process
    canceller.join();
  }
  TestCall last;
  Run(last);
  last.answer->done.WaitForNotification();
  EXPECT_TRUE(last.answer->status.ok());
}

}  // namespace
}  // namespace switchyard
