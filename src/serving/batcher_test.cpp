// Models with dynamic_batching: which calls are joined, when a batch goes, and what each caller gets.
#include "serving/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "device/fault.h"
#include "runtime/fake/fake_runtime.h"
#include "serving/executor.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A call of `rows` rows of `width` elements, all of this value.
struct RowsCall {
  std::shared_ptr<InferCall> call = std::make_shared<InferCall>();
  std::shared_ptr<Answer> answer = std::make_shared<Answer>();

  explicit RowsCall(float value, int64_t rows = 1, TimePoint deadline = kNoDeadline, int64_t width = 10) {
    const size_t bytes = static_cast<size_t>(rows * width) * sizeof(float);
    Buffer memory = Buffer::Allocate(bytes);
    std::fill_n(reinterpret_cast<float*>(memory.data()), rows * width, value);
    call->request.inputs.push_back(NamedTensor{"b", TensorView{ElementType::kFp32, {rows, width}, memory.data(), bytes}});
    call->request.memory.push_back(std::move(memory));
    call->request.deadline = deadline;
    call->on_done = [answer = answer, rows, width](InferCall& done, const Status& status) {
      answer->status = status;
      if (status.ok()) {
        const OutputTensor& output = done.outputs.at(0).tensor;
        EXPECT_EQ(output.shape, (Shape{rows, width}));
        const auto* data = reinterpret_cast<const float*>(output.data);
        answer->values.assign(data, data + output.bytes / sizeof(float));
      }
      answer->done.Notify();
    };
  }
  bool done() const { return answer->done.HasBeenNotified(); }
  StatusCode code() const { return answer->status.code(); }
  // Ended well, with this call's own rows.
  bool Good(float value, size_t rows = 1, size_t width = 10) const {
    return done() && answer->status.ok() && answer->values == std::vector<float>(rows * width, value + 1);
  }
};

class BatcherTest : public testing::Test {
 protected:
  struct Options {
    uint32_t max_batch_size = 4;
    uint32_t max_delay_us = 1000;
    uint32_t max_queue = 1024;
    int requests = 1;
    Dimension batch = {1, 4};
    Dimension width = Dimension::Fixed(10);
  };

  void Load(const Options& options) {
    signature_ = DummySignature();
    for (TensorSpec* spec : {&signature_.inputs[0], &signature_.outputs[0]}) spec->shape.dims = {options.batch, options.width};
    // Each inference writes down its rows.
    runtime_.Update("dummy", [&](FakeRuntime::Script& script) {
      script.signature = signature_;
      script.compute = [this](absl::Span<const TensorView> inputs) { return Compute(inputs); };
    });
    lanes_ = {MakeTestLane("CPU", options.requests)};
    auto executor =
        std::make_shared<Executor>(timer_, Executor::Options{.model_name = "dummy", .max_queue = options.max_queue});
    executor_ = executor.get();
    executor->SetRoute(LaneRoute{.lanes = lanes_});
    settings_ = {.name = "dummy"};
    settings_.dynamic_batching =
        DynamicBatching{.max_batch_size = options.max_batch_size, .max_delay_us = options.max_delay_us};
    auto version = std::make_unique<Version>(settings_, 1, signature_, std::move(executor));
    version_ = version.get();
    slot_ = std::make_shared<VersionSlot>(std::move(version), [this](VersionSlot&) { drained_.Notify(); });
  }
  void Load() { Load(Options()); }
  std::shared_ptr<Lane> MakeTestLane(const std::string& device, int requests) {
    std::shared_ptr<CompiledModel> model =
        *runtime_.Load(LoadRequest{.settings = ModelSettings{.name = "dummy"}, .target = device});
    std::vector<std::unique_ptr<InferRequest>> made;
    for (int i = 0; i < requests; ++i) made.push_back(*model->CreateInferRequest());
    return std::make_shared<Lane>(model, std::move(made),
                                  Lane::Options{.target = device, .device = device, .devices = {device}});
  }
  StatusOr<std::vector<OutputTensor>> Compute(absl::Span<const TensorView> inputs) {
    const TensorView& input = inputs[0];
    {
      MutexLock lock(&mutex_);
      rows_.push_back(input.shape[0]);
    }
    const auto* values = reinterpret_cast<const float*>(input.data);
    const size_t count = input.bytes / sizeof(float);
    if (std::find(values, values + count, poison_) != values + count) return InvalidArgument("an index out of range");
    auto memory = std::make_shared<Buffer>(Buffer::Allocate(input.bytes));
    for (size_t i = 0; i < count; ++i) reinterpret_cast<float*>(memory->data())[i] = values[i] + 1;
    return std::vector<OutputTensor>{
        {.type = input.type, .shape = input.shape, .data = memory->data(), .bytes = input.bytes, .owner = memory}};
  }
  void TearDown() override {
    runtime_.CompleteAll();
    lanes_.clear();
    if (slot_ != nullptr) {
      slot_->Close();
      drained_.WaitForNotification();
      slot_->Destroy();
    }
    EXPECT_THAT(runtime_.violations(), IsEmpty());
    EXPECT_EQ(runtime_.live_requests(), 0u);
    EXPECT_EQ(timer_.pending(), 0u);
  }
  void Run(const RowsCall& test) {
    ASSERT_TRUE(slot_->Acquire());
    Infer(Handle(slot_), test.call);
  }
  RowsCall Start(float value, int64_t rows = 1, TimePoint deadline = kNoDeadline, int64_t width = 10) {
    RowsCall test(value, rows, deadline, width);
    Run(test);
    return test;
  }
  // Has the cost of so many rows learnt: `took` on the clock.
  void Learn(int64_t rows, Duration took) {
    for (int i = 0; i < 10; ++i) {
      const RowsCall test = Start(0, rows);
      timer_.Advance(microseconds(settings_.dynamic_batching->max_delay_us));
      timer_.Advance(took);
      ASSERT_TRUE(runtime_.CompleteNext());
      ASSERT_TRUE(test.Good(0, static_cast<size_t>(rows)));
    }
    MutexLock lock(&mutex_);
    rows_.clear();
  }
  std::vector<int64_t> Ran() {
    MutexLock lock(&mutex_);
    return rows_;
  }
  Batcher& batcher() { return *version_->batcher(); }

