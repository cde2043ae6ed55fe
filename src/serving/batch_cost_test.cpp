#include "serving/batch_cost.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

using std::chrono::microseconds;

void Repeat(BatchCost& cost, size_t rows, Duration took, int times = 20) {
  for (int i = 0; i < times; ++i) cost.Record(rows, took);
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
  cost.Record(2, microseconds(90000));
  cost.Record(2, microseconds(100));
  EXPECT_EQ(*cost.Rarely(2), microseconds(150)) << "and a half, since there is but one sample to be relied on";
  EXPECT_EQ(cost.AtLeast(2), microseconds(100));
}

TEST(BatchCostTest, WhatVariesIsToldWithRoomToSpare) {
  BatchCost cost(4);
  for (int i = 0; i < 100; ++i) cost.Record(2, microseconds(i % 2 == 0 ? 100 : 300));
  EXPECT_GT(*cost.Rarely(2), microseconds(300));
  EXPECT_LT(*cost.Rarely(2), microseconds(500));
  EXPECT_GT(cost.AtLeast(2), microseconds(150));
  EXPECT_LT(cost.AtLeast(2), microseconds(250));
}

TEST(BatchCostTest, AFigureOfABadMomentIsForgottenByDoubt) {
  BatchCost cost(4);
  cost.Record(1, std::chrono::seconds(10));
  int given_up = 0;
  while (cost.AtLeast(1) > std::chrono::milliseconds(100) && given_up < 1000) {
    cost.Doubt(1);
    ++given_up;
  }
  EXPECT_LT(given_up, 300);
}

}  // namespace
}  // namespace switchyard
