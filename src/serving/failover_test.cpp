// Executor and lanes: what happens to calls when devices fail, hang, come and go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <utility>

#include "device/fault.h"
#include "runtime/fake/fake_runtime.h"
#include "serving/executor.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

using std::chrono::milliseconds;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Status kLost = MarkFault(absl::UnavailableError("CL_OUT_OF_RESOURCES"), Fault::kDevice);
const Status kOdd = MarkFault(absl::InternalError("something odd"), Fault::kUnclear);

class FailoverTest : public testing::Test {
 protected:
  void SetUp() override {
    executor_ = std::make_shared<Executor>(
        timer_, Executor::Options{.model_name = "dummy",
                                  .max_queue = 4,
                                  .on_fault = [this](const Lane& lane, const Status&) { faults_.push_back(lane.device()); },
                                  .on_retry =
                                      [this](const std::string& from) {
                                        retries_.push_back(from);
                                        if (const auto act = std::exchange(at_retry_, nullptr)) act();
                                      }});
    auto version = std::make_unique<Version>(ModelSettings{.name = "dummy"}, 1, DummySignature(), executor_);
    slot_ = std::make_shared<VersionSlot>(std::move(version), [this](VersionSlot&) { drained_.Notify(); });
  }
  void TearDown() override {
    runtime_.CompleteAll();
    slot_->Close();
    drained_.WaitForNotification();
    slot_->Destroy();
    executor_.reset();
    lanes_.clear();
    EXPECT_THAT(runtime_.violations(), IsEmpty());
    EXPECT_EQ(runtime_.live_requests(), 0u);
    EXPECT_EQ(timer_.pending(), 0u);
  }
  std::shared_ptr<Lane> Make(const std::string& device, int requests = 1) {
    std::shared_ptr<CompiledModel> model =
        *runtime_.Load(LoadRequest{.settings = ModelSettings{.name = "dummy"}, .target = device});
    std::vector<std::unique_ptr<InferRequest>> made;
    for (int i = 0; i < requests; ++i) made.push_back(*model->CreateInferRequest());
    lanes_.push_back(
        std::make_shared<Lane>(model, std::move(made), Lane::Options{.target = device, .device = device, .devices = {device}}));
    return lanes_.back();
  }
  void Run(const TestCall& test) {
    ASSERT_TRUE(slot_->Acquire());
    Infer(Handle(slot_), test.call);
  }

  FakeRuntime runtime_;
  ManualTimer timer_;
  std::vector<std::string> faults_;
  std::vector<std::string> retries_;
  std::function<void()> at_retry_;  // runs once, just before a call is run again
  std::vector<std::shared_ptr<Lane>> lanes_;
  std::shared_ptr<Executor> executor_;
  std::shared_ptr<VersionSlot> slot_;
  Notification drained_;
};

TEST_F(FailoverTest, AFatalErrorMovesTheCallToTheStandbyAtOnceAndNewOnesToo) {
  const auto gpu = Make("GPU.0", 2);
  const auto cpu = Make("CPU", 2);
  executor_->SetRoute({.lanes = {gpu, cpu}});
  TestCall first(1), second(2);
  Run(first);
  Run(second);
  EXPECT_EQ(gpu->active(), 2u);
  ASSERT_TRUE(runtime_.CompleteNext(kLost));
  EXPECT_FALSE(first.answer->done.HasBeenNotified());
  EXPECT_TRUE(gpu->closed());
  EXPECT_EQ(cpu->active(), 1u);
  TestCall third(3);
  Run(third);
  EXPECT_EQ(cpu->active(), 2u);
  runtime_.CompleteAll();  // the second call ends well on the device that is left
  for (const TestCall* test : {&first, &second, &third}) EXPECT_TRUE(test->answer->status.ok()) << test->answer->status;
  EXPECT_THAT(first.answer->values, Each(2.0f));
  EXPECT_THAT(third.answer->values, Each(4.0f));
  EXPECT_THAT(faults_, ElementsAre("GPU.0"));
  EXPECT_THAT(retries_, ElementsAre("GPU.0"));
  EXPECT_TRUE(gpu->drained());
  EXPECT_EQ(cpu->served(), 2u);
}

