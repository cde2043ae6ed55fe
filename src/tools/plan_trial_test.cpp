#include "tools/plan_trial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/fake/fake_runtime.h"
#include "serving/test_calls.h"
#include "tools/plan.h"

namespace switchyard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class PlanTest : public ::testing::Test {
 protected:
  PlanTest() { runtime_.SetDeviceNames({"CPU", "GPU.0"}); }
  ~PlanTest() override {
    EXPECT_EQ(runtime_.live_models(), 0u);
    EXPECT_THAT(runtime_.violations(), IsEmpty());
  }

  StatusOr<PlacementReport> Try(const std::string& target) {
    settings_.models = {repository_.Add("dummy", {1, 2})};
    settings_.models[0].target_device = target;
    return TryPlan(settings_, runtime_, [this](const std::string& step) { steps_.push_back(step); });
  }

  TempRepository repository_;
  FakeRuntime runtime_;
  ServerSettings settings_;
  std::vector<std::string> steps_;
};

TEST_F(PlanTest, LoadsEachCandidateOnceAndFreesIt) {
  runtime_.Set("dummy@GPU.0", {.facts = {.precision = "f16", .num_streams = 2, .optimal_requests = 4, .compile_ms = 1234}});
  const auto report = Try("AUTO:GPU,CPU");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->execution_devices, ElementsAre("GPU.0"));
  ASSERT_EQ(report->targets.size(), 2u);
  EXPECT_EQ(report->targets[0].state, "serving");
  EXPECT_EQ(report->targets[0].num_requests, 4u);
  EXPECT_EQ(runtime_.loads(), 2u);
  EXPECT_EQ(runtime_.load_requests()[0].version, 2);
  EXPECT_THAT(steps_, Not(IsEmpty()));
  const std::string text = PlanText(*report);
  EXPECT_THAT(text, HasSubstr("TARGET  DEVICES  STATE"));
  EXPECT_THAT(text, HasSubstr("GPU.0   GPU.0    serving  -       f16        2        4         1      1234 ms  off"));
}

TEST_F(PlanTest, AVersionThatIsNotWholeLeavesTheOnesBeforeIt) {
  repository_.Add("dummy", {1, 2});
  std::filesystem::create_directories(repository_.path() / "dummy/3");
  ASSERT_TRUE(Try("CPU").ok());
  EXPECT_EQ(runtime_.load_requests()[0].version, 2);
}

TEST_F(PlanTest, ACandidateThatDoesNotLoadIsToldAndTheNextServes) {
  runtime_.Set("dummy@GPU.0", {.load_error = InvalidArgument("the GPU knows no such operator")});
  const auto report = Try("AUTO:GPU,CPU");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->execution_devices, ElementsAre("CPU"));
  EXPECT_EQ(report->targets[0].state, "failed");
  EXPECT_EQ(report->targets[1].state, "serving");
  EXPECT_THAT(PlanText(*report), HasSubstr("GPU.0 does not serve: the GPU knows no such operator"));
}

TEST_F(PlanTest, AllOfAMultiServe) {
  const auto report = Try("MULTI:GPU,CPU");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->execution_devices, ElementsAre("GPU.0", "CPU"));
  EXPECT_EQ(report->targets[1].state, "serving");
}

TEST_F(PlanTest, TheGraphIsThatOfTheFirstThatServes) {
  runtime_.Set("dummy@GPU.0", {.load_error = InvalidArgument("the GPU knows no such operator")});
  ASSERT_TRUE(Try("CPU").ok());
  settings_.models[0].target_device = "AUTO:GPU,CPU";
  PlanGraph drawn;
  const auto report = TryPlan(settings_, runtime_, [](const auto&) {}, &drawn);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(drawn.target, "CPU");
  ASSERT_EQ(drawn.graph.nodes.size(), 3u);
  EXPECT_EQ(drawn.graph.nodes[1].device, "CPU");
  settings_.models[0].target_device = "HETERO:GPU,CPU";
  ASSERT_TRUE(TryPlan(settings_, runtime_, [](const auto&) {}, &drawn).ok());
  EXPECT_EQ(drawn.target, "HETERO:GPU.0,CPU");
  EXPECT_EQ(drawn.graph.nodes[1].device, "GPU.0");
  EXPECT_EQ(drawn.graph.nodes[2].device, "CPU");
}

TEST_F(PlanTest, FaultsAreTheServersOwn) {
  EXPECT_THAT(std::string(Message(Try("NPU").status())), HasSubstr("there is no device NPU"));
  // The doctor's word.
  EXPECT_THAT(std::string(Message(Try("NPU").status())), HasSubstr("(NPU: "));
  runtime_.Set("dummy", {.load_error = InvalidArgument("the file is broken")});
  EXPECT_EQ(Message(Try("CPU").status()), "the file is broken");
  EXPECT_THAT(std::string(Message(Try("AUTO:GPU,CPU").status())),
              HasSubstr("GPU.0: the file is broken; CPU: the file is broken"));
  settings_.models[0].base_path = "/no/such/folder";
  EXPECT_THAT(std::string(Message(TryPlan(settings_, runtime_, [](const auto&) {}).status())), HasSubstr("/no/such/folder"));
}

TEST(RunPlan, FaultyCommandLinesEndWith64) {
  const auto run = [](std::vector<const char*> argv) {
    argv.insert(argv.begin(), {"switchyard", "plan"});
    return RunPlan(static_cast<int>(argv.size()), argv.data(),
                   [](const ServerSettings&) -> StatusOr<std::unique_ptr<Runtime>> { return absl::InternalError("asked"); });
  };
  EXPECT_EQ(run({}), 64);
  EXPECT_EQ(run({"--config_path", "x.json"}), 64);
  EXPECT_EQ(run({"--model_path", "x", "--no_such_flag"}), 64);
  EXPECT_EQ(run({"--model_path", "x", "--json"}), 1);
  EXPECT_EQ(run({"--help"}), 0);
}

}  // namespace
}  // namespace switchyard
