#include "tools/tune/search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "tools/tune/report.h"

namespace switchyard::tune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Candidates that do what the test says, on a clock that only they move.
class ScriptedTrials final : public Trials {
 public:
  struct Script {
    double per_second = 100;
    double p50_ms = 10;
    double p99_ms = 12;  // with one call in flight; each further one adds as much
    double alone_p99_ms = 0;  // in place of that with one call
    size_t joined_calls = 1;
    float value = 1;     // the only output
    Status fault;
    std::chrono::milliseconds load{200};
    std::vector<double> noise;  // factors of the measurements, in turns
  };

  explicit ScriptedTrials(ManualTimer& timer) : timer_(timer) {}

  StatusOr<Loaded> Load(const Candidate& candidate) override {
    now_ = candidate.label;
    loads.push_back(candidate.label);
    const Script& script = scripts[candidate.label];
    timer_.Advance(script.load);
    if (!script.fault.ok()) return script.fault;
    ClientTensor output{"a", ElementType::kFp32, {1}, {}, {}};
    output.data.assign(reinterpret_cast<const char*>(&script.value), sizeof script.value);
    return Loaded{.devices = {"CPU"},
                  .precision = "f32",
                  .streams = "1",
                  .requests = 4,
                  .joined_calls = script.joined_calls,
                  .load_ms = 200,
                  .outputs = {{output}}};
  }
  StatusOr<Figures> Measure(size_t concurrency, std::chrono::duration<double> duration) override {
    const Script& script = scripts[now_];
    timer_.Advance(std::chrono::duration_cast<Duration>(duration));
    seconds[now_] += duration.count();
    const double noise = script.noise.empty() ? 1 : script.noise[measured_[now_]++ % script.noise.size()];
    if (on_measure) on_measure();
    return Figures{.per_second = script.per_second * noise * static_cast<double>(concurrency) / 4,
                   .p50_ms = script.p50_ms / noise,
                   .p99_ms = concurrency == 1 && script.alone_p99_ms > 0 ? script.alone_p99_ms
                                                                         : script.p99_ms * static_cast<double>(concurrency),
                   .concurrency = concurrency,
                   .calls = 100};
  }

  std::map<std::string, Script> scripts;
  std::map<std::string, double> seconds;
  std::vector<std::string> loads;
  std::function<void()> on_measure;

 private:
  ManualTimer& timer_;
  std::string now_;
  std::map<std::string, size_t> measured_;
};

class SearchTest : public ::testing::Test {
 protected:
  SearchTest() {
    for (const char* label : {"default", "a", "b", "c", "d", "e", "f", "g"}) {
      Candidate candidate{label, {}, "because"};
      candidate.settings.name = "m";
      candidate.settings.nireq = static_cast<uint32_t>(candidates_.size() + 1);  // no neighbours, and each another
      candidates_.push_back(std::move(candidate));
    }
  }

  StatusOr<Result> Run() {
    return Search(
        candidates_, trials_, timer_, options_, [this](const std::string& text) { steps_.push_back(text); }, interrupted_);
  }
  static const Row& RowOf(const Result& result, const std::string& label) {
    for (const Row& row : result.rows) {
      if (row.candidate.label == label) return row;
    }
    throw std::runtime_error("no row " + label);
  }

  ManualTimer timer_;
  ScriptedTrials trials_{timer_};
  SearchOptions options_;
  std::vector<Candidate> candidates_;
  std::vector<std::string> steps_;
  std::atomic<bool> interrupted_{false};
};

TEST_F(SearchTest, TheFastestWinsAndIsMeasuredLongest) {
  trials_.scripts["e"].per_second = 180;
  trials_.scripts["b"].per_second = 150;
  trials_.scripts["f"].per_second = 20;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->rows[result->winner].candidate.label, "e");
  EXPECT_EQ(result->rows[1].candidate.label, "b");
  EXPECT_LE(result->seconds, 62);
  EXPECT_GE(result->seconds, 30);
  EXPECT_GT(trials_.seconds["e"], 3 * trials_.seconds["f"]);
  // The default is measured in the last rounds too, in turns with the others.
  EXPECT_GE(RowOf(*result, "default").finals.size(), 3u);
  EXPECT_THAT(ResultText(*result, options_), HasSubstr("e: because; 1.80 times as much as the default"));
}

