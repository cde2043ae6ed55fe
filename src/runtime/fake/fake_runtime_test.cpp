#include "runtime/fake/fake_runtime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <future>
#include <thread>

namespace switchyard {
namespace {

using Script = FakeRuntime::Script;

class FakeRuntimeTest : public ::testing::Test {
 protected:
  std::shared_ptr<CompiledModel> Load() { return *runtime.Load({.settings = {.name = "dummy"}}); }
  TensorView Input() {
    return {
        .type = ElementType::kFp32, .shape = {1, 10}, .data = reinterpret_cast<const std::byte*>(values.data()), .bytes = 40};
  }
  static float First(InferRequest& request) {
    const auto output = request.TakeOutput(0);
    float value = 0;
    if (output.ok()) std::memcpy(&value, output->data, sizeof(value));
    return value;
  }

  FakeRuntime runtime;
  std::array<float, 10> values{41};
};

TEST_F(FakeRuntimeTest, InferAddsOne) {
  auto request = *Load()->CreateInferRequest();
  ASSERT_TRUE(request->Bind({Input()}).ok());
  ASSERT_TRUE(request->Infer().ok());
  EXPECT_EQ(First(*request), 42);
  EXPECT_EQ(runtime.infers(), 1u);
  EXPECT_EQ(runtime.live_models(), 1u) << "the request keeps its model";
  request.reset();
  EXPECT_EQ(runtime.live_models(), 0u);
  EXPECT_EQ(runtime.live_requests(), 0u);
  EXPECT_TRUE(runtime.violations().empty());
}

TEST_F(FakeRuntimeTest, HeldInferencesEndWhenTheTestSaysSo) {
  auto model = Load();
  auto first = *model->CreateInferRequest();
  auto second = *model->CreateInferRequest();
  std::vector<std::string> ended;
  ASSERT_TRUE(first->Bind({Input()}).ok());
  ASSERT_TRUE(second->Bind({Input()}).ok());
  first->StartAsync([&](Status status) { ended.push_back("first " + std::string(Message(status))); });
  second->StartAsync([&](Status status) { ended.push_back("second " + std::string(Message(status))); });
  EXPECT_EQ(runtime.held(), 2u);
  EXPECT_EQ(runtime.max_running(), 2u);
  values[0] = 7;
  EXPECT_TRUE(runtime.CompleteNext());
  EXPECT_EQ(First(*first), 8) << "inputs are read at the end, not at the start";
  EXPECT_TRUE(runtime.CompleteNext(absl::UnavailableError("gone")));
  EXPECT_FALSE(runtime.CompleteNext());
  EXPECT_THAT(ended, ::testing::ElementsAre("first ", "second gone"));
  EXPECT_EQ(runtime.running(), 0u);
}

TEST_F(FakeRuntimeTest, ACallbackMayStartTheNextInference) {
  auto request = *Load()->CreateInferRequest();
  int ended = 0;
  ASSERT_TRUE(request->Bind({Input()}).ok());
  request->StartAsync([&](Status) {
    ++ended;
    ASSERT_TRUE(request->Bind({Input()}).ok());
    request->StartAsync([&](Status) { ++ended; });
  });
  EXPECT_EQ(runtime.CompleteAll(), 2u);
  EXPECT_EQ(ended, 2);
  EXPECT_TRUE(runtime.violations().empty());
}

TEST_F(FakeRuntimeTest, ThreadModeCompletesElsewhere) {
  runtime.Update("dummy", [](Script& script) { script.async = FakeRuntime::Async::kThread; });
  auto request = *Load()->CreateInferRequest();
  ASSERT_TRUE(request->Bind({Input()}).ok());
  std::promise<std::thread::id> where;
  request->StartAsync([&](Status) { where.set_value(std::this_thread::get_id()); });
  EXPECT_NE(where.get_future().get(), std::this_thread::get_id());
  EXPECT_EQ(First(*request), 42);
}

TEST_F(FakeRuntimeTest, FaultsAreScripted) {
  runtime.Set("dummy", {.load_error = absl::NotFoundError("no file")});
  EXPECT_EQ(runtime.Load({.settings = {.name = "dummy"}}).status().message(), "no file");
  runtime.Set("dummy/2", {.infer_error = absl::InternalError("broke")});
  auto request = *(*runtime.Load({.settings = {.name = "dummy"}, .version = 2}))->CreateInferRequest();
  ASSERT_TRUE(request->Bind({Input()}).ok());
  EXPECT_EQ(request->Infer().message(), "broke");
  EXPECT_EQ(runtime.loads(), 2u);
}

TEST_F(FakeRuntimeTest, AHeldLoadEndsWhenReleased) {
  runtime.Set("dummy", {.hold_load = true});
  auto load = std::async(std::launch::async, [&] { return runtime.Load({.settings = {.name = "dummy"}}).ok(); });
  ASSERT_TRUE(runtime.WaitForLoads(1));
  EXPECT_EQ(runtime.live_models(), 0u);
  runtime.Update("dummy", [](Script& script) { script.hold_load = false; });
  EXPECT_TRUE(load.get());
}

TEST_F(FakeRuntimeTest, BreachesOfTheContractAreSeen) {
  auto request = *Load()->CreateInferRequest();
  EXPECT_FALSE(request->TakeOutput(0).ok());
  ASSERT_TRUE(request->Bind({Input()}).ok());
  request->StartAsync([](Status) {});
  EXPECT_TRUE(request->Bind({Input()}).ok());
  request.reset();
  EXPECT_EQ(runtime.violations().size(), 3u);
  EXPECT_EQ(runtime.held(), 0u);

  auto* raw = (*Load()->CreateInferRequest()).release();
  ASSERT_TRUE(raw->Bind({Input()}).ok());
  raw->StartAsync([raw](Status) { delete raw; });
  runtime.CompleteAll();
  EXPECT_EQ(runtime.violations().back(), "InferRequest destroyed in its own callback");
}

}  // namespace
}  // namespace switchyard