  FakeRuntime runtime_;
  ManualTimer timer_;
  Notification drained_;
  ModelSettings settings_;
  Signature signature_;
  std::vector<std::shared_ptr<Lane>> lanes_;
  Executor* executor_ = nullptr;
  Version* version_ = nullptr;
  std::shared_ptr<VersionSlot> slot_;
  float poison_ = -1000;
  Mutex mutex_;
  std::vector<int64_t> rows_ ABSL_GUARDED_BY(mutex_);  // of the inferences, in order
};

TEST_F(BatcherTest, ALoneCallIsHeldForTheDelayAndNoLonger) {
  Load();
  const RowsCall test = Start(3);
  EXPECT_EQ(runtime_.held(), 0u);
  EXPECT_EQ(version_->queued(), 1u);
  timer_.Advance(microseconds(999));
  EXPECT_EQ(runtime_.held(), 0u);
  timer_.Advance(microseconds(1));
  EXPECT_EQ(runtime_.held(), 1u);
  EXPECT_EQ(version_->queued(), 0u);
  runtime_.CompleteNext();
  EXPECT_TRUE(test.Good(3));
}

TEST_F(BatcherTest, CallsAreJoinedAndEachGetsItsOwnRows) {
  Load();
  const RowsCall a = Start(10), b = Start(20, 2);
  timer_.Advance(milliseconds(1));
  ASSERT_EQ(runtime_.held(), 1u);
  runtime_.CompleteNext();
  EXPECT_THAT(Ran(), ElementsAre(3));
  EXPECT_TRUE(a.Good(10));
  EXPECT_TRUE(b.Good(20, 2));
}

TEST_F(BatcherTest, AFullBatchGoesAtOnceAndNeverHasMoreThanTheLimit) {
  Load();
  std::vector<RowsCall> tests;
  for (int i = 0; i < 4; ++i) tests.push_back(Start(static_cast<float>(i)));
  EXPECT_EQ(runtime_.held(), 1u) << "without waiting";
  for (int i = 4; i < 11; ++i) tests.push_back(Start(static_cast<float>(i)));
  timer_.Advance(milliseconds(1));
  runtime_.CompleteAll();
  EXPECT_THAT(Ran(), ElementsAre(4, 4, 3));
  for (size_t i = 0; i < tests.size(); ++i) EXPECT_TRUE(tests[i].Good(static_cast<float>(i))) << i;
}