TEST_F(FailoverTest, WithoutAStandbyCallsWaitForTheNextDevice) {
  const auto gpu = Make("GPU.0");
  executor_->SetRoute({.lanes = {gpu}});
  TestCall first(1), second(2);
  Run(first);
  Run(second);
  ASSERT_TRUE(runtime_.CompleteNext(kLost));
  EXPECT_EQ(executor_->queued(), 2u);
  EXPECT_FALSE(executor_->serving());
  executor_->SetRoute({});
  EXPECT_EQ(executor_->queued(), 2u);
  EXPECT_THAT(retries_, IsEmpty());
  executor_->SetRoute({.lanes = {Make("CPU")}});
  EXPECT_THAT(retries_, ElementsAre("GPU.0")) << "the one that was running";
  EXPECT_EQ(executor_->queued(), 1u);
  runtime_.CompleteAll();
  EXPECT_THAT(first.answer->values, Each(2.0f));
  EXPECT_THAT(second.answer->values, Each(3.0f));
}

TEST_F(FailoverTest, WithNoDeviceLeftTheReasonIsTheAnswerAndNewCallsAreRefused) {
  const auto gpu = Make("GPU.0");
  executor_->SetRoute({.lanes = {gpu}});
  TestCall in_flight(1), waiting(2);
  Run(in_flight);
  Run(waiting);
  ASSERT_TRUE(runtime_.CompleteNext(kLost));
  executor_->SetRoute({.closed = absl::UnavailableError("device GPU.0 is lost")});
  EXPECT_EQ(in_flight.answer->status, kLost);
  EXPECT_THAT(retries_, IsEmpty()) << "it was not run again";
  EXPECT_THAT(waiting.answer->status.ToString(), HasSubstr("device GPU.0 is lost"));
  TestCall next(3);
  Run(next);
  EXPECT_EQ(next.answer->status.code(), StatusCode::kUnavailable);
}

TEST_F(FailoverTest, AHungDevicesCallsRunElsewhereAndItsLateResultIsDropped) {
  const auto gpu = Make("GPU.0");
  const auto cpu = Make("CPU");
  executor_->SetRoute({.lanes = {gpu, cpu}});
  TestCall test(1);
  Run(test);
  timer_.Advance(milliseconds(10));
  EXPECT_EQ(gpu->OldestAge(timer_.Now()), milliseconds(10));
  executor_->GiveUp(*gpu, absl::DeadlineExceededError("hung"));
  EXPECT_EQ(gpu->OldestAge(timer_.Now()), Duration::zero());
  EXPECT_EQ(cpu->active(), 1u);
  // The device wakes up: first the late one, then the retry.
  ASSERT_TRUE(runtime_.CompleteNext());
  EXPECT_FALSE(test.answer->done.HasBeenNotified());
  EXPECT_TRUE(gpu->drained());
  ASSERT_TRUE(runtime_.CompleteNext());
  EXPECT_THAT(test.answer->values, Each(2.0f));
}

TEST_F(FailoverTest, WhatAHungDeviceHoldsStaysUntilItLetsGo) {
  const auto gpu = Make("GPU.0");
  executor_->SetRoute({.lanes = {gpu, Make("CPU")}});
  auto test = std::make_unique<TestCall>(1.0f);
  const std::weak_ptr<InferCall> call = test->call;
  const std::shared_ptr<Answer> answer = test->answer;
  Run(*test);
  test.reset();
  executor_->GiveUp(*gpu, absl::DeadlineExceededError("hung"));
  ASSERT_TRUE(runtime_.WaitForHeld(2));
  // The retry is the later one: end it first by ending both in the other order is not possible, so that the late one comes
  // first.
  EXPECT_FALSE(call.expired());
  EXPECT_FALSE(gpu->drained());
  runtime_.CompleteAll();
  EXPECT_TRUE(answer->status.ok());
  EXPECT_TRUE(call.expired());
  EXPECT_TRUE(gpu->drained());
}

