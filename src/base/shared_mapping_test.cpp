#include "base/shared_mapping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>
#include <vector>

#include "base/test_shared_object.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

constexpr size_t kPage = 4096;

Status OpenStatus(std::string_view key, uint64_t offset, uint64_t size) {
  return SharedMapping::Open(key, offset, size).status();
}

TEST(SharedMappingTest, IsTheMemoryOfTheObject) {
  const TestSharedObject object(2 * kPage);
  for (const uint64_t offset : {uint64_t{0}, uint64_t{8}, uint64_t{kPage}, uint64_t{kPage + 100}}) {
    const auto mapping = SharedMapping::Open(object.key(), offset, 40);
    ASSERT_TRUE(mapping.ok()) << mapping.status();
    EXPECT_EQ((*mapping)->size(), 40u);
    const uint64_t value = 7 + offset;
    std::memcpy(object.data() + offset, &value, sizeof(value));
    EXPECT_EQ(std::memcmp((*mapping)->data(), object.data() + offset, 40), 0);
    (*mapping)->data()[39] = std::byte{5};
    EXPECT_EQ(object.data()[offset + 39], std::byte{5});
    EXPECT_FALSE((*mapping)->damaged());
  }
  EXPECT_FALSE(object.MappedElsewhere());
  // Without the slash too, and after the name is gone.
  const auto mapping = SharedMapping::Open(object.key().substr(1), 0, 2 * kPage);
  ASSERT_TRUE(mapping.ok());
  EXPECT_TRUE(object.MappedElsewhere());
}

TEST(SharedMappingTest, KeysThatCanBeNone) {
  for (const std::string key : {"", "/", "//x", "/../etc/passwd", "../x", "..", ".", "/.", "/..", "/a/b", "a/../../x", "/x/"}) {
    const Status status = OpenStatus(key, 0, 8);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << key;
    EXPECT_THAT(std::string(status.message()), HasSubstr("Invalid key")) << key;
  }
  EXPECT_EQ(OpenStatus(std::string_view("/a\0b", 4), 0, 8).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenStatus(std::string(100000, 'x'), 0, 8).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenStatus("/switchyard_test_not_there", 0, 8).code(), StatusCode::kNotFound);
}

TEST(SharedMappingTest, BoundsAreTheObjects) {
  const TestSharedObject object(1000);
  EXPECT_TRUE(OpenStatus(object.key(), 0, 1000).ok());
  EXPECT_TRUE(OpenStatus(object.key(), 999, 1).ok());
  for (const auto& [offset, size] : std::vector<std::pair<uint64_t, uint64_t>>{{0, 0},
                                                                               {0, 1001},
                                                                               {1, 1000},
                                                                               {1000, 1},
                                                                               {~uint64_t{0}, 1},
                                                                               {1, ~uint64_t{0}},
                                                                               {~uint64_t{0}, ~uint64_t{0}},
                                                                               {8, ~uint64_t{0} - 7}}) {
    EXPECT_EQ(OpenStatus(object.key(), offset, size).code(), StatusCode::kInvalidArgument) << offset << " " << size;
  }
  EXPECT_THAT(std::string(OpenStatus(object.key(), 8, 1000).message()), HasSubstr("within the 1000 bytes of the object"));
}

TEST(SharedMappingTest, WhatIsNoObjectOrNotOurs) {
  const TestSharedObject object(100);
  const std::string fifo = "/dev/shm" + object.key() + "_fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(std::string(OpenStatus(object.key() + "_fifo", 0, 8).message()), HasSubstr("no shared memory object"));
  unlink(fifo.c_str());
  const std::string link = "/dev/shm" + object.key() + "_link";
  ASSERT_EQ(symlink("/etc/passwd", link.c_str()), 0);
  EXPECT_FALSE(OpenStatus(object.key() + "_link", 0, 8).ok());
  unlink(link.c_str());
  if (geteuid() == 0) return;  // may read everything
  object.SetMode(0400);
  EXPECT_EQ(OpenStatus(object.key(), 0, 8).code(), StatusCode::kPermissionDenied);
}

TEST(SharedMappingTest, AnObjectThatIsMadeSmallerDamagesItsMappingAlone) {
  const TestSharedObject object(8 * kPage);
  const TestSharedObject other(8 * kPage);
  std::memset(object.data(), 1, 8 * kPage);
  const auto whole = *SharedMapping::Open(object.key(), 0, 8 * kPage);
  const auto begin = *SharedMapping::Open(object.key(), 0, kPage);
  const auto untouched = *SharedMapping::Open(other.key(), 0, 8 * kPage);
  object.Truncate(2 * kPage + 100);
  EXPECT_EQ(whole->data()[2 * kPage - 1], std::byte{1});
  EXPECT_FALSE(whole->damaged());
  EXPECT_EQ(whole->data()[3 * kPage + 5], std::byte{0});
  EXPECT_TRUE(whole->damaged());
  // What follows is ours now; what comes before is shared still.
  whole->data()[8 * kPage - 1] = std::byte{9};
  whole->data()[0] = std::byte{3};
  EXPECT_EQ(object.data()[0], std::byte{3});
  EXPECT_FALSE(begin->damaged());
  EXPECT_FALSE(untouched->damaged());
  object.Truncate(8 * kPage);
  const auto again = *SharedMapping::Open(object.key(), 0, 8 * kPage);
  EXPECT_EQ(again->data()[8 * kPage - 1], std::byte{0});
  EXPECT_FALSE(again->damaged());
}

TEST(SharedMappingTest, ManyThreadsMayFaultAtOnce) {
  const TestSharedObject object(64 * kPage);
  const auto mapping = *SharedMapping::Open(object.key(), 0, 64 * kPage);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      unsigned sum = 0;
      for (size_t at = i; !stop.load(); at = (at + 513) % (64 * kPage)) {
        sum += static_cast<volatile unsigned char*>(static_cast<void*>(mapping->data()))[at];
      }
      EXPECT_EQ(sum, 0u);
    });
  }
  object.Truncate(0);
  while (!mapping->damaged()) std::this_thread::yield();
  // Others come and go beside it.
  for (int i = 0; i < 200; ++i) {
    const TestSharedObject more(kPage);
    const auto one = *SharedMapping::Open(more.key(), 0, kPage);
    EXPECT_FALSE(one->damaged());
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST(SharedMappingTest, ThereAreOnlySoMany) {
  const TestSharedObject object(kPage);
  std::vector<std::unique_ptr<SharedMapping>> mappings;
  for (size_t i = 0; i < SharedMapping::kMost; ++i) mappings.push_back(*SharedMapping::Open(object.key(), 0, 8));
  EXPECT_EQ(OpenStatus(object.key(), 0, 8).code(), StatusCode::kResourceExhausted);
  mappings.pop_back();
  EXPECT_TRUE(OpenStatus(object.key(), 0, 8).ok());
}

TEST(SharedMappingDeathTest, ABusErrorElsewhereEndsTheProcessAsBefore) {
  const TestSharedObject object(2 * kPage);
  const auto mapping = *SharedMapping::Open(object.key(), 0, kPage);
  object.Truncate(kPage);
  EXPECT_DEATH(object.data()[kPage] = std::byte{1}, "");
}

}  // namespace
}  // namespace switchyard
