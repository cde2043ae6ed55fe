// Models whose shape or batch size is "auto".
#include "serving/shape_instances.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "runtime/fake/fake_runtime.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// A call of the dummy model with this shape.
struct ShapedCall {
  std::shared_ptr<InferCall> call = std::make_shared<InferCall>();
  std::shared_ptr<Answer> answer = std::make_shared<Answer>();

  explicit ShapedCall(const Shape& shape, TimePoint deadline = kNoDeadline) {
    const size_t count = *ElementCount(shape);
    Buffer memory = Buffer::Allocate(std::max<size_t>(1, count * sizeof(float)));
    std::fill_n(reinterpret_cast<float*>(memory.data()), count, 1.0f);
    call->request.inputs.push_back(
        NamedTensor{"b", TensorView{ElementType::kFp32, shape, memory.data(), count * sizeof(float)}});
    call->request.memory.push_back(std::move(memory));
    call->request.deadline = deadline;
    call->on_done = [answer = answer](InferCall& done, const Status& status) {
      answer->status = status;
      if (status.ok()) {
        const OutputTensor& output = done.outputs[0].tensor;
        const auto* data = reinterpret_cast<const float*>(output.data);
        answer->values.assign(data, data + output.bytes / sizeof(float));
      }
      answer->done.Notify();
    };
  }
};

class ShapeInstancesTest : public testing::Test {
 protected:
  void SetUp() override {
    runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.async = FakeRuntime::Async::kThread; });
  }
  void TearDown() override {
    manager_->Shutdown();
    runtime_.CompleteAll();
    ASSERT_TRUE(manager_->Drain(timer_.Now() + seconds(10)));
    manager_.reset();
    EXPECT_THAT(runtime_.violations(), IsEmpty());
    EXPECT_EQ(runtime_.live_models(), 0u);
  }
  void Serve(uint32_t limit = 8, const std::function<void(ModelSettings&)>& change = {}) {
    manager_ = std::make_unique<Manager>(runtime_, timer_, Manager::Options{.cache_dir = "/cache", .memory_budget = budget_});
    ModelSettings settings = repository_.Add("dummy", {1});
    settings.target_device = "CPU";
    settings.auto_shapes = {""};
    settings.auto_shape_limit = limit;
    if (change) change(settings);
    manager_->SetWanted({settings}, {});
    manager_->WaitForLoads();
    ASSERT_TRUE(manager_->ModelReady("dummy", std::nullopt));
  }
  ShapedCall Start(const Shape& shape, TimePoint deadline = kNoDeadline) {
    ShapedCall test(shape, deadline);
    auto handle = manager_->Acquire("dummy", std::nullopt);
    EXPECT_TRUE(handle.ok()) << handle.status();
    Infer(*std::move(handle), test.call);
    return test;
  }
  Status Finish(ShapedCall& test, size_t count) {
    EXPECT_TRUE(Until([&] { return test.answer->done.HasBeenNotified(); }));
    if (test.answer->status.ok()) {
      EXPECT_THAT(test.answer->values, SizeIs(count));
      EXPECT_THAT(test.answer->values, Each(2.0f));
    }
    return test.answer->status;
  }
  Status Call(const Shape& shape) {
    ShapedCall test = Start(shape);
    return Finish(test, *ElementCount(shape));
  }
  // The Manager's threads are real ones; the clock stands still but for Advance.
  static bool Until(const std::function<bool()>& condition) {
    for (int i = 0; i < 50000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return false;
  }
  void Hold(bool hold) {
    runtime_.Update("dummy", [&](FakeRuntime::Script& script) { script.hold_load = hold; });
  }
  void FailLoads(const Status& error) {
    runtime_.Update("dummy", [&](FakeRuntime::Script& script) { script.load_error = error; });
  }
  // "b (3,10)/serving", the last used first.
  std::vector<std::string> Shapes() {
    std::vector<std::string> shapes;
    const auto placement = manager_->Placement("dummy", std::nullopt);
    for (const ShapePlacement& row : placement->shapes) {
      shapes.push_back(row.shape + "/" + row.state);
    }
    return shapes;
  }

  FakeRuntime runtime_;
  ManualTimer timer_;
  TempRepository repository_;
  uint64_t budget_ = 0;
  std::unique_ptr<Manager> manager_;
};