TEST_F(FailoverTest, AnUnclearErrorIsTriedOnAnotherDeviceAndElseIsTheAnswer) {
  const auto gpu = Make("GPU.0");
  const auto cpu = Make("CPU");
  executor_->SetRoute({.lanes = {gpu, cpu}});
  TestCall moved(1);
  Run(moved);
  ASSERT_TRUE(runtime_.CompleteNext(kOdd));
  EXPECT_FALSE(gpu->closed());
  ASSERT_TRUE(runtime_.CompleteNext());
  EXPECT_THAT(moved.answer->values, Each(2.0f));
  executor_->SetRoute({.lanes = {gpu}});
  TestCall alone(1);
  Run(alone);
  ASSERT_TRUE(runtime_.CompleteNext(kOdd));
  EXPECT_EQ(alone.answer->status, kOdd);
}

TEST_F(FailoverTest, AnUnclearErrorIsNotTriedAgainWhereItCameFromWhileAnotherDeviceIsBusy) {
  const auto gpu = Make("GPU.0", 2);
  const auto cpu = Make("CPU");
  executor_->SetRoute({.lanes = {gpu, cpu}});
  TestCall first(1), second(2), third(3);
  Run(first);
  Run(second);
  Run(third);
  ASSERT_TRUE(runtime_.CompleteNext(kOdd));  // the first goes to the CPU, the third begins
  ASSERT_TRUE(runtime_.CompleteNext(kOdd));
  EXPECT_EQ(executor_->queued(), 1u);
  EXPECT_EQ(gpu->active(), 1u);
  EXPECT_THAT(retries_, ElementsAre("GPU.0"));
  ASSERT_TRUE(runtime_.CompleteNext());
  EXPECT_TRUE(first.answer->status.ok());
  EXPECT_EQ(executor_->queued(), 0u);
  EXPECT_EQ(cpu->active(), 1u);
  runtime_.CompleteAll();
  EXPECT_THAT(second.answer->values, Each(3.0f));
  EXPECT_THAT(third.answer->values, Each(4.0f));
  EXPECT_THAT(retries_, ElementsAre("GPU.0", "GPU.0"));
  EXPECT_EQ(cpu->served(), 2u);
}

TEST_F(FailoverTest, ACallThatWaitsForAnotherDeviceGoesBackWhenThatIsGone) {
  const auto gpu = Make("GPU.0", 2);
  executor_->SetRoute({.lanes = {gpu, Make("CPU")}});
  TestCall first(1), second(2);
  Run(first);
  Run(second);
  ASSERT_TRUE(runtime_.CompleteNext(kOdd));
  ASSERT_TRUE(runtime_.CompleteNext(kOdd));
  EXPECT_EQ(executor_->queued(), 1u);
  executor_->SetRoute({.lanes = {gpu}});
  EXPECT_EQ(executor_->queued(), 0u);
  EXPECT_EQ(gpu->active(), 1u);
  runtime_.CompleteAll();
  for (const TestCall* test : {&first, &second}) EXPECT_TRUE(test->answer->status.ok()) << test->answer->status;
}

TEST_F(FailoverTest, ASlowDeviceTakesWhatAFastOneFailed) {
  const auto slow = Make("NPU");
  const auto fast = Make("GPU.0");
  slow->RecordService(milliseconds(100), timer_.Now());
  fast->RecordService(milliseconds(10), timer_.Now());
  TestCall failed(1), busy(2);
  executor_->SetRoute({.lanes = {fast}});
  Run(failed);
  executor_->SetRoute({.lanes = {slow}});
  Run(busy);
  executor_->SetRoute({.lanes = {slow, fast}, .all = true});
  ASSERT_TRUE(runtime_.CompleteNext(kOdd));
  EXPECT_EQ(executor_->queued(), 1u);
  ASSERT_TRUE(runtime_.CompleteNext());
  EXPECT_EQ(slow->active(), 1u);
  runtime_.CompleteAll();
  EXPECT_TRUE(failed.answer->status.ok()) << failed.answer->status;
}

