#include "tools/latency.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(Percentile, IsTheNearestRank) {
  const std::vector<double> ten = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  EXPECT_EQ(Percentile(ten, 0), 1);
  EXPECT_EQ(Percentile(ten, 50), 5);
  EXPECT_EQ(Percentile(ten, 90), 9);
  EXPECT_EQ(Percentile(ten, 99), 10);
  EXPECT_EQ(Percentile(ten, 100), 10);
  EXPECT_EQ(Percentile({7}, 50), 7);
  EXPECT_EQ(Percentile({}, 50), 0);
}

TEST(Summarize, CountsSuccessesAndErrors) {
  const LatencySummary summary = Summarize({3, 1, 2}, 1, std::chrono::duration<double>(0.5));
  EXPECT_EQ(summary.calls, 3u);
  EXPECT_EQ(summary.errors, 1u);
  EXPECT_DOUBLE_EQ(summary.per_second, 6);
  EXPECT_EQ(summary.min, 1);
  EXPECT_EQ(summary.mean, 2);
  EXPECT_EQ(summary.p50, 2);
  EXPECT_EQ(summary.max, 3);
  EXPECT_NE(ToText(summary).find("4 calls, 1 errors, 6.0 per second"), std::string::npos);
  EXPECT_NE(ToJson(summary).find("\"calls\":4,\"errors\":1"), std::string::npos);
}

TEST(Summarize, NothingSucceeded) {
  const LatencySummary summary = Summarize({}, 2, std::chrono::duration<double>(1));
  EXPECT_EQ(summary.calls, 0u);
  EXPECT_EQ(summary.errors, 2u);
  EXPECT_EQ(summary.max, 0);
}

}  // namespace
}  // namespace switchyard
