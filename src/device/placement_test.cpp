#include "device/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Mode = PlacementPlan::Mode;
using Lane = CandidateState::Lane;
using Type = DeviceInfo::Type;

const Inventory kAll = {{.name = "CPU", .type = Type::kCpu},
                        {.name = "GPU.0", .type = Type::kIntegratedGpu},
                        {.name = "GPU.1", .type = Type::kDiscreteGpu},
                        {.name = "NPU", .type = Type::kNpu}};
const Inventory kCpuOnly = {{.name = "CPU", .type = Type::kCpu}};

ModelSettings On(const std::string& target, PropertyMap config = {}) {
  return ModelSettings{.name = "m", .target_device = target, .plugin_config = std::move(config)};
}

std::vector<std::string> Targets(const PlacementPlan& plan) {
  std::vector<std::string> targets;
  for (const Candidate& candidate : plan.candidates) targets.push_back(candidate.target);
  return targets;
}

PlacementPlan Plan(const ModelSettings& settings, const Inventory& inventory = kAll) {
  auto plan = MakePlan(settings, inventory);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *plan : PlacementPlan{};
}

std::string Fault(const ModelSettings& settings, const Inventory& inventory = kAll) {
  const auto plan = MakePlan(settings, inventory);
  EXPECT_FALSE(plan.ok());
  return plan.ok() ? "" : absl::StatusCodeToString(plan.status().code()) + ": " + std::string(Message(plan.status()));
}

TEST(MakePlan, ADeviceIsOneCandidateUnderItsCanonicalName) {
  EXPECT_THAT(Targets(Plan(On("GPU"))), ElementsAre("GPU.0"));
  EXPECT_THAT(Targets(Plan(On("NPU"))), ElementsAre("NPU"));
  EXPECT_THAT(Targets(Plan(On("BATCH:CPU(16)"))), ElementsAre("BATCH:CPU(16)"));
  EXPECT_THAT(Targets(Plan(On("HETERO:GPU.1,CPU"))), ElementsAre("HETERO:GPU.1,CPU"));
  EXPECT_EQ(Plan(On("GPU")).asked, "GPU");
}

TEST(MakePlan, AnNpuIsNamedByItsOwnArchitecture) {
  Inventory devices = kCpuOnly;
  devices.push_back({.name = "NPU", .type = Type::kNpu, .architecture = "4000"});
  for (const std::string name : {"NPU", "NPU.0", "NPU.4000"}) EXPECT_THAT(Targets(Plan(On(name), devices)), ElementsAre("NPU"));
  EXPECT_THAT(Fault(On("NPU.3720"), devices),
              AllOf(HasSubstr("NOT_FOUND"), HasSubstr("there is no device NPU.3720; available: CPU, NPU"),
                    HasSubstr("the NPU here is an NPU.4000: write NPU or NPU.4000")));
  const PlacementPlan plan = Plan(On("AUTO:NPU.3720,CPU"), devices);
  EXPECT_THAT(Targets(plan), ElementsAre("CPU"));
  EXPECT_THAT(plan.reasons, ElementsAre(HasSubstr("NPU.3720 is in the list of AUTO:NPU.3720,CPU, but it is not there")));
  EXPECT_THAT(Targets(Plan(On("NPU.4000"))), ElementsAre("NPU")) << "one that does not tell its architecture";
}

TEST(MakePlan, OldNamesOfPropertiesCount) {
  EXPECT_EQ(Plan(On("CPU", {{"CPU_THROUGHPUT_STREAMS", {int64_t{2}}}})).candidates[0].properties,
            (PropertyMap{{"NUM_STREAMS", {int64_t{2}}}}));
}

TEST(MakePlan, ABatchThatThePluginChoosesIsForThroughput) {
  const auto hint = [](const ModelSettings& settings) {
    const PropertyMap properties = Plan(settings).candidates[0].properties;
    const auto found = properties.find("PERFORMANCE_HINT");
    return found == properties.end() ? "" : std::get<std::string>(found->second.value);
  };
  EXPECT_EQ(hint(On("BATCH:GPU")), "THROUGHPUT");
  EXPECT_EQ(hint(On("BATCH:GPU", {{"PERFORMANCE_HINT", {std::string("LATENCY")}}})), "LATENCY");
  EXPECT_EQ(hint(On("BATCH:GPU(4)")), "");
  EXPECT_EQ(hint(On("GPU")), "");
}