TEST_F(FailoverTest, NotMoreFailedCallsWaitForAnotherDeviceThanMayWait) {
  executor_->SetRoute({.lanes = {Make("GPU.0", 8), Make("CPU")}});
  std::vector<TestCall> tests(8);
  for (const TestCall& test : tests) Run(test);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(runtime_.CompleteNext(kOdd));
  EXPECT_EQ(executor_->queued(), 5u);
  runtime_.CompleteAll();
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(tests[i].answer->status.ok()) << tests[i].answer->status;
  for (int i = 6; i < 8; ++i) EXPECT_EQ(tests[i].answer->status, kOdd);
}

TEST_F(FailoverTest, ACallThatIsAboutToBeginOnALaneThatIsGivenUpRunsElsewhere) {
  const auto first = Make("GPU.0");
  const auto second = Make("GPU.1");
  executor_->SetRoute({.lanes = {first, second}});
  TestCall test(1);
  Run(test);
  at_retry_ = [&] { executor_->GiveUp(*second, absl::DeadlineExceededError("hung")); };
  ASSERT_TRUE(runtime_.CompleteNext(kOdd));
  EXPECT_TRUE(second->drained());
  EXPECT_EQ(first->active(), 1u);
  runtime_.CompleteAll();
  EXPECT_THAT(test.answer->values, Each(2.0f));
}

TEST_F(FailoverTest, AModelsOwnErrorIsNotRetried) {
  executor_->SetRoute({.lanes = {Make("GPU.0"), Make("CPU")}});
  TestCall test(1);
  Run(test);
  ASSERT_TRUE(runtime_.CompleteNext(MarkFault(absl::InternalError("index out of range"), Fault::kModel)));
  EXPECT_EQ(test.answer->status.code(), StatusCode::kInternal);
  EXPECT_THAT(faults_, IsEmpty());
}

TEST_F(FailoverTest, ACallThatEveryDeviceFailsEnds) {
  executor_->SetRoute({.lanes = {Make("GPU.0"), Make("GPU.1")}});
  TestCall test(1);
  Run(test);
  for (int i = 0; i < 20 && runtime_.CompleteNext(kOdd); ++i) {
  }
  EXPECT_EQ(test.answer->status, kOdd);
  EXPECT_EQ(retries_.size(), static_cast<size_t>(Executor::kMaxRetries));
}

TEST_F(FailoverTest, ADeadlineCountsOnWhileACallIsMoved) {
  const auto gpu = Make("GPU.0");
  executor_->SetRoute({.lanes = {gpu}});
  TestCall test(1, timer_.Now() + milliseconds(100));
  Run(test);
  timer_.Advance(milliseconds(60));
  ASSERT_TRUE(runtime_.CompleteNext(kLost));
  EXPECT_EQ(executor_->queued(), 1u);
  timer_.Advance(milliseconds(60));
  EXPECT_EQ(test.answer->status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(executor_->queued(), 0u);
}

TEST_F(FailoverTest, HandingOverFinishesWhatRunsAndTakesTheQueueAlong) {
  const auto cpu = Make("CPU");
  const auto gpu = Make("GPU.0", 2);
  executor_->SetRoute({.lanes = {cpu}});
  TestCall first(1), second(2);
  Run(first);
  Run(second);
  executor_->SetRoute({.lanes = {gpu}});
  cpu->Close();
  EXPECT_EQ(gpu->active(), 1u);
  runtime_.CompleteAll();
  EXPECT_THAT(first.answer->values, Each(2.0f));
  EXPECT_THAT(second.answer->values, Each(3.0f));
  EXPECT_TRUE(cpu->drained());
}

// Those of sequences are not: sequences_life_test.cpp.
TEST_F(FailoverTest, CallsThatBeginWithAFreshStateAreRepeated) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.facts.stateful = true; });
  executor_->SetRoute({.lanes = {Make("GPU.0"), Make("CPU")}});
  TestCall test(1);
  Run(test);
  ASSERT_TRUE(runtime_.CompleteNext(kLost));
  runtime_.CompleteAll();
  EXPECT_THAT(test.answer->values, Each(1.0f));
}