TEST_F(ShapeInstancesTest, EachNewShapeIsCompiledOnce) {
  Serve();
  const auto handle = manager_->Acquire("dummy", std::nullopt);
  EXPECT_EQ((*handle)->signature().inputs[0].shape.Wire(), (Shape{-1, -1}));
  EXPECT_EQ((*handle)->signature().outputs[0].shape.Wire(), (Shape{-1, -1}));
  EXPECT_TRUE(Call({1, 10}).ok());
  EXPECT_EQ(runtime_.loads(), 1u) << "the model's own shape was there";
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Call({3, 20}).ok());
  ASSERT_EQ(runtime_.loads(), 2u);
  const LoadRequest request = runtime_.load_requests()[1];
  EXPECT_EQ(request.settings.shapes.at("b").ToShape(), (Shape{3, 20}));
  EXPECT_TRUE(request.settings.auto_shapes.empty());
  EXPECT_EQ(request.cache_dir, "") << "no cache without allow_cache";
  EXPECT_THAT(Shapes(), ElementsAre("b (3,20)/serving"));
  EXPECT_TRUE(Until([&] { return manager_->Placement("dummy", std::nullopt)->shapes[0].requests_served == 3; }));
}

TEST_F(ShapeInstancesTest, ABatchSizeIsCompiledOnce) {
  Serve(8, [](ModelSettings& settings) {
    settings.auto_shapes.clear();
    settings.batch_auto = true;
    settings.allow_cache = true;
  });
  EXPECT_EQ((*manager_->Acquire("dummy", std::nullopt))->signature().inputs[0].shape.Wire(), (Shape{-1, 10}));
  EXPECT_TRUE(Call({1, 10}).ok());
  EXPECT_TRUE(Call({4, 10}).ok());
  EXPECT_TRUE(Call({4, 10}).ok());
  EXPECT_EQ(Call({4, 11}).code(), StatusCode::kInvalidArgument) << "only the batch is auto";
  ASSERT_EQ(runtime_.loads(), 2u);
  EXPECT_EQ(runtime_.load_requests()[1].settings.batch_size, Dimension::Fixed(4));
  EXPECT_EQ(runtime_.load_requests()[1].cache_dir, "/cache");
}

TEST_F(ShapeInstancesTest, KnownShapesAreServedWhileANewOneCompiles) {
  Serve();
  ASSERT_TRUE(Call({2, 10}).ok());
  Hold(true);
  ShapedCall late = Start({3, 10}, timer_.Now() + seconds(1)), patient = Start({3, 10}, timer_.Now() + seconds(100));
  ShapedCall cancelled = Start({3, 10});
  ASSERT_TRUE(runtime_.WaitForLoads(3));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Call({1, 10}).ok());
    EXPECT_TRUE(Call({2, 10}).ok());
  }
  const auto handle = manager_->Acquire("dummy", std::nullopt);
  EXPECT_EQ((*handle)->queued(), 3u);
  EXPECT_TRUE((*handle)->oldest_queued().has_value());
  cancelled.call->Cancel(absl::CancelledError("client gone"));
  EXPECT_EQ(Finish(cancelled, 0).code(), StatusCode::kCancelled);
  timer_.Advance(seconds(2));
  EXPECT_EQ(Finish(late, 0).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ((*handle)->queued(), 1u);
  EXPECT_FALSE(patient.answer->done.HasBeenNotified());
  EXPECT_THAT(Shapes(), ElementsAre("b (2,10)/serving", "b (3,10)/compiling"));
  Hold(false);
  EXPECT_TRUE(Finish(patient, 30).ok());
  EXPECT_EQ(runtime_.loads(), 3u);
}

