#include "tools/tune/candidates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace switchyard::tune {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;

Inventory Devices() {
  return {{.name = "CPU", .type = DeviceInfo::Type::kCpu, .capabilities = {"FP32", "INT8", "BF16"}},
          {.name = "GPU.0", .type = DeviceInfo::Type::kDiscreteGpu, .capabilities = {"FP32", "FP16"}},
          {.name = "NPU", .type = DeviceInfo::Type::kNpu, .capabilities = {"FP16"}}};
}

std::vector<std::string> Labels(const std::string& target, Objective objective, size_t cores = 8) {
  ModelSettings base;
  base.target_device = target;
  std::vector<std::string> labels;
  for (const Candidate& one : MakeCandidates(base, Devices(), {objective, cores})) labels.push_back(one.label);
  EXPECT_EQ(labels.front(), "default");
  EXPECT_EQ(std::set<std::string>(labels.begin(), labels.end()).size(), labels.size());
  return labels;
}

TEST(Candidates, WithoutATargetEveryDeviceIsTried) {
  EXPECT_THAT(Labels("", Objective::kThroughput),
              IsSupersetOf({"GPU.0 THROUGHPUT f16", "GPU.0 THROUGHPUT f32", "CPU THROUGHPUT f32", "CPU LATENCY bf16",
                            "CPU streams 8 bf16", "NPU THROUGHPUT", "BATCH:CPU(4)"}));
}

TEST(Candidates, ATargetIsKept) {
  EXPECT_THAT(Labels("CPU", Objective::kThroughput), Not(Contains(HasSubstr("GPU"))));
  EXPECT_THAT(Labels("AUTO:GPU,CPU", Objective::kThroughput),
              IsSupersetOf({"AUTO:GPU,CPU LATENCY", "AUTO:GPU,CPU CUMULATIVE_THROUGHPUT"}));
}

TEST(Candidates, LatencyNeedsNoStreamsAndNoBatches) {
  const auto labels = Labels("CPU", Objective::kLatency);
  EXPECT_THAT(labels, Not(Contains(HasSubstr("BATCH"))));
  EXPECT_THAT(labels, Not(Contains(HasSubstr("streams"))));
  EXPECT_THAT(labels, Contains("CPU LATENCY threads 4 f32"));
}

TEST(Candidates, WhatTheUserSetStays) {
  ModelSettings base;
  base.target_device = "CPU";
  base.plugin_config["INFERENCE_PRECISION_HINT"] = PropertyValue{std::string("f32")};
  for (const Candidate& one : MakeCandidates(base, Devices(), {Objective::kThroughput, 4})) {
    EXPECT_EQ(one.settings.plugin_config.at("INFERENCE_PRECISION_HINT"), PropertyValue{std::string("f32")}) << one.label;
  }
}

TEST(Candidates, AreWhatTheirNamesSay) {
  const auto labels = [](const std::string& key, const std::string& value) {
    ModelSettings base;
    base.target_device = "CPU";
    base.plugin_config[key] = PropertyValue{value};
    std::vector<std::string> labels;
    for (const Candidate& one : MakeCandidates(base, Devices(), {Objective::kThroughput, 4})) labels.push_back(one.label);
    return labels;
  };
  const auto hint = labels("PERFORMANCE_HINT", "LATENCY");
  EXPECT_THAT(hint, Contains("CPU LATENCY f32"));
  EXPECT_THAT(hint, Not(Contains(HasSubstr("THROUGHPUT"))));
  EXPECT_THAT(hint, Not(Contains(HasSubstr("streams")))) << "they would take the hint's place";
  EXPECT_THAT(labels("NUM_STREAMS", "2"), Not(Contains(HasSubstr("LATENCY"))));
  const auto precision = labels("INFERENCE_PRECISION_HINT", "FP32");
  EXPECT_THAT(precision, Contains("CPU THROUGHPUT f32"));
  EXPECT_THAT(precision, Not(Contains(HasSubstr("bf16"))));
}

TEST(Candidates, CallsAreJoinedUnlessTheUserSaidHow) {
  EXPECT_THAT(Labels("CPU", Objective::kThroughput), IsSupersetOf({"CPU dynamic_batching 16", "CPU dynamic_batching 16 f32"}));
  ModelSettings base;
  base.target_device = "CPU";
  base.batch_auto = true;
  for (const Candidate& one : MakeCandidates(base, Devices(), {Objective::kThroughput, 4})) {
    EXPECT_FALSE(one.settings.dynamic_batching.has_value()) << one.label;
  }
  base.batch_auto = false;
  base.dynamic_batching = DynamicBatching{.max_batch_size = 8, .max_delay_us = 1000};
  for (const Candidate& one : MakeCandidates(base, Devices(), {Objective::kThroughput, 4})) {
    EXPECT_EQ(one.settings.dynamic_batching, base.dynamic_batching) << one.label;
    EXPECT_THAT(one.settings.target_device, Not(HasSubstr("BATCH")));
  }
}

TEST(Candidates, NeighboursOfJoinedCallsHaveOtherDelaysAndSizes) {
  Candidate one{"CPU", {}, ""};
  one.settings.dynamic_batching = DynamicBatching{.max_batch_size = 8, .max_delay_us = 1000};
  std::vector<std::string> labels;
  for (const Candidate& other : Neighbours(one, 8, Objective::kGoodput)) labels.push_back(other.label);
  EXPECT_THAT(labels,
              ::testing::ElementsAre("CPU delay 0 us", "CPU delay 5000 us", "CPU max_batch_size 16", "CPU max_batch_size 4"));
}

TEST(Candidates, NeighboursHaveMoreAndFewerRequests) {
  Candidate one{"CPU THROUGHPUT f32", {}, ""};
  one.settings.target_device = "CPU";
  const auto neighbours = Neighbours(one, 4, Objective::kThroughput);
  ASSERT_EQ(neighbours.size(), 2u);
  EXPECT_EQ(neighbours[0].settings.nireq, 8u);
  EXPECT_EQ(neighbours[1].settings.nireq, 2u);
  EXPECT_THAT(Neighbours(one, 4, Objective::kLatency), IsEmpty());
}

}  // namespace
}  // namespace switchyard::tune
