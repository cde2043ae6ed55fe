#include "runtime/openvino/load_threads.h"

#include <gtest/gtest.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

namespace switchyard {
namespace {

// The most threads that worked at once on what was divided among them.
int MostAtOnce(int most) {
  std::atomic<int> now = 0;
  std::atomic<int> highest = 0;
  RunOnThreads(most, [&] {
    tbb::parallel_for(0, 64, [&](int) {
      const int here = ++now;
      for (int seen = highest; here > seen && !highest.compare_exchange_weak(seen, here);) {
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      --now;
    });
  });
  return highest;
}

TEST(LoadThreadsTest, WorkIsDividedAmongSoManyThreads) {
  EXPECT_EQ(MostAtOnce(1), 1);
  EXPECT_LE(MostAtOnce(2), 2);
}

TEST(LoadThreadsTest, WithoutALimitItIsAsEver) {
  const int before = tbb::this_task_arena::max_concurrency();
  int inside = 0;
  RunOnThreads(0, [&] { inside = tbb::this_task_arena::max_concurrency(); });
  EXPECT_EQ(inside, before);
  RunOnThreads(1, [&] { inside = tbb::this_task_arena::max_concurrency(); });
  EXPECT_EQ(inside, 1);
  EXPECT_EQ(tbb::this_task_arena::max_concurrency(), before);
}

TEST(LoadThreadsTest, WhatIsThrownComesOut) {
  EXPECT_THROW(RunOnThreads(1, [] { throw std::runtime_error("broken"); }), std::runtime_error);
}

}  // namespace
}  // namespace switchyard