TEST_F(BatcherTest, ACallThatDoesNotFitWaitsForTheNextBatch) {
  Load();
  const RowsCall a = Start(1, 2), b = Start(2, 3);
  EXPECT_EQ(runtime_.held(), 1u) << "no call that comes later may be put before it";
  runtime_.CompleteNext();
  EXPECT_TRUE(a.Good(1, 2));
  EXPECT_FALSE(b.done());
  timer_.Advance(milliseconds(1));
  runtime_.CompleteNext();
  EXPECT_TRUE(b.Good(2, 3));
  EXPECT_THAT(Ran(), ElementsAre(2, 3));
}

TEST_F(BatcherTest, TooManyRowsInOneCallAreRefused) {
  Load();
  const RowsCall test = Start(1, 5);
  EXPECT_EQ(test.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(test.answer->status.ToString(), HasSubstr("Invalid input batch size - Expected: 1:4; Actual: 5"));
  EXPECT_EQ(Start(1, 0).code(), StatusCode::kInvalidArgument);
}

TEST_F(BatcherTest, WhatWaitsForABusyDeviceIsJoinedWithoutADelay) {
  Load({.max_delay_us = 0});
  const RowsCall first = Start(0);
  EXPECT_EQ(runtime_.held(), 1u);
  const RowsCall a = Start(1), b = Start(2), c = Start(3);
  EXPECT_EQ(batcher().queued(), 3u);
  runtime_.CompleteAll();
  EXPECT_THAT(Ran(), ElementsAre(1, 3));
  EXPECT_TRUE(first.Good(0) && a.Good(1) && b.Good(2) && c.Good(3));
}

TEST_F(BatcherTest, AsManyBatchesRunAsThereAreInferRequests) {
  Load({.max_batch_size = 2, .max_delay_us = 0, .requests = 2});
  std::vector<RowsCall> tests;
  for (int i = 0; i < 7; ++i) tests.push_back(Start(static_cast<float>(i)));
  EXPECT_EQ(runtime_.held(), 2u);
  runtime_.CompleteAll();
  EXPECT_EQ(runtime_.max_running(), 2u);
  for (size_t i = 0; i < tests.size(); ++i) EXPECT_TRUE(tests[i].Good(static_cast<float>(i))) << i;
}

TEST_F(BatcherTest, CallsOfOtherShapesNeverJoin) {
  Load({.width = Dimension::Dynamic()});
  const RowsCall a = Start(1, 1, kNoDeadline, 10), b = Start(2, 1, kNoDeadline, 7), c = Start(3, 2, kNoDeadline, 10);
  timer_.Advance(milliseconds(1));
  runtime_.CompleteAll();
  EXPECT_THAT(Ran(), ElementsAre(3, 1));
  EXPECT_TRUE(a.Good(1, 1, 10) && b.Good(2, 1, 7) && c.Good(3, 2, 10));
}

TEST_F(BatcherTest, AModelWithAFixedBatchGetsItWhole) {
  Load({.batch = Dimension::Fixed(4)});
  EXPECT_EQ(version_->signature().inputs[0].shape.Wire(), (Shape{-1, 10}));
  const RowsCall a = Start(1), b = Start(2, 2);
  timer_.Advance(milliseconds(1));
  runtime_.CompleteAll();
  EXPECT_THAT(Ran(), ElementsAre(4));
  EXPECT_TRUE(a.Good(1) && b.Good(2, 2));
}

TEST_F(BatcherTest, ADeadlineIsNotHeldForWhenNothingIsKnown) {
  Load();
  const RowsCall test = Start(1, 1, timer_.Now() + seconds(1));
  EXPECT_EQ(runtime_.held(), 1u);
  runtime_.CompleteNext();
  EXPECT_TRUE(test.Good(1));
}

TEST_F(BatcherTest, ABatchIsHeldOnlyWhileItsDeadlinesAreSafe) {
  Load({.max_delay_us = 50000});
  Learn(1, milliseconds(10));
  const RowsCall test = Start(1, 1, timer_.Now() + milliseconds(30));
  timer_.Advance(milliseconds(16));
  EXPECT_EQ(runtime_.held(), 0u);
  timer_.Advance(microseconds(250));
  EXPECT_EQ(runtime_.held(), 1u) << "10 ms before the deadline, and an eighth of 30 ms to be safe";
  runtime_.CompleteNext();
  EXPECT_TRUE(test.Good(1));
}

TEST_F(BatcherTest, WhatCannotMakeItsDeadlineIsDroppedBeforeItRuns) {
  Load({.max_delay_us = 0});
  Learn(1, milliseconds(10));
  const size_t before = runtime_.async_starts();
  const RowsCall late = Start(1, 1, timer_.Now() + milliseconds(9));
  EXPECT_EQ(late.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(runtime_.async_starts(), before);
  EXPECT_EQ(late.call->device.load(), nullptr) << "no device had it";
  const RowsCall good = Start(2, 1, timer_.Now() + milliseconds(11));
  runtime_.CompleteNext();
  EXPECT_TRUE(good.Good(2));
}

TEST_F(BatcherTest, ACallThatWouldMakeADeadlineUnsafeStaysBehind) {
  Load({.max_delay_us = 0});
  Learn(1, milliseconds(10));
  Learn(2, milliseconds(12));
  Learn(4, milliseconds(40));
  const RowsCall first = Start(0);
  const RowsCall tight = Start(1, 1, timer_.Now() + milliseconds(20)), b = Start(2), c = Start(3);
  runtime_.CompleteNext();
  runtime_.CompleteNext();
  EXPECT_TRUE(tight.Good(1));
  EXPECT_TRUE(b.Good(2));
  EXPECT_FALSE(c.done());
  runtime_.CompleteAll();
  EXPECT_TRUE(c.Good(3));
  EXPECT_THAT(Ran(), ElementsAre(1, 2, 1));
}

TEST_F(BatcherTest, UnderOverloadATightDeadlineDoesNotCutTheBatch) {
  Load({.max_delay_us = 0});
  Learn(1, milliseconds(10));
  Learn(4, milliseconds(20));
  const RowsCall first = Start(0);
  const RowsCall tight = Start(1, 1, timer_.Now() + milliseconds(12));
  std::vector<RowsCall> others;
  for (int i = 0; i < 4; ++i) others.push_back(Start(2, 1, timer_.Now() + milliseconds(100)));
  runtime_.CompleteNext();
  timer_.Advance(milliseconds(5));
  runtime_.CompleteNext();
  EXPECT_THAT(Ran(), ElementsAre(1, 4));
  for (const RowsCall& other : others) EXPECT_TRUE(other.Good(2));
  EXPECT_EQ(tight.code(), StatusCode::kDeadlineExceeded) << "it could have been done alone, at the cost of four";
}

TEST_F(BatcherTest, ADeadlinePassesInTheQueueByTheTimerAlone) {
  Load({.max_delay_us = 0});
  const RowsCall running = Start(0);
  const RowsCall waiting = Start(1, 1, timer_.Now() + milliseconds(10));
  timer_.Advance(milliseconds(10));
  EXPECT_EQ(waiting.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(version_->queued(), 0u);
  runtime_.CompleteAll();
  EXPECT_THAT(Ran(), ElementsAre(1));
}

TEST_F(BatcherTest, ACancelledCallDoesNotHurtTheOthers) {
  Load();
  const RowsCall a = Start(1), gone = Start(2), b = Start(3);
  gone.call->Cancel(absl::CancelledError("gone"));
  EXPECT_EQ(gone.code(), StatusCode::kCancelled);
  timer_.Advance(milliseconds(1));
  b.call->Cancel(absl::CancelledError("gone while it runs"));
  EXPECT_EQ(b.code(), StatusCode::kCancelled);
  EXPECT_EQ(*b.call->device.load(), "CPU") << "that had it";
  const RowsCall c = Start(4);
  runtime_.CompleteNext();
  EXPECT_THAT(Ran(), ElementsAre(2));
  EXPECT_TRUE(a.Good(1));
  timer_.Advance(milliseconds(1));
  runtime_.CompleteNext();
  EXPECT_TRUE(c.Good(4));
}

TEST_F(BatcherTest, ALateResultTouchesNoAnsweredCall) {
  Load({.max_delay_us = 0});
  RowsCall test = Start(1, 1, timer_.Now() + milliseconds(10));
  const std::weak_ptr<InferCall> alive = test.call;
  test.call.reset();
  timer_.Advance(milliseconds(10));
  EXPECT_EQ(test.code(), StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(alive.expired()) << "the device may still read its memory";
  runtime_.CompleteNext();
  EXPECT_TRUE(alive.expired());
}

TEST_F(BatcherTest, TheQueueBoundCountsCalls) {
  Load({.max_delay_us = 0, .max_queue = 3});
  const RowsCall running = Start(0);
  std::vector<RowsCall> tests;
  for (int i = 0; i < 4; ++i) tests.push_back(Start(1));
  EXPECT_EQ(tests[3].code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(tests[3].call->queue_full);
  EXPECT_EQ(version_->queued(), 3u);
  EXPECT_TRUE(version_->oldest_queued().has_value());
  runtime_.CompleteAll();
  EXPECT_TRUE(tests[2].Good(1));
}

TEST_F(BatcherTest, WithoutAQueueAFreeDeviceStillTakesCalls) {
  Load({.max_delay_us = 0, .max_queue = 0});
  const RowsCall running = Start(0);
  EXPECT_EQ(Start(1).code(), StatusCode::kResourceExhausted);
  runtime_.CompleteAll();
  EXPECT_TRUE(running.Good(0));
}

TEST_F(BatcherTest, AFaultyCallGetsItsErrorAlone) {
  Load();
  poison_ = 13;
  const RowsCall a = Start(1), bad = Start(13), b = Start(2, 2);
  runtime_.CompleteAll();
  EXPECT_TRUE(a.Good(1) && b.Good(2, 2));
  EXPECT_EQ(bad.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(Ran(), ElementsAre(4, 1, 1, 2));
}

TEST_F(BatcherTest, ABatchWhoseDeviceFailsRunsOnTheNext) {
  Load();
  lanes_.push_back(MakeTestLane("GPU.0", 1));
  executor_->SetRoute(LaneRoute{.lanes = {lanes_[1], lanes_[0]}});
  const RowsCall a = Start(1), b = Start(2);
  timer_.Advance(milliseconds(1));
  runtime_.CompleteNext(MarkFault(absl::UnavailableError("device lost"), Fault::kDevice));
  EXPECT_FALSE(a.done());
  runtime_.CompleteNext();
  EXPECT_TRUE(a.Good(1) && b.Good(2));
  EXPECT_EQ(*a.call->device.load(), "CPU");
  EXPECT_EQ(lanes_[0]->served(), 2u) << "two calls in one batch";
  EXPECT_EQ(lanes_[1]->served(), 0u);
}

TEST_F(BatcherTest, ABatchOfAHungDeviceRunsOnTheNext) {
  Load();
  lanes_.push_back(MakeTestLane("GPU.0", 1));
  executor_->SetRoute(LaneRoute{.lanes = {lanes_[1], lanes_[0]}});
  const RowsCall a = Start(1), b = Start(2);
  timer_.Advance(milliseconds(1));
  executor_->GiveUp(*lanes_[1], absl::DeadlineExceededError("hung"));
  runtime_.CompleteNext();  // too late
  EXPECT_FALSE(a.done());
  runtime_.CompleteNext();
  EXPECT_TRUE(a.Good(1) && b.Good(2));
}

TEST_F(BatcherTest, WithoutAnyDeviceCallsAreRefusedOrWait) {
  Load({.max_delay_us = 0});
  executor_->SetRoute(LaneRoute{});
  std::vector<RowsCall> tests;
  for (int i = 0; i < 3; ++i) tests.push_back(Start(static_cast<float>(i)));
  EXPECT_FALSE(tests[0].done());
  executor_->SetRoute(LaneRoute{.lanes = lanes_});
  runtime_.CompleteAll();
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(tests[i].Good(static_cast<float>(i)));
  executor_->SetRoute(LaneRoute{.closed = absl::UnavailableError("no device")});
  for (int i = 0; i < 200; ++i) EXPECT_EQ(Start(1).code(), StatusCode::kUnavailable);
}

TEST_F(BatcherTest, PrioritiesOrderWhatWaitsButNothingStarves) {
  Load({.max_batch_size = 1, .max_delay_us = 0, .batch = {1, 1}});
  std::vector<float> order;
  const auto start = [&](float value, uint64_t priority) {
    RowsCall test(value);
    test.call->request.priority = priority;
    test.call->on_done = [&order, value](InferCall&, const Status&) { order.push_back(value); };
    Run(test);
  };
  start(0, 0);
  start(3, 3);
  start(2, 0);
  start(2.5, 2);
  start(1, 1);
  start(4, 999);
  start(1.5, 1);
  runtime_.CompleteAll();
  EXPECT_THAT(order, ElementsAre(0, 1, 1.5, 2, 2.5, 3, 4));
  order.clear();
  start(0, 0);
  start(2, 2);
  timer_.Advance(milliseconds(1001));
  start(1, 1);
  runtime_.CompleteAll();
  EXPECT_THAT(order, ElementsAre(0, 2, 1)) << "who waited for a second goes before a fresh call of the next level";
}

TEST_F(BatcherTest, WithoutMemoryForABatchItsCallsFailAndTheNextRun) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's allocator ends the process";
#endif
  Load({.requests = 1, .batch = {1, 4}, .width = Dimension::Dynamic()});
  // Rows that nobody could join: more than there are addresses. They are not read before there is a place for them.
  const int64_t width = int64_t{1} << 45;
  std::vector<RowsCall> huge(2, RowsCall(0));
  for (RowsCall& test : huge) {
    test = RowsCall(0);
    TensorView& input = test.call->request.inputs[0].tensor;
    input.shape = {1, width};
    input.bytes = static_cast<size_t>(width) * sizeof(float);
    Run(test);
  }
  timer_.Advance(milliseconds(1));
  for (const RowsCall& test : huge) {
    ASSERT_TRUE(test.done());
    EXPECT_EQ(test.code(), StatusCode::kUnavailable);
    EXPECT_THAT(Message(test.answer->status), HasSubstr("no memory left for the inputs of a batch"));
  }
  const RowsCall next = Start(1);
  timer_.Advance(milliseconds(1));
  ASSERT_TRUE(runtime_.CompleteNext());
  EXPECT_TRUE(next.Good(1));
}

TEST_F(BatcherTest, OnlyWantedOutputsAreGiven) {
  Load();
  const RowsCall a = Start(1);
  RowsCall bad(2);
  bad.call->request.requested_outputs = {"nope"};
  Run(bad);
  EXPECT_EQ(bad.code(), StatusCode::kInvalidArgument);
  RowsCall named(3);
  named.call->request.requested_outputs = {"a"};
  Run(named);
  timer_.Advance(milliseconds(1));
  runtime_.CompleteAll();
  EXPECT_TRUE(a.Good(1) && named.Good(3));
}

TEST_F(BatcherTest, TheReportTellsWhatRan) {
  Load();
  Learn(1, milliseconds(2));
  const RowsCall a = Start(1, 2), b = Start(2, 2);
  timer_.Advance(milliseconds(3));
  runtime_.CompleteAll();
  const BatchingReport report = batcher().Report();
  EXPECT_EQ(report.max_batch_size, 4u);
  EXPECT_EQ(report.max_delay_us, 1000u);
  EXPECT_EQ(report.batches, 11u);
  EXPECT_EQ(report.calls, 12u);
  EXPECT_THAT(report.cost_us, ElementsAre(std::pair<size_t, double>(1, 2000), std::pair<size_t, double>(4, 3000)));
  EXPECT_EQ(lanes_[0]->served(), 12u);
}

TEST_F(BatcherTest, ManyThreadsGetTheirOwnRows) {
  Load({.max_delay_us = 0, .requests = 2});
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.async = FakeRuntime::Async::kThread; });
  std::atomic<int> good{0}, cancelled{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const auto value = static_cast<float>(t * 1000 + i);
        const int64_t rows = 1 + (t + i) % 3;
        const RowsCall test = Start(value, rows);
        if (i % 10 == 9) test.call->Cancel(absl::CancelledError("gone"));
        test.answer->done.WaitForNotification();
        good += test.Good(value, static_cast<size_t>(rows));
        cancelled += test.code() == StatusCode::kCancelled;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good + cancelled, 8 * 200);
  EXPECT_LE(cancelled, 8 * 20);
  EXPECT_THAT(Ran(), Each(testing::Le(4)));
}

TEST_F(BatcherTest, ABatchCountsAsOneInferenceOfItsRows) {
  Load();
  for (int i = 0; i < 2; ++i) {
    const RowsCall first = Start(1), second = Start(2, 3);
    timer_.Advance(microseconds(40));
    ASSERT_TRUE(runtime_.CompleteNext());
    EXPECT_TRUE(first.Good(1) && second.Good(2, 3));
  }
  const RowsCall alone = Start(1, 2);
  timer_.Advance(microseconds(1000));
  timer_.Advance(microseconds(30));
  ASSERT_TRUE(runtime_.CompleteNext());
  const CallStatistics statistics = version_->metrics().Statistics();
  EXPECT_EQ(statistics.executions, 3u);
  EXPECT_EQ(statistics.rows, 10u);
  ASSERT_EQ(statistics.batches.size(), 2u);
  EXPECT_EQ(statistics.batches[0].rows, 2u);
  EXPECT_EQ(statistics.batches[0].infer.ns, 30'000u);
  EXPECT_EQ(statistics.batches[1].rows, 4u);
  EXPECT_EQ(statistics.batches[1].infer.count, 2u);
  EXPECT_EQ(statistics.batches[1].infer.ns, 80'000u);
}

}  // namespace
}  // namespace switchyard