TEST_F(ShapeInstancesTest, TheLeastRecentlyUsedGoes) {
  Serve(2);
  EXPECT_TRUE(Call({2, 10}).ok());
  EXPECT_TRUE(Call({3, 10}).ok());
  EXPECT_TRUE(Call({2, 10}).ok());
  EXPECT_TRUE(Call({4, 10}).ok());
  EXPECT_THAT(Shapes(), ElementsAre("b (4,10)/serving", "b (2,10)/serving"));
  EXPECT_TRUE(Until([&] { return runtime_.live_models() == 3; })) << "the own one and two more";
  EXPECT_TRUE(Call({2, 10}).ok());
  EXPECT_EQ(runtime_.loads(), 4u);
  EXPECT_TRUE(Call({3, 10}).ok());
  EXPECT_EQ(runtime_.loads(), 5u) << "compiled again";
  EXPECT_TRUE(Call({1, 10}).ok());
}

TEST_F(ShapeInstancesTest, AnInstanceThatGoesFinishesItsCalls) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) {
    script.async = FakeRuntime::Async::kHeld;
    script.facts.cpu_only = false;
    script.facts.steady_cost = false;
  });
  Serve(1);
  ShapedCall running = Start({2, 10});
  ASSERT_TRUE(runtime_.WaitForHeld(1));
  ShapedCall waiting = Start({2, 10});
  ASSERT_TRUE(Until([&] { return Shapes() == std::vector<std::string>{"b (2,10)/serving"}; }));
  ShapedCall next = Start({3, 10});
  ASSERT_TRUE(runtime_.WaitForHeld(2));
  EXPECT_THAT(Shapes(), ElementsAre(HasSubstr("b (3,10)/")));
  EXPECT_EQ(runtime_.live_models(), 3u) << "own, going, new";
  runtime_.CompleteAll();
  EXPECT_TRUE(Finish(running, 20).ok());
  EXPECT_TRUE(Finish(waiting, 20).ok());
  EXPECT_TRUE(Finish(next, 30).ok());
  running = waiting = next = ShapedCall({1, 10});
  EXPECT_TRUE(Until([&] { return runtime_.live_models() == 2; }));
}

TEST_F(ShapeInstancesTest, AShapeThatTheModelRefusesIsNotTriedAgain) {
  Serve();
  FailLoads(InvalidArgument("layer \"fc1\" cannot take it"));
  const Status refused = Call({3, 20});
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(refused.ToString(), HasSubstr("Model dummy does not take b (3,20): layer \"fc1\" cannot take it"));
  ASSERT_TRUE(Until([&] { return Shapes() == std::vector<std::string>{"b (3,20)/failed"}; }));
  FailLoads(absl::OkStatus());
  timer_.Advance(seconds(100));
  EXPECT_EQ(Call({3, 20}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(runtime_.loads(), 2u);
  EXPECT_TRUE(Call({1, 10}).ok());
  EXPECT_TRUE(Call({3, 21}).ok());
}

TEST_F(ShapeInstancesTest, AnotherFailureIsTriedAgainLater) {
  Serve();
  FailLoads(absl::ResourceExhaustedError("no memory"));
  const Status refused = Call({3, 20});
  EXPECT_EQ(refused.code(), StatusCode::kUnavailable);
  EXPECT_THAT(refused.ToString(), HasSubstr("no memory"));
  ASSERT_TRUE(Until([&] { return Shapes() == std::vector<std::string>{"b (3,20)/failed"}; }));
  EXPECT_THAT(manager_->metrics().Text(), HasSubstr(R"(switchyard_load_failures_total{model="dummy",reason=)"));
  FailLoads(absl::OkStatus());
  EXPECT_EQ(Call({3, 20}).code(), StatusCode::kUnavailable);
  EXPECT_EQ(runtime_.loads(), 2u);
  timer_.Advance(ShapeInstances::kRetryAfter);
  EXPECT_TRUE(Call({3, 20}).ok());
  EXPECT_EQ(runtime_.loads(), 3u);
}

// Every shape of one Version has the same weights.
TEST_F(ShapeInstancesTest, ANewShapeIsNotCompiledFromFilesThatHaveChanged) {
  Serve();
  EXPECT_TRUE(Call({2, 10}).ok());
  const Version* const before = &**manager_->Acquire("dummy", std::nullopt);
  const auto folder = repository_.path() / "dummy/1";
  std::ofstream(folder / ".incomplete") << "";
  std::ofstream(folder / "model.onnx") << "half of it";
  const Status status = Call({3, 10});
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.ToString(), HasSubstr("have changed since it was loaded"));
  EXPECT_TRUE(Call({2, 10}).ok()) << "what is loaded goes on";
  EXPECT_EQ(&**manager_->Acquire("dummy", std::nullopt), before);
  std::filesystem::remove(folder / ".incomplete");
  // Nobody tells of the change: the refused shape had the folder looked at.
  EXPECT_TRUE(Until([&] { return timer_.Advance(seconds(1)), &**manager_->Acquire("dummy", std::nullopt) != before; }));
  EXPECT_TRUE(Call({3, 10}).ok());
}

TEST_F(ShapeInstancesTest, WhatComesBesidesTooManyCompilationsIsRefused) {
  Serve(2);
  Hold(true);
  ShapedCall a = Start({2, 10}), b = Start({3, 10});
  const Status refused = Call({4, 10});
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.ToString(), HasSubstr("auto_shape_limit"));
  EXPECT_TRUE(Call({1, 10}).ok());
  Hold(false);
  EXPECT_TRUE(Finish(a, 20).ok());
  EXPECT_TRUE(Finish(b, 30).ok());
}

