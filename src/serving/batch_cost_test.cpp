#include "serving/batch_cost.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

using std::chrono::microseconds;

const TimePoint kNow{std::chrono::hours(1)};

void Repeat(BatchCost& cost, size_t rows, Duration took, int times = 20) {
  for (int i = 0; i < times; ++i) cost.Record(rows, took, kNow);
}

TEST(BatchCostTest, KnowsNothingAtFirst) {
  const BatchCost cost(8);
  EXPECT_FALSE(cost.Rarely(1).has_value());
  EXPECT_EQ(cost.AtLeast(8), Duration::zero());
  EXPECT_TRUE(cost.Means().empty());
}

TEST(BatchCostTest, ASizeThatRanIsKnownAndOthersAreToldByTheirNeighbours) {
  BatchCost cost(16);
  Repeat(cost, 4, microseconds(400));
  EXPECT_EQ(*cost.Rarely(4), microseconds(400));
  EXPECT_EQ(*cost.Rarely(8), microseconds(800)) << "twice the rows take twice the time at most";
  EXPECT_EQ(*cost.Rarely(1), microseconds(400)) << "a smaller batch takes no longer";
  EXPECT_EQ(cost.AtLeast(8), microseconds(400)) << "a larger batch takes no less";
  EXPECT_EQ(cost.AtLeast(1), microseconds(100)) << "its share";
  Repeat(cost, 12, microseconds(600));
  EXPECT_EQ(*cost.Rarely(8), microseconds(500));
  EXPECT_EQ(cost.Means().size(), 2u);
}

TEST(BatchCostTest, TheFirstInferenceOfASizeDoesNotCountForLong) {
  BatchCost cost(4);
  cost.Record(2, microseconds(90000), kNow);
  cost.Record(2, microseconds(100), kNow);
  EXPECT_EQ(*cost.Rarely(2), microseconds(150)) << "and a half, since there is but one sample to be relied on";
  EXPECT_EQ(cost.AtLeast(2), microseconds(100));
}

TEST(BatchCostTest, WhatVariesIsToldWithRoomToSpare) {
  BatchCost cost(4);
  for (int i = 0; i < 100; ++i) cost.Record(2, microseconds(i % 2 == 0 ? 100 : 300), kNow);
  EXPECT_GT(*cost.Rarely(2), microseconds(300));
  EXPECT_LT(*cost.Rarely(2), microseconds(500));
  EXPECT_GT(cost.AtLeast(2), microseconds(150));
  EXPECT_LT(cost.AtLeast(2), microseconds(250));
}

TEST(BatchCostTest, ASmallerBatchTakesNoMoreThanALargerOneDid) {
  BatchCost cost(4);
  cost.Record(1, std::chrono::seconds(10), kNow);
  Repeat(cost, 4, microseconds(500));
  EXPECT_EQ(cost.AtLeast(1), microseconds(500));
}

TEST(BatchCostTest, AFigureOfABadMomentIsForgottenByDoubt) {
  BatchCost cost(4);
  cost.Record(1, std::chrono::seconds(10), kNow);
  TimePoint now = kNow;
  while (cost.AtLeast(1) > std::chrono::milliseconds(100) && now < kNow + std::chrono::hours(1)) {
    now += std::chrono::milliseconds(10);
    cost.Doubt(now);
  }
  EXPECT_LT(now - kNow, std::chrono::seconds(60));
}

TEST(BatchCostTest, NothingIsDoubtedWhileInferencesRun) {
  BatchCost cost(4);
  TimePoint now = kNow;
  for (int i = 0; i < 100; ++i) {
    now += std::chrono::milliseconds(20);
    cost.Record(4, std::chrono::milliseconds(20), now);
    for (int k = 0; k < 50; ++k) cost.Doubt(now + std::chrono::milliseconds(k % 20));
  }
  EXPECT_EQ(cost.AtLeast(4), std::chrono::milliseconds(20));
}

}  // namespace
}  // namespace switchyard
