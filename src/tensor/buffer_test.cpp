#include "tensor/buffer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

namespace switchyard {
namespace {

TEST(Buffer, IsAlignedAndSizedAtEverySize) {
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{2049}, size_t{4096}, size_t{4097}, size_t{602112}, (size_t{64} << 20) + 1}) {
    Buffer buffer = Buffer::Allocate(size);
    ASSERT_NE(buffer.data(), nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kBufferAlignment, 0u);
    EXPECT_EQ(buffer.size(), size);
    std::memset(buffer.data(), 1, size);
  }
}

TEST(Buffer, ABlockGivenBackIsTakenAgain) {
  std::byte* first = nullptr;
  {
    Buffer buffer = Buffer::Allocate(1 << 20);
    first = buffer.data();
  }
  EXPECT_EQ(Buffer::Allocate((1 << 20) - 5).data(), first);
}

TEST(Buffer, MoveAndReleaseKeepOneOwner) {
  Buffer a = Buffer::Allocate(5000);
  Buffer b = std::move(a);
  EXPECT_FALSE(a);
  const size_t size = b.size();
  std::byte* raw = b.Release();
  EXPECT_FALSE(b);
  Buffer::Free(raw, size);
}

TEST(Buffer, ThreadsNeverShareABlock) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 2000; ++i) {
        Buffer buffer = Buffer::Allocate(8192);
        std::memset(buffer.data(), t, buffer.size());
        for (size_t j = 0; j < buffer.size(); j += 512) ASSERT_EQ(buffer.data()[j], static_cast<std::byte>(t));
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace switchyard