TEST_F(ShapeInstancesTest, FaultyShapesAreRefusedAtOnce) {
  Serve();
  EXPECT_EQ(Call({0, 10}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Call({10}).code(), StatusCode::kInvalidArgument) << "the rank stays";
  EXPECT_EQ(runtime_.loads(), 1u);
}

TEST_F(ShapeInstancesTest, ManyThreadsAndShapes) {
  Serve(3);
  std::vector<std::thread> threads;
  std::atomic<int> good{0}, busy{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const Shape shape = {1 + (i * 7 + t) % 6, 10};
        ShapedCall test = Start(shape);
        const Status status = Finish(test, *ElementCount(shape));
        if (status.ok()) ++good;
        if (status.code() == StatusCode::kResourceExhausted) ++busy;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good + busy, 400);
  EXPECT_GT(good, 100);
  EXPECT_TRUE(Until([&] { return runtime_.live_models() <= 4; }));
}

// Each of its instances is reckoned to take ten bytes, as the model's file does.
class ShapeBudgetTest : public ShapeInstancesTest {
 protected:
  void ServeWithin(uint64_t budget) {
    budget_ = budget;
    Serve(8, [this](ModelSettings& settings) {
      Write("dummy", 10);
      dummy_ = settings;
    });
  }
  void Write(const std::string& model, size_t bytes) const {
    std::ofstream(repository_.path() / model / "1/model.onnx") << std::string(bytes, 'x');
  }
  void TakeOnDevice(uint64_t bytes) {
    runtime_.Update("dummy", [&](FakeRuntime::Script& script) { script.facts.memory_bytes = bytes; });
  }

  ModelSettings dummy_;
};

TEST_F(ShapeBudgetTest, TheLeastRecentlyUsedInstanceMakesRoom) {
  ServeWithin(45);
  for (const int rows : {2, 3, 4}) EXPECT_TRUE(Call({rows, 10}).ok());
  EXPECT_TRUE(Call({2, 10}).ok());
  EXPECT_EQ(runtime_.loads(), 4u);
  EXPECT_TRUE(Call({5, 10}).ok());
  EXPECT_TRUE(Until([&] { return runtime_.live_models() == 4; })) << runtime_.live_models();
  EXPECT_THAT(Shapes(), ElementsAre("b (5,10)/serving", "b (2,10)/serving", "b (4,10)/serving"));
  EXPECT_TRUE(Call({1, 10}).ok()) << "the model's own shape stays";
}

TEST_F(ShapeBudgetTest, WhatDoesNotFitIsRefusedWithTheFiguresAndTriedAgain) {
  ServeWithin(45);
  Hold(true);
  std::vector<ShapedCall> calls;
  for (const int rows : {2, 3, 4}) calls.push_back(Start({rows, 10}));
  ASSERT_TRUE(runtime_.WaitForLoads(2));
  const Status refused = Call({5, 10});
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.ToString(), AllOf(HasSubstr("model dummy version 1 for b (5,10) needs about 10 bytes"),
                                        HasSubstr("45 of --memory_budget"), HasSubstr("dummy/1 40")));
  EXPECT_EQ(Call({5, 10}).code(), StatusCode::kResourceExhausted);
  Hold(false);
  for (size_t i = 0; i < calls.size(); ++i) EXPECT_TRUE(Finish(calls[i], 20 + 10 * i).ok());
  calls.clear();
  timer_.Advance(ShapeInstances::kRoomAfter);
  EXPECT_TRUE(Call({5, 10}).ok());
  EXPECT_EQ(runtime_.loads(), 5u) << "nothing was compiled for what was refused";
}

