#include "serving/shared_regions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/test_shared_object.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

TEST(SharedRegionsTest, AreFoundByTheirNames) {
  const TestSharedObject object(4096);
  SharedRegions regions;
  ASSERT_TRUE(regions.Register({"b", object.key(), 8, 100}).ok());
  ASSERT_TRUE(regions.Register({"a", object.key(), 0, 4096}).ok());
  ASSERT_EQ(regions.List().size(), 2u);
  EXPECT_EQ(regions.List()[0].name, "a");
  const SharedRegionInfo info = regions.List()[1];
  EXPECT_EQ(info.name, "b");
  EXPECT_EQ(info.key, object.key());
  EXPECT_EQ(info.offset, 8u);
  EXPECT_EQ(info.byte_size, 100u);
  *object.As<int>(8) = 77;
  const auto region = regions.Acquire("b");
  ASSERT_TRUE(region.ok());
  EXPECT_EQ(region->size(), 100u);
  EXPECT_EQ(*reinterpret_cast<int*>(region->data()), 77);
  EXPECT_EQ(regions.Acquire("c").status().code(), StatusCode::kInvalidArgument);
}

TEST(SharedRegionsTest, ANameIsTakenUntilItIsGivenBack) {
  const TestSharedObject object(4096);
  SharedRegions regions;
  ASSERT_TRUE(regions.Register({"r", object.key(), 0, 64}).ok());
  const Status again = regions.Register({"r", object.key(), 0, 64});
  EXPECT_EQ(again.code(), StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(again.message()), HasSubstr("unregister it first"));
  regions.Unregister("r");
  regions.Unregister("r");
  EXPECT_THAT(regions.List(), IsEmpty());
  EXPECT_TRUE(regions.Register({"r", object.key(), 0, 128}).ok());
  EXPECT_EQ(regions.Acquire("r")->size(), 128u);
  EXPECT_EQ(regions.Register({"", object.key(), 0, 64}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(regions.Register({std::string(257, 'x'), object.key(), 0, 64}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(regions.Register({"s", "/../x", 0, 64}).code(), StatusCode::kInvalidArgument);
}

TEST(SharedRegionsTest, WhoeverHoldsARegionHasItsMemory) {
  const TestSharedObject object(4096);
  SharedRegions regions;
  ASSERT_TRUE(regions.Register({"r", object.key(), 0, 4096}).ok());
  {
    const RegionHandle held = *regions.Acquire("r");
    {
      const RegionHandle other = *regions.Acquire("r");
      regions.UnregisterAll();
    }
    EXPECT_TRUE(object.MappedElsewhere());
    EXPECT_FALSE(regions.Acquire("r").ok());
    held.data()[4095] = std::byte{1};
    EXPECT_EQ(object.data()[4095], std::byte{1});
  }
  EXPECT_FALSE(object.MappedElsewhere());
}

TEST(SharedRegionsTest, AnOldSnapshotOfAThreadKeepsNoMemory) {
  const TestSharedObject object(4096);
  SharedRegions regions;
  ASSERT_TRUE(regions.Register({"r", object.key(), 0, 4096}).ok());
  Notification looked, gone;
  std::thread idle([&] {
    EXPECT_TRUE(regions.Acquire("r").ok());
    looked.Notify();
    gone.WaitForNotification();
    EXPECT_FALSE(regions.Acquire("r").ok());
  });
  looked.WaitForNotification();
  regions.Unregister("r");
  EXPECT_FALSE(object.MappedElsewhere());
  gone.Notify();
  idle.join();
}

TEST(SharedRegionsTest, DamageIsTold) {
  const TestSharedObject object(4096);
  SharedRegions regions;
  ASSERT_TRUE(regions.Register({"r", object.key(), 0, 4096}).ok());
  const RegionHandle held = *regions.Acquire("r");
  object.Truncate(0);
  EXPECT_TRUE(held.Health().ok());
  held.data()[0] = std::byte{1};
  EXPECT_EQ(held.Health().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(regions.Acquire("r").status().message()), HasSubstr("region r has lost its memory"));
}

TEST(SharedRegionsTest, ComeAndGoWhileTheyAreUsed) {
  const TestSharedObject object(4096);
  SharedRegions regions;
  std::atomic<bool> stop{false};
  std::vector<std::thread> users;
  for (size_t i = 0; i < 3; ++i) {
    users.emplace_back([&, i] {
      while (!stop.load()) {
        const auto region = regions.Acquire("r");
        if (region.ok()) region->data()[8 * i] = std::byte{1};  // a place for each: what users write is not the regions' matter
      }
    });
  }
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(regions.Register({"r", object.key(), 0, 4096}).ok());
    if (i % 2 == 0) {
      regions.Unregister("r");
    } else {
      regions.UnregisterAll();
    }
  }
  stop = true;
  for (std::thread& user : users) user.join();
  EXPECT_FALSE(object.MappedElsewhere());
}

}  // namespace
}  // namespace switchyard