TEST(MakePlan, NoTargetIsTheBestDevice) {
  EXPECT_THAT(Targets(Plan(On(""))), ElementsAre("GPU.1"));
  EXPECT_THAT(Targets(Plan(On(""), kCpuOnly)), ElementsAre("CPU"));
  EXPECT_THAT(Plan(On("")).notes, ElementsAre("no target_device was named; GPU.1 is the best there is"));
  EXPECT_THAT(Plan(On("")).reasons, IsEmpty()) << "nothing was asked for: --strict has nothing to refuse";
}

TEST(MakePlan, AutoRanksDiscreteThenIntegratedThenCpuAndTakesNoNpuUnasked) {
  const PlacementPlan plan = Plan(On("AUTO"));
  EXPECT_THAT(Targets(plan), ElementsAre("GPU.1", "GPU.0", "CPU"));
  EXPECT_EQ(plan.mode, Mode::kFirst);
  EXPECT_TRUE(plan.helper);
  EXPECT_TRUE(plan.retry);
  EXPECT_THAT(Targets(Plan(On("AUTO:NPU,CPU"))), ElementsAre("NPU", "CPU"));
  EXPECT_THAT(Targets(Plan(On("AUTO:-GPU"))), ElementsAre("CPU"));
  EXPECT_THAT(Targets(Plan(On("AUTO:-GPU.1"))), ElementsAre("GPU.0", "CPU"));
}

TEST(MakePlan, TheCumulativeHintAndMultiUseAllDevicesWithAHintThatOneDeviceCanFollow) {
  for (const PlacementPlan& plan :
       {Plan(On("AUTO:GPU,CPU", {{"PERFORMANCE_HINT", {std::string("CUMULATIVE_THROUGHPUT")}}})), Plan(On("MULTI:GPU,CPU"))}) {
    EXPECT_EQ(plan.mode, Mode::kAll);
    EXPECT_THAT(Targets(plan), ElementsAre("GPU.1", "GPU.0", "CPU"));
    EXPECT_EQ(std::get<std::string>(plan.candidates[0].properties.at("PERFORMANCE_HINT").value), "THROUGHPUT");
  }
}

TEST(MakePlan, GpuInAListOfAutoOrMultiIsEveryGpu) {
  for (const char* kind : {"AUTO", "MULTI"}) {
    const auto of = [&](const std::string& list) { return Targets(Plan(On(fmt::format("{}:{}", kind, list)))); };
    EXPECT_THAT(of("GPU,CPU"), ElementsAre("GPU.1", "GPU.0", "CPU")) << "the discrete one first";
    EXPECT_THAT(of("CPU,GPU"), ElementsAre("CPU", "GPU.1", "GPU.0"));
    EXPECT_THAT(of("GPU,GPU.0"), ElementsAre("GPU.1", "GPU.0")) << "each once";
    EXPECT_THAT(of("GPU.0,GPU"), ElementsAre("GPU.0", "GPU.1"));
    EXPECT_THAT(of("GPU.0,CPU"), ElementsAre("GPU.0", "CPU"));
    EXPECT_THAT(Targets(Plan(On(kind, {{"MULTI_DEVICE_PRIORITIES", {std::string("NPU,GPU")}}}))),
                ElementsAre("NPU", "GPU.1", "GPU.0"));
  }
  EXPECT_THAT(Targets(Plan(On("AUTO:GPU,CPU,-GPU.0"))), ElementsAre("GPU.1", "CPU"));
  EXPECT_THAT(Targets(Plan(On("HETERO:GPU,CPU"))), ElementsAre("HETERO:GPU.0,CPU")) << "elsewhere it is the first";
}

