#include "serving/version.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "serving/executor.h"

namespace switchyard {
namespace {

TEST(VersionSlot, DrainsOnceWhenTheLastUserGoes) {
  int drained = 0;
  auto slot = std::make_shared<VersionSlot>(nullptr, [&](VersionSlot&) { ++drained; });
  ASSERT_TRUE(slot->Acquire());
  {
    const Handle handle(slot);
    slot->Close();
    EXPECT_FALSE(slot->Acquire());
    EXPECT_EQ(drained, 0);
  }
  EXPECT_EQ(drained, 1);
  EXPECT_FALSE(slot->Acquire());
  EXPECT_EQ(drained, 1);
}

TEST(VersionSlot, AnUnusedSlotDrainsOnClose) {
  int drained = 0;
  VersionSlot slot(nullptr, [&](VersionSlot&) { ++drained; });
  slot.Close();
  EXPECT_EQ(drained, 1);
}

TEST(VersionSlot, ManyThreadsAndOneClose) {
  std::atomic<int> drained{0};
  auto slot = std::make_shared<VersionSlot>(nullptr, [&](VersionSlot&) { ++drained; });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      while (slot->Acquire()) {
        EXPECT_EQ(drained.load(), 0);
        const Handle handle(slot);
      }
    });
  }
  slot->Close();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(drained.load(), 1);
}

}  // namespace
}  // namespace switchyard