TEST_F(FailoverTest, CallsGoWhereTheyAreDoneFirst) {
  const auto slow = Make("NPU");
  const auto fast = Make("GPU.0");
  slow->RecordService(milliseconds(100), timer_.Now());
  fast->RecordService(milliseconds(10), timer_.Now());
  executor_->SetRoute({.lanes = {slow, fast}, .all = true});
  std::vector<std::unique_ptr<TestCall>> calls;
  for (int i = 0; i < 9; ++i) calls.push_back(std::make_unique<TestCall>(static_cast<float>(i)));
  for (int i = 0; i < 4; ++i) Run(*calls[i]);
  EXPECT_EQ(fast->active(), 1u);
  EXPECT_EQ(slow->active(), 0u) << "three behind one of 10 ms are done before one of 100 ms";
  EXPECT_EQ(executor_->queued(), 3u);
  runtime_.CompleteAll();
  EXPECT_EQ(fast->served(), 4u);
}

TEST_F(FailoverTest, WhatStandsByBehindSeveralThatShareTakesCallsWhenTheyAreGone) {
  using Schedule = PlacementPlan::Schedule;
  for (const Schedule schedule : {Schedule::kFinishFirst, Schedule::kRoundRobin, Schedule::kDevicePriority}) {
    const auto a = Make("GPU.0");
    const auto b = Make("GPU.1");
    const auto cpu = Make("CPU", 3);
    executor_->SetRoute({.lanes = {a, b, cpu}, .all = true, .standby = 1, .schedule = schedule});
    EXPECT_EQ(executor_->room(), 2u);
    TestCall first(1), second(2), third(3);
    Run(first);
    Run(second);
    Run(third);
    EXPECT_EQ(executor_->queued(), 3u - a->active() - b->active()) << "none on the CPU";
    EXPECT_EQ(cpu->active(), 0u);
    executor_->GiveUp(*a, absl::DeadlineExceededError("hung"));
    executor_->GiveUp(*b, absl::DeadlineExceededError("hung"));
    TestCall fourth(4);
    Run(fourth);
    EXPECT_GT(cpu->active(), 0u);
    EXPECT_TRUE(executor_->serving());
    runtime_.CompleteAll();
    for (const TestCall* test : {&first, &second, &third, &fourth}) EXPECT_TRUE(test->answer->status.ok());
    EXPECT_EQ(cpu->served(), 4u);
  }
}

TEST_F(FailoverTest, TurnsAndPrioritiesAsAsked) {
  const auto a = Make("GPU.0", 2);
  const auto b = Make("GPU.1", 2);
  executor_->SetRoute({.lanes = {a, b}, .all = true, .schedule = PlacementPlan::Schedule::kRoundRobin});
  TestCall first(1), second(1);
  Run(first);
  Run(second);
  EXPECT_EQ(a->active(), 1u);
  EXPECT_EQ(b->active(), 1u);
  runtime_.CompleteAll();
  executor_->SetRoute({.lanes = {a, b}, .all = true, .schedule = PlacementPlan::Schedule::kDevicePriority});
  TestCall third(1), fourth(1), fifth(1);
  Run(third);
  Run(fourth);
  Run(fifth);
  EXPECT_EQ(a->active(), 2u);
  EXPECT_EQ(b->active(), 1u);
  runtime_.CompleteAll();
}

TEST_F(FailoverTest, DevicesThatComeAndGoLoseNoCall) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.async = FakeRuntime::Async::kThread; });
  constexpr int kThreads = 4;
  constexpr int kCalls = 300;
  executor_->SetRoute({.lanes = {Make("GPU.0", 2), Make("CPU", 2)}});
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        TestCall test(static_cast<float>(t));
        Run(test);
        test.answer->done.WaitForNotification();
        ASSERT_TRUE(test.answer->status.ok()) << test.answer->status;
        ASSERT_THAT(test.answer->values, Each(t + 1.0f));
      }
    });
  }
  std::thread mover([&] {
    while (!done) {
      const auto lost = lanes_[lanes_.size() - 2];
      const auto next = Make("GPU.0", 2);
      const auto standby = Make("CPU", 2);
      executor_->GiveUp(*lost, absl::DeadlineExceededError("hung"));
      executor_->SetRoute({.lanes = {next, standby}});
      std::this_thread::yield();
    }
  });
  for (auto& thread : threads) thread.join();
  done = true;
  mover.join();
}