TEST(MakePlan, WhatAutoReadsDoesNotReachTheDevices) {
  const PlacementPlan plan = Plan(On("AUTO:GPU,CPU", {{"ENABLE_STARTUP_FALLBACK", {false}},
                                                      {"ENABLE_RUNTIME_FALLBACK", {std::string("NO")}},
                                                      {"SCHEDULE_POLICY", {std::string("ROUND_ROBIN")}},
                                                      {"MODEL_PRIORITY", {std::string("HIGH")}},
                                                      {"NUM_STREAMS", {int64_t{2}}}}));
  EXPECT_FALSE(plan.helper);
  EXPECT_FALSE(plan.retry);
  EXPECT_EQ(plan.schedule, PlacementPlan::Schedule::kRoundRobin);
  EXPECT_EQ(plan.priority, PlacementPlan::Priority::kHigh);
  for (const Candidate& candidate : plan.candidates) EXPECT_EQ(candidate.properties.size(), 1u);
  EXPECT_THAT(Fault(On("AUTO", {{"MODEL_PRIORITY", {std::string("URGENT")}}})), HasSubstr("expected LOW, MEDIUM or HIGH"));
  EXPECT_THAT(Fault(On("AUTO", {{"SCHEDULE_POLICY", {std::string("X")}}})), HasSubstr("expected ROUND_ROBIN"));
}

TEST(MakePlan, HeterosOwnKeyDoesNotReachItsFallback) {
  const PropertyMap config = {{"MODEL_DISTRIBUTION_POLICY", {std::string("PIPELINE_PARALLEL")}},
                              {"PERFORMANCE_HINT", {std::string("LATENCY")}}};
  const auto keeps = [&](const std::string& target, std::vector<std::string> fallbacks) {
    ModelSettings settings = On(target, config);
    settings.fallback_devices = std::move(fallbacks);
    std::vector<bool> result;
    for (const Candidate& candidate : Plan(settings).candidates) {
      EXPECT_TRUE(candidate.properties.contains("PERFORMANCE_HINT"));
      result.push_back(candidate.properties.contains("MODEL_DISTRIBUTION_POLICY"));
    }
    return result;
  };
  EXPECT_THAT(keeps("HETERO:GPU.0,GPU.1", {"HETERO:NPU,CPU", "CPU"}), ElementsAre(true, true, false));
  EXPECT_THAT(keeps("CPU", {"GPU"}), ElementsAre(true, true)) << "a device's own";
}

TEST(MakePlan, MissingDevicesOfAListAreLeftOutWithAReasonOrRefusedWhenStrict) {
  for (const char* target : {"HETERO:GPU,CPU", "AUTO:GPU,CPU", "MULTI:GPU,CPU"}) {
    ModelSettings settings = On(target);
    const PlacementPlan plan = Plan(settings, kCpuOnly);
    EXPECT_EQ(plan.candidates.size(), 1u);
    ASSERT_EQ(plan.reasons.size(), 1u) << target;
    EXPECT_THAT(plan.reasons[0], HasSubstr("GPU.0"));
    settings.strict_placement = true;
    EXPECT_THAT(Fault(settings, kCpuOnly), HasSubstr("NOT_FOUND: target_device"));
  }
  EXPECT_THAT(Targets(Plan(On("HETERO:GPU,CPU"), kCpuOnly)), ElementsAre("HETERO:CPU"));
}

TEST(MakePlan, ADeviceThatIsNotThereIsNamedWithThoseThatAre) {
  EXPECT_THAT(Fault(On("GPU"), kCpuOnly), HasSubstr("NOT_FOUND: target_device GPU: there is no device GPU.0; available: CPU"));
  EXPECT_THAT(Fault(On("GPU.7")), HasSubstr("available: CPU, GPU.0, GPU.1, NPU; the GPUs here: GPU.0, GPU.1; GPU without a "
                                            "number is the first of them"));
  EXPECT_THAT(Plan(On("HETERO:GPU,NPU.7,CPU")).reasons,
              ElementsAre(AllOf(HasSubstr("NPU.7 is part of"), HasSubstr("; the NPUs here: NPU;"))));
  EXPECT_THAT(Fault(On("AUTO:GPU"), kCpuOnly), HasSubstr("NOT_FOUND"));
  EXPECT_THAT(Fault(On("HETERO:GPU,NPU"), kCpuOnly), HasSubstr("NOT_FOUND"));
  EXPECT_THAT(Fault(On("BATCH:GPU"), kCpuOnly), HasSubstr("NOT_FOUND"));
  EXPECT_THAT(Fault(On("HETERO:")), HasSubstr("INVALID_ARGUMENT"));
}