TEST_F(SearchTest, OfTwoThatAreAsGoodTheDefaultIsTaken) {
  trials_.scripts["c"].per_second = 101;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->rows[result->winner].is_default);
  EXPECT_THAT(ConfigText(*result, options_, rapidjson::Value(rapidjson::kObjectType), {}),
              HasSubstr("No setting did measurably better than the default"));
}

TEST_F(SearchTest, AFasterOneThatIsLessExactIsNotTaken) {
  trials_.scripts["e"] = {.per_second = 300, .value = 1.01f};
  trials_.scripts["b"].per_second = 150;
  auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->rows[result->winner].candidate.label, "b");
  EXPECT_FALSE(RowOf(*result, "e").exact_enough);
  EXPECT_NEAR(*RowOf(*result, "e").error, 0.01, 1e-4);
  EXPECT_THAT(ResultText(*result, options_), HasSubstr("not exact"));
  options_.max_error = 0.05;
  result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->rows[result->winner].candidate.label, "e");
}

TEST_F(SearchTest, WithoutALimitOthersMayBeAsInexactAsTheDefault) {
  trials_.scripts["default"].value = 1.02f;
  trials_.scripts["e"] = {.per_second = 300, .value = 1.01f};
  trials_.scripts["f"] = {.per_second = 900, .value = 1.1f};
  auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->rows[result->winner].candidate.label, "e");
  EXPECT_THAT(ResultText(*result, options_), HasSubstr("The default differs from CPU f32 by 0.02"));
  // With one, the default itself may be out.
  options_.max_error = 1e-3;
  result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->rows[result->winner].is_default);
  EXPECT_THAT(ResultText(*result, options_), HasSubstr("more than 0.001: it was not to be taken"));
}

TEST_F(SearchTest, FaultsAreToldAndTheRestIsRanked) {
  trials_.scripts["a"].fault = InvalidArgument("BATCH needs a batch dimension");
  trials_.scripts["b"].per_second = 150;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->rows[result->winner].candidate.label, "b");
  EXPECT_EQ(result->rows.back().candidate.label, "a");
  EXPECT_THAT(ResultText(*result, options_), HasSubstr("a failed: BATCH needs a batch dimension"));
}

TEST_F(SearchTest, WhenAllAreFaultyTheDefaultsFaultIsTheError) {
  for (const Candidate& candidate : candidates_) trials_.scripts[candidate.label].fault = InvalidArgument("broken");
  trials_.scripts["default"].fault = InvalidArgument("the file is broken");
  EXPECT_EQ(Message(Run().status()), "the file is broken");
}

TEST_F(SearchTest, LatencyAndGoodputHaveTheirOwnOrder) {
  trials_.scripts["c"] = {.per_second = 50, .p50_ms = 3, .p99_ms = 30};
  trials_.scripts["d"] = {.per_second = 400, .p50_ms = 20, .p99_ms = 4};
  options_.objective = Objective::kLatency;
  auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->rows[result->winner].candidate.label, "c");
  EXPECT_EQ(result->rows[0].last()->concurrency, 1u);
  options_.objective = Objective::kGoodput;
  result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->rows[result->winner].candidate.label, "d");
  // 4 ms for each call in flight, and 20 ms allowed.
  EXPECT_EQ(result->rows[0].last()->concurrency, 4u);
}

TEST_F(SearchTest, AnInterruptKeepsWhatThereIs) {
  trials_.scripts["a"].per_second = 150;
  int measured = 0;
  trials_.on_measure = [&] { interrupted_ = ++measured >= 3; };
  auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->interrupted);
  EXPECT_EQ(result->rows[result->winner].candidate.label, "a");
  interrupted_ = true;
  trials_.on_measure = nullptr;
  EXPECT_EQ(Run().status().code(), StatusCode::kCancelled);
}

TEST_F(SearchTest, WhatAnInterruptCutShortTakesThePlaceOfNothing) {
  trials_.scripts["a"].per_second = 150;
  // The last measurement before the end: cut short, it looks as if the default were ten times as fast.
  trials_.scripts["default"].noise = {1, 10};
  int of_default = 0;
  trials_.on_measure = [&] { interrupted_ = trials_.loads.back() == "default" && ++of_default == 2; };
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_TRUE(result->interrupted);
  EXPECT_EQ(result->rows[result->winner].candidate.label, "a");
  EXPECT_EQ(RowOf(*result, "default").figures.size(), 1u);
}

