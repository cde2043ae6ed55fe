#include "runtime/openvino/load_priority.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <memory>
#include <thread>

#include "base/mutex.h"

namespace switchyard {
namespace {

int NiceOf(pid_t thread) { return getpriority(PRIO_PROCESS, static_cast<id_t>(thread)); }

// A thread that lives until it is destroyed.
class Sleeper {
 public:
  Sleeper() : thread_([this] { Run(); }) {
    MutexLock lock(&mutex_);
    mutex_.Await([this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return id_ != 0; });
  }
  ~Sleeper() {
    {
      MutexLock lock(&mutex_);
      ended_ = true;
    }
    thread_.join();
  }
  int nice() {
    MutexLock lock(&mutex_);
    return NiceOf(id_);
  }

 private:
  void Run() {
    MutexLock lock(&mutex_);
    id_ = gettid();
    mutex_.Await([this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return ended_; });
  }

  Mutex mutex_;
  pid_t id_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Whether this process may raise a priority is the machine's; what is left behind is the same.
TEST(LoadPriorityTest, ThreadsThatALoadStartsAreAsOthersInTheEnd) {
  std::thread([] {
    const int before = NiceOf(gettid());
    Sleeper old;
    auto priority = std::make_unique<LoadPriority>();
    const int lowered = NiceOf(gettid());
    EXPECT_GE(lowered, before);
    EXPECT_EQ(old.nice(), before) << "what runs inferences goes on as ever";
    Sleeper fresh;
    EXPECT_EQ(fresh.nice(), lowered);
    priority.reset();
    EXPECT_EQ(NiceOf(gettid()), before);
    EXPECT_EQ(fresh.nice(), before);
    EXPECT_EQ(old.nice(), before);
  }).join();
}

TEST(LoadPriorityTest, WhoMayGoBackGivesWay) {
  bool may = false;
  bool lowered = false;
  std::thread([&] {
    const int before = NiceOf(gettid());
    {
      const LoadPriority priority;
      lowered = NiceOf(gettid()) > before;
    }
    const auto self = static_cast<id_t>(gettid());
    may = setpriority(PRIO_PROCESS, self, before + 1) == 0 && setpriority(PRIO_PROCESS, self, before) == 0;
  }).join();
  if (!may) GTEST_SKIP() << "this process may not raise a priority";
  EXPECT_TRUE(lowered);
}

}  // namespace
}  // namespace switchyard