TEST(MakePlan, FallbacksComeLastAndMakeAMissingDeviceNoError) {
  ModelSettings settings = On("GPU");
  settings.fallback_devices = {"NPU", "CPU"};
  const PlacementPlan plan = Plan(settings);
  EXPECT_THAT(Targets(plan), ElementsAre("GPU.0", "NPU", "CPU"));
  EXPECT_FALSE(plan.candidates[0].fallback);
  EXPECT_TRUE(plan.candidates[2].fallback);
  const PlacementPlan without = Plan(settings, kCpuOnly);
  EXPECT_THAT(Targets(without), ElementsAre("CPU"));
  EXPECT_EQ(without.reasons.size(), 2u);
  settings.fallback_devices = {"AUTO:GPU,CPU"};
  EXPECT_THAT(Fault(settings), HasSubstr("fallback_devices"));
}

TEST(YieldToPriorities, ADeviceOfAMoreImportantModelComesLater) {
  PlacementPlan plan = Plan(On("AUTO", {{"MODEL_PRIORITY", {std::string("LOW")}}}));
  YieldToPriorities(plan, {{"GPU.1", PlacementPlan::Priority::kMedium}, {"GPU.0", PlacementPlan::Priority::kLow}});
  EXPECT_THAT(Targets(plan), ElementsAre("GPU.0", "CPU", "GPU.1"));
  PlacementPlan equal = Plan(On("AUTO"));
  YieldToPriorities(equal, {{"GPU.1", PlacementPlan::Priority::kMedium}});
  EXPECT_THAT(Targets(equal), ElementsAre("GPU.1", "GPU.0", "CPU"));
}

// The states of the candidates GPU.1, GPU.0, CPU of AUTO.
class DecideTest : public testing::Test {
 protected:
  PlacementDecision Next() { return Decide(plan_, states_); }

  PlacementPlan plan_ = Plan(On("AUTO"));
  std::vector<CandidateState> states_{3};
};

TEST_F(DecideTest, TheCpuHelpsWhileTheBestDeviceCompilesThenHandsOverAndAStandbyIsMade) {
  EXPECT_THAT(Next().compile, ElementsAre(0u, 2u));
  EXPECT_FALSE(Next().hopeless);
  states_[0].lane = Lane::kCompiling;
  states_[2].lane = Lane::kReady;
  EXPECT_THAT(Next().compile, IsEmpty());
  EXPECT_THAT(Next().route, ElementsAre(2u));
  EXPECT_TRUE(Next().helping);
  states_[0].lane = Lane::kReady;
  // The helper stands by until the second best does.
  EXPECT_THAT(Next().route, ElementsAre(0u, 2u));
  EXPECT_THAT(Next().compile, ElementsAre(1u));
  EXPECT_FALSE(Next().helping);
  states_[1].lane = Lane::kReady;
  EXPECT_THAT(Next().route, ElementsAre(0u, 1u));
  EXPECT_THAT(Next().release, ElementsAre(2u));
}

TEST_F(DecideTest, WithoutStandbyOnlyTheServingOneStays) {
  plan_.standby = false;
  states_[0].lane = states_[1].lane = states_[2].lane = Lane::kReady;
  EXPECT_THAT(Next().route, ElementsAre(0u));
  EXPECT_THAT(Next().release, ElementsAre(1u, 2u));
}

TEST_F(DecideTest, ALostDeviceIsLeftForTheNextAndComesHomeWhenItIsCompiledAgain) {
  states_[0] = {Lane::kNone, false};
  states_[1].lane = Lane::kReady;
  EXPECT_THAT(Next().route, ElementsAre(1u));
  EXPECT_THAT(Next().compile, ElementsAre(2u)) << "the next one stands by";
  states_[2].lane = Lane::kReady;
  EXPECT_THAT(Next().route, ElementsAre(1u, 2u));
  states_[0].usable = true;
  EXPECT_THAT(Next().compile, ElementsAre(0u));
  EXPECT_THAT(Next().route, ElementsAre(1u, 2u)) << "until it is ready";
  states_[0].lane = Lane::kReady;
  EXPECT_THAT(Next().route, ElementsAre(0u, 1u));
  EXPECT_THAT(Next().release, ElementsAre(2u));
}