TEST_F(ShapeBudgetTest, WhatTheDeviceTellsCounts) {
  TakeOnDevice(30);
  ServeWithin(100);
  EXPECT_TRUE(Call({2, 10}).ok());
  EXPECT_TRUE(Call({3, 10}).ok());
  EXPECT_TRUE(Call({4, 10}).ok());
  EXPECT_TRUE(Until([&] { return Shapes() == std::vector<std::string>{"b (4,10)/serving", "b (3,10)/serving"}; }));
  EXPECT_TRUE(Until([&] { return runtime_.live_models() == 3; }));
}

TEST_F(ShapeBudgetTest, AnInstanceThatTurnsOutTooLargeGoesAgain) {
  TakeOnDevice(30);
  ServeWithin(100);
  TakeOnDevice(80);
  ShapedCall first = Start({2, 10});
  ASSERT_TRUE(Until([&] { return Shapes() == std::vector<std::string>{"b (2,10)/failed"}; }));
  EXPECT_TRUE(Until([&] { return first.answer->done.HasBeenNotified(); })) << "served before it was known, or refused";
  EXPECT_TRUE(Until([&] { return runtime_.live_models() == 1; }));
  const Status refused = Call({2, 10});
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.ToString(), AllOf(HasSubstr("needs about 80 bytes"), HasSubstr("dummy/1 30")));
  EXPECT_EQ(runtime_.loads(), 2u);
  TakeOnDevice(70);
  timer_.Advance(ShapeInstances::kRetryAfter);
  EXPECT_TRUE(Call({2, 10}).ok());
}

TEST_F(ShapeBudgetTest, OtherModelsTakeTheRoomOfInstancesThatNobodyCalls) {
  ServeWithin(45);
  for (const int rows : {2, 3}) EXPECT_TRUE(Call({rows, 10}).ok());
  const ModelSettings other = repository_.Add("other", {1});
  Write("other", 30);
  timer_.Advance(seconds(2));
  manager_->SetWanted({dummy_, other}, {});
  manager_->WaitForLoads();
  EXPECT_TRUE(manager_->ModelReady("other", std::nullopt));
  EXPECT_TRUE(Until([&] { return runtime_.live_models() == 2; }));
  EXPECT_THAT(Shapes(), IsEmpty());
  EXPECT_TRUE(Call({1, 10}).ok());
  EXPECT_EQ(Call({2, 10}).code(), StatusCode::kResourceExhausted) << "other was loaded just now";
  timer_.Advance(seconds(2));
  EXPECT_TRUE(Until([&] { return timer_.Advance(seconds(1)), Call({2, 10}).ok(); })) << "it sleeps";
}

}  // namespace
}  // namespace switchyard