TEST(LaneTest, RequestsAreHandedOutGroupByGroup) {
  FakeRuntime runtime;
  runtime.Update("dummy", [](FakeRuntime::Script& script) { script.facts.batch_size = 4; });
  std::shared_ptr<CompiledModel> model =
      *runtime.Load(LoadRequest{.settings = ModelSettings{.name = "dummy"}, .target = "BATCH:CPU(4)"});
  std::vector<std::unique_ptr<InferRequest>> made;
  for (int i = 0; i < 8; ++i) made.push_back(*model->CreateInferRequest());
  Lane lane(model, std::move(made), {});
  std::vector<int> taken;
  for (int i = 0; i < 5; ++i) taken.push_back(lane.TakeSlot());
  EXPECT_THAT(taken, ElementsAre(0, 1, 2, 3, 4));
  for (int i = 0; i < 4; ++i) lane.ReleaseSlot(i);
  taken.clear();
  for (int i = 0; i < 4; ++i) taken.push_back(lane.TakeSlot());
  EXPECT_THAT(taken, ElementsAre(5, 6, 7, 0)) << "the group that was begun is filled first";
}

TEST(LaneTest, WhatWasFreedKeepsNothingThatOnlyPeopleRead) {
  FakeRuntime runtime;
  runtime.Update("dummy", [](FakeRuntime::Script& script) {
    script.facts.layers = {{"CPU", {{"Add", 1}}}};
    script.facts.reasons = {"as asked"};
  });
  std::shared_ptr<CompiledModel> model = *runtime.Load(LoadRequest{.settings = ModelSettings{.name = "dummy"}});
  Lane lane(std::move(model), {}, {});
  EXPECT_FALSE(lane.facts().layers.empty());
  lane.Close();
  lane.Destroy();
  EXPECT_TRUE(lane.facts().layers.empty());
  EXPECT_TRUE(lane.facts().reasons.empty());
  EXPECT_EQ(runtime.live_models(), 0u);
}

TEST(LaneTest, TheTimeoutFollowsTheSlowestRecentInference) {
  FakeRuntime runtime;
  ManualTimer timer;
  std::shared_ptr<CompiledModel> model = *runtime.Load(LoadRequest{.settings = ModelSettings{.name = "dummy"}});
  Lane lane(model, {}, {});
  EXPECT_EQ(lane.Timeout(), std::chrono::seconds(3));
  lane.RecordService(milliseconds(500), timer.Now());
  EXPECT_EQ(lane.Timeout(), std::chrono::seconds(10));
  for (int i = 0; i < 3; ++i) {
    timer.Advance(std::chrono::seconds(61));
    lane.RecordService(milliseconds(1), timer.Now());
  }
  EXPECT_EQ(lane.Timeout(), std::chrono::seconds(3)) << "what was slow long ago does not count";
  EXPECT_EQ(Lane(model, {}, {.timeout = milliseconds(50)}).Timeout(), milliseconds(50));
  EXPECT_EQ(Lane(model, {}, {.timeout = milliseconds(50), .collecting = milliseconds(200)}).Timeout(), milliseconds(250));
  Lane batching(model, {}, {.collecting = milliseconds(200)});
  EXPECT_EQ(batching.Timeout(), milliseconds(3200));
  batching.RecordService(milliseconds(210), timer.Now());
  EXPECT_EQ(batching.Timeout(), milliseconds(3200)) << "a lone one waited for others";
  batching.RecordService(milliseconds(1200), timer.Now());
  EXPECT_EQ(batching.Timeout(), milliseconds(20200)) << "not for so long";
}

}  // namespace
}  // namespace switchyard