TEST_F(DecideTest, ACandidateThatFailsToLoadIsPassedOver) {
  states_[0].lane = Lane::kFailed;
  EXPECT_THAT(Next().compile, ElementsAre(1u, 2u));
  states_[1].lane = states_[2].lane = Lane::kFailed;
  EXPECT_TRUE(Next().hopeless);
}

TEST_F(DecideTest, NothingIsLeftWhenAllDevicesAreLost) {
  for (CandidateState& state : states_) state.usable = false;
  EXPECT_TRUE(Next().hopeless);
  EXPECT_THAT(Next().compile, IsEmpty());
  states_[2] = {Lane::kCompiling, true};
  EXPECT_FALSE(Next().hopeless) << "calls wait for it";
}

// The states of the candidates GPU.0, GPU.1, NPU, CPU of MULTI:GPU.0,GPU.1 with fallback_devices NPU, CPU.
class DecideAllTest : public testing::Test {
 protected:
  static ModelSettings Settings() {
    ModelSettings settings = On("MULTI:GPU.0,GPU.1");
    settings.fallback_devices = {"NPU", "CPU"};
    return settings;
  }
  PlacementDecision Next() { return Decide(plan_, states_); }

  PlacementPlan plan_ = Plan(Settings());
  std::vector<CandidateState> states_{4};
};

TEST_F(DecideAllTest, AllServeAtOnceAndTheFirstFallbackStandsBy) {
  EXPECT_THAT(Next().compile, ElementsAre(0u, 1u));
  states_[0].lane = Lane::kReady;
  states_[1].lane = Lane::kCompiling;
  EXPECT_THAT(Next().route, ElementsAre(0u));
  EXPECT_EQ(Next().standby, 0u);
  EXPECT_THAT(Next().compile, ElementsAre(2u));
  states_[1].lane = states_[2].lane = Lane::kReady;
  EXPECT_THAT(Next().route, ElementsAre(0u, 1u, 2u));
  EXPECT_EQ(Next().standby, 1u);
  EXPECT_THAT(Next().compile, IsEmpty());
  EXPECT_FALSE(Next().helping);
  states_[0] = {Lane::kNone, false};
  EXPECT_THAT(Next().route, ElementsAre(1u, 2u)) << "one is left";
  EXPECT_EQ(Next().standby, 1u);
}

TEST_F(DecideAllTest, WithoutStandbyTheFallbackIsCompiledWhenNoneServes) {
  plan_.standby = false;
  states_[0].lane = Lane::kReady;
  states_[1] = {Lane::kNone, false};
  EXPECT_THAT(Next().compile, IsEmpty());
  states_[0] = {Lane::kNone, false};
  EXPECT_THAT(Next().compile, ElementsAre(2u));
  states_[2].lane = Lane::kReady;
  EXPECT_THAT(Next().route, ElementsAre(2u));
  EXPECT_EQ(Next().standby, 0u);
}

TEST_F(DecideAllTest, TheFallbackServesUntilOneIsHomeAgain) {
  states_[0] = states_[1] = {Lane::kNone, false};
  states_[2].lane = states_[3].lane = Lane::kReady;
  EXPECT_THAT(Next().route, ElementsAre(2u, 3u));
  EXPECT_EQ(Next().standby, 1u) << "fallbacks do not share";
  states_[0].usable = true;
  EXPECT_THAT(Next().compile, ElementsAre(0u));
  for (const Lane lane : {Lane::kNone, Lane::kCompiling}) {
    states_[0].lane = lane;
    EXPECT_THAT(Next().route, ElementsAre(2u, 3u));
    EXPECT_THAT(Next().release, IsEmpty());
    EXPECT_TRUE(Next().helping);
    EXPECT_FALSE(Next().hopeless);
  }
  states_[0].lane = Lane::kReady;
  EXPECT_THAT(Next().route, ElementsAre(0u, 2u));
  EXPECT_EQ(Next().standby, 1u);
  EXPECT_THAT(Next().release, ElementsAre(3u));
}

}  // namespace
}  // namespace switchyard
