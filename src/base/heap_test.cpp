#include "base/heap.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <memory>

namespace switchyard {
namespace {

bool IsMapped(size_t bytes) {
  const auto before = mallinfo2().hblks;
  void* const block = std::malloc(bytes);
  *static_cast<volatile char*>(block) = 1;  // or the compiler leaves both out
  const bool mapped = mallinfo2().hblks > before;
  std::free(block);
  return mapped;
}

TEST(HeapTest, WhatAModelIsMadeOfIsMappedAndWhatRequestsNeedIsKept) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer's allocator has no such settings";
#endif
  constexpr size_t kBytes = 4 << 20;
  malloc_trim(0);  // a block for which memory was kept is no mapping
  KeepFreedMemory();
  auto one = std::make_unique<LongLivedBlocks>();
  EXPECT_TRUE(IsMapped(kBytes));
  auto other = std::make_unique<LongLivedBlocks>();
  one.reset();
  EXPECT_TRUE(IsMapped(kBytes));
  other.reset();
  EXPECT_FALSE(IsMapped(kBytes));
}

}  // namespace
}  // namespace switchyard