TEST_F(SearchTest, WhatKeepsNoLimitIsToldAsSuch) {
  options_.objective = Objective::kGoodput;
  options_.p99_ms = 5;
  for (const Candidate& candidate : candidates_) trials_.scripts[candidate.label].p99_ms = 30;
  trials_.scripts["c"].p99_ms = 8;
  auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  std::string text = ResultText(*result, options_);
  EXPECT_THAT(text, HasSubstr("No candidate keeps p99 within 5 ms; the nearest is c with 8 ms."));
  EXPECT_THAT(ConfigText(*result, options_, rapidjson::Value(rapidjson::kObjectType), {}), HasSubstr("No candidate keeps p99"));
  EXPECT_THAT(text, Not(HasSubstr("times as much")));
  EXPECT_THAT(ResultJson(*result, options_), AllOf(HasSubstr("\"score\": null"), Not(HasSubstr("\"score\": -"))));
  // One that keeps it, and the default does not.
  trials_.scripts["c"].p99_ms = 4;
  result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->rows[result->winner].candidate.label, "c");
  text = ResultText(*result, options_);
  EXPECT_THAT(text, HasSubstr("the default does not keep p99 within 5 ms (it has 30 ms)"));
  EXPECT_THAT(text, Not(HasSubstr("times as much")));
}

TEST_F(SearchTest, WhatWaitsForABatchIsAlsoTriedWithAFullOne) {
  options_.objective = Objective::kGoodput;
  options_.p99_ms = 8;
  // 10 ms alone, since it waits for company; 4 ms for each call in a batch of 2.
  trials_.scripts["c"] = {.per_second = 400, .p99_ms = 4, .alone_p99_ms = 10, .joined_calls = 2};
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(RowOf(*result, "c").last()->concurrency, 2u);
}

TEST_F(SearchTest, ThePictureHasRoomForEveryCandidate) {
  Result result;
  for (int i = 0; i < 60; ++i) {
    Row row{.candidate = {std::to_string(i), {}, ""}, .is_default = i == 0};
    row.figures.push_back({.per_second = 1, .p50_ms = 1, .p99_ms = 1, .concurrency = 1, .calls = 1});
    result.rows.push_back(std::move(row));
  }
  EXPECT_THAT(ResultSvg(result), AllOf(HasSubstr("viewBox=\"0 0 900 1016\""), HasSubstr("y=\"1000\"")));
}

TEST_F(SearchTest, ABusyMachineIsToldAndMeasuredAgain) {
  trials_.scripts["default"].noise = {1, 0.6, 1.3, 0.7, 1.2};
  trials_.scripts["b"].per_second = 300;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(ResultText(*result, options_), HasSubstr("The machine was busy"));
  EXPECT_EQ(result->rows[result->winner].candidate.label, "b");
  EXPECT_GT(RowOf(*result, "default").finals.size(), 3u) << "measured again, within the time";
  EXPECT_LE(result->seconds, 62);
}

TEST_F(SearchTest, LoadsThatTakeLongLeaveOutTheLessLikelyOnes) {
  for (const Candidate& candidate : candidates_) trials_.scripts[candidate.label].load = std::chrono::seconds(8);
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(ResultText(*result, options_), HasSubstr("candidates were not tried: loading takes 8.0 s each"));
  EXPECT_LT(result->seconds, 100);
}

TEST(LargestError, IsRelativeToTheTensorsLargestMagnitude) {
  const auto tensor = [](std::vector<float> values) {
    ClientTensor one{"a", ElementType::kFp32, {static_cast<int64_t>(values.size())}, {}, {}};
    one.data.assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    return one;
  };
  EXPECT_DOUBLE_EQ(LargestError({tensor({100, 1})}, {tensor({100, 2})}), 0.01);
  EXPECT_DOUBLE_EQ(LargestError({tensor({1, 2})}, {tensor({1, 2})}), 0);
  const float nan = std::nanf("");
  EXPECT_DOUBLE_EQ(LargestError({tensor({nan, 2})}, {tensor({nan, 2})}), 0);
  EXPECT_TRUE(std::isinf(LargestError({tensor({1, 2})}, {tensor({nan, 2})})));
  EXPECT_TRUE(std::isinf(LargestError({tensor({1, 2})}, {tensor({1})})));
  EXPECT_TRUE(std::isinf(LargestError({tensor({1, 2})}, {})));
}

}  // namespace
}  // namespace switchyard::tune
