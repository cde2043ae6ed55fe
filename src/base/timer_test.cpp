#include "base/timer.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/mutex.h"

namespace switchyard {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST(ManualTimer, RunsWhatIsDueInOrderOfTime) {
  ManualTimer timer;
  std::vector<int> order;
  timer.Schedule(timer.Now() + milliseconds(20), [&] { order.push_back(2); });
  timer.Schedule(timer.Now() + milliseconds(10), [&] { order.push_back(1); });
  const auto cancelled = timer.Schedule(timer.Now() + milliseconds(15), [&] { order.push_back(9); });
  EXPECT_TRUE(timer.Cancel(cancelled));
  EXPECT_FALSE(timer.Cancel(cancelled));
  timer.Advance(milliseconds(10));
  EXPECT_EQ(order, std::vector<int>({1}));
  timer.Advance(milliseconds(10));
  EXPECT_EQ(order, std::vector<int>({1, 2}));
  EXPECT_EQ(timer.pending(), 0u);
}

TEST(ThreadTimer, AnEarlierEntryOvertakesALaterOne) {
  ThreadTimer timer;
  Notification fired;
  timer.Schedule(timer.Now() + hours(1), [] { FAIL(); });
  timer.Schedule(timer.Now() + milliseconds(1), [&] { fired.Notify(); });
  fired.WaitForNotification();
}

TEST(ThreadTimer, ACallbackMaySchedule) {
  ThreadTimer timer;
  Notification fired;
  timer.Schedule(timer.Now(), [&] { timer.Schedule(timer.Now(), [&] { fired.Notify(); }); });
  fired.WaitForNotification();
}

TEST(ThreadTimer, DestructionDropsWhatIsScheduled) {
  auto owned = std::make_shared<int>(1);
  {
    ThreadTimer timer;
    timer.Schedule(timer.Now() + hours(1), [owned] {});
    EXPECT_EQ(owned.use_count(), 2);
  }
  EXPECT_EQ(owned.use_count(), 1);
}

}  // namespace
}  // namespace switchyard
