#include "base/published.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace switchyard {
namespace {

TEST(PublishedTest, EveryThreadSeesTheLastOne) {
  Published<std::string> value;
  value.Publish(std::make_shared<const std::string>("one"));
  EXPECT_EQ(value.Current(), "one");
  std::thread([&] {
    EXPECT_EQ(value.Current(), "one");
    value.Publish(std::make_shared<const std::string>("two"));
    EXPECT_EQ(value.Current(), "two");
  }).join();
  EXPECT_EQ(value.Current(), "two");
  EXPECT_EQ(*value.Latest(), "two");
}

TEST(PublishedTest, OneIsNotTakenForAnotherOfItsType) {
  for (int i = 0; i < 3; ++i) {
    Published<int> first, second;
    first.Publish(std::make_shared<const int>(i));
    second.Publish(std::make_shared<const int>(-i - 1));
    EXPECT_EQ(first.Current(), i);
    EXPECT_EQ(second.Current(), -i - 1);
    EXPECT_EQ(first.Current(), i);
  }
}

TEST(PublishedTest, ReadersSeeWholeValuesInOrder) {
  Published<std::vector<int>> value;
  value.Publish(std::make_shared<const std::vector<int>>(8, 0));
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      for (int seen = 0; seen < 1000;) {
        const std::vector<int>& now = value.Current();
        EXPECT_GE(now.front(), seen);
        EXPECT_EQ(now, std::vector<int>(8, now.front()));
        seen = now.front();
      }
    });
  }
  for (int i = 1; i <= 1000; ++i) value.Publish(std::make_shared<const std::vector<int>>(8, i));
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace switchyard
