#include "tools/tune/model_trials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/fake/fake_runtime.h"
#include "serving/test_calls.h"
#include "tools/tune/tune.h"

namespace switchyard::tune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ModelTrialsTest : public ::testing::Test {
 protected:
  ModelTrialsTest() {
    runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.async = FakeRuntime::Async::kThread; });
    candidate_.settings = repository_.Add("dummy", {1});
    candidate_.settings.target_device = "CPU";
  }
  ~ModelTrialsTest() override { EXPECT_THAT(runtime_.violations(), IsEmpty()); }

  ModelTrials Make() { return ModelTrials(settings_, runtime_, timer_, inputs_, 2, interrupted_); }

  TempRepository repository_;
  FakeRuntime runtime_;
  ThreadTimer timer_;
  ServerSettings settings_;
  ModelTrials::InputOptions inputs_;
  std::atomic<bool> interrupted_{false};
  Candidate candidate_{"CPU", {}, ""};
};

TEST_F(ModelTrialsTest, LoadsCallsAndMeasures) {
  inputs_.texts["b"] = "[[0,1,2,3,4,5,6,7,8,9]]";
  ModelTrials trials = Make();
  const auto loaded = trials.Load(candidate_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(loaded->devices, ElementsAre("CPU"));
  EXPECT_EQ(loaded->precision, "f32");
  ASSERT_FALSE(loaded->outputs.empty());
  EXPECT_EQ(NumberAt(loaded->outputs[0][0], 9), Number(10.0));
  const auto figures = trials.Measure(4, std::chrono::milliseconds(50));
  ASSERT_TRUE(figures.ok()) << figures.status();
  EXPECT_GT(figures->calls, 0u);
  EXPECT_GT(figures->per_second, 0);
  EXPECT_EQ(figures->concurrency, 4u);
}

TEST_F(ModelTrialsTest, ACandidateThatFailsIsNotServedByTheOneBefore) {
  ModelTrials trials = Make();
  ASSERT_TRUE(trials.Load(candidate_).ok());
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = InvalidArgument("too much"); });
  candidate_.settings.nireq = 7;
  EXPECT_THAT(std::string(Message(trials.Load(candidate_).status())), HasSubstr("too much"));
}

TEST_F(ModelTrialsTest, FaultsOfInferencesAndInputsAreTold) {
  inputs_.texts["c"] = "random";
  {
    ModelTrials trials = Make();
    EXPECT_EQ(Message(trials.Load(candidate_).status()), "--input c: the model has no such input");
    EXPECT_FALSE(trials.Hopeless().ok()) << "it would be so with every candidate";
  }
  inputs_.texts.clear();
  ModelTrials trials = Make();
  ASSERT_TRUE(trials.Load(candidate_).ok());
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.infer_error = InvalidArgument("no such word"); });
  EXPECT_THAT(std::string(Message(trials.Measure(2, std::chrono::milliseconds(10)).status())), HasSubstr("no such word"));
}

TEST(RunTune, FaultyCommandLinesEndWith64) {
  const auto run = [](std::vector<const char*> argv) {
    argv.insert(argv.begin(), {"switchyard", "tune"});
    return RunTune(static_cast<int>(argv.size()), argv.data(),
                   [](const ServerSettings&) -> StatusOr<std::unique_ptr<Runtime>> { return absl::InternalError("asked"); });
  };
  EXPECT_EQ(run({}), 64);
  EXPECT_EQ(run({"--config_path", "x.json"}), 64);
  EXPECT_EQ(run({"--model_path", "x", "--no_such_flag"}), 64);
  EXPECT_EQ(run({"--model_path", "x", "--objective", "speed"}), 64);
  EXPECT_EQ(run({"--model_path", "x", "--time_budget", "0"}), 64);
  EXPECT_EQ(run({"--model_path", "x", "--time_budget"}), 64);
  EXPECT_EQ(run({"--model_path", "x", "--max_error=-1"}), 64);
  EXPECT_EQ(run({"--model_path", "x", "--input", "b"}), 64);
  EXPECT_EQ(run({"--model_path", "x", "--input_shape", "b=-1"}), 64);
  EXPECT_EQ(run({"--model_path", "x", "--p99_ms", "5"}), 64) << "it is goodput's";
  EXPECT_EQ(run({"--model_path", "x", "--objective=latency", "--time_budget=2m"}), 1);
  EXPECT_EQ(run({"--help"}), 0);
}

}  // namespace
}  // namespace switchyard::tune
