#include "base/subprocess.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <thread>

namespace switchyard {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr milliseconds kLong{20000};

StatusOr<SubprocessResult> Shell(const std::string& script, const std::string& input = "", milliseconds limit = kLong) {
  return RunSubprocess({"/bin/sh", "-c", script}, input, limit);
}

TEST(SubprocessTest, GivesInputAndTakesBothOutputs) {
  const auto result = Shell("read line; echo \"got $line\"; echo problem >&2; exit 3", "hello\n");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->out, "got hello\n");
  EXPECT_EQ(result->err, "problem\n");
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_EQ(result->signal, 0);
  EXPECT_EQ(result->How(), "exit code 3");
}

TEST(SubprocessTest, MuchInputAndOutputAtOnceDoNotBlockEachOther) {
  const std::string input(700000, 'x');
  const auto result = Shell("cat", input);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->exit_code, 0);
  EXPECT_EQ(result->out, input);
}

TEST(SubprocessTest, TheEndOfLongOutputIsKept) {
  const auto result = Shell("head -c 5000000 /dev/zero | tr '\\0' a; echo end; head -c 3000000 /dev/zero | tr '\\0' b >&2");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->out.size(), size_t{1} << 20);
  EXPECT_TRUE(result->out.ends_with("aend\n"));
  EXPECT_EQ(result->err, std::string(size_t{1} << 20, 'b'));
}

TEST(SubprocessTest, InputThatNobodyReadsIsNoFault) {
  const auto result = Shell("exec <&-; exit 0", std::string(4000000, 'x'));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->exit_code, 0);
}

TEST(SubprocessTest, TheSignalIsNamed) {
  const auto result = Shell("kill -ABRT $$");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->signal, SIGABRT);
  EXPECT_EQ(result->exit_code, -1);
  EXPECT_EQ(result->How(), "signal 6 (Aborted)");
}

TEST(SubprocessTest, TheTimeLimitEndsItAndItsChildren) {
  const auto result = Shell("echo started; sleep 60; echo late", "", milliseconds(1500));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->timed_out);
  EXPECT_EQ(result->out, "started\n");
  EXPECT_EQ(result->How(), "no answer within 1.5 s");
}

TEST(SubprocessTest, WhoCancelsEndsItAndItsChildren) {
  const std::string script = "sleep 60 & echo $! > $0.new; mv $0.new $0; wait";
  const std::string file = fmt::format("{}/subprocess_test_{}", testing::TempDir(), getpid());
  std::atomic<bool> cancelled{false};
  std::thread later([&] {
    for (int i = 0; i < 1000 && access(file.c_str(), F_OK) != 0; ++i) std::this_thread::sleep_for(milliseconds(10));
    cancelled.store(true);
  });
  const auto result = RunSubprocess({"/bin/sh", "-c", script, file}, "", kLong, &cancelled);
  later.join();
  EXPECT_EQ(result.status().code(), StatusCode::kCancelled);
  pid_t grandchild = 0;
  ASSERT_TRUE(std::ifstream(file) >> grandchild);
  std::remove(file.c_str());
  // Until whoever inherits it has taken notice, it is there as a zombie.
  char state = ' ';
  for (int i = 0; i < 200 && kill(grandchild, 0) == 0 && state != 'Z'; ++i) {
    std::ifstream stat("/proc/" + std::to_string(grandchild) + "/stat");
    std::string pid, name;
    stat >> pid >> name >> state;
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_TRUE(state == 'Z' || kill(grandchild, 0) != 0) << "it still runs";
}

TEST(SubprocessTest, ClosedStreamsAreNotItsEnd) {
  const auto lives_on = Shell("exec >&- 2>&-; sleep 60", "", milliseconds(300));
  ASSERT_TRUE(lives_on.ok()) << lives_on.status();
  EXPECT_TRUE(lives_on->timed_out);
  const auto ends = Shell("exec >&- 2>&-; sleep 0.1; exit 7");
  ASSERT_TRUE(ends.ok()) << ends.status();
  EXPECT_EQ(ends->exit_code, 7);
}

TEST(SubprocessTest, AGrandchildThatHoldsTheStreamsIsNotWaitedFor) {
  const auto result = Shell("sleep 3 & echo $!");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->exit_code, 0);
  EXPECT_EQ(kill(std::stoi(result->out), SIGKILL), 0) << "it still ran";
}

TEST(SubprocessTest, InheritsNoDescriptorsAndNoSignalSettings) {
  const int open_one = open("/dev/null", O_RDONLY);
  ASSERT_GE(open_one, 0);
  const auto old = signal(SIGPIPE, SIG_IGN);
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const auto result = RunSubprocess({"/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"}, "", kLong);
  const auto listing = RunSubprocess({"/bin/ls", "/proc/self/fd"}, "", kLong);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  signal(SIGPIPE, old);
  close(open_one);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->out, ::testing::AllOf(HasSubstr("SigBlk"), HasSubstr("SigIgn")));
  std::istringstream lines(result->out);
  for (std::string name, mask; lines >> name >> mask;) {
    // Signals 32 and 33 are the C library's own.
    EXPECT_EQ(std::stoull(mask, nullptr, 16) & 0x7fffffff, 0u) << result->out;
  }
  ASSERT_TRUE(listing.ok()) << listing.status();
  EXPECT_EQ(listing->out, "0\n1\n2\n3\n") << "3 is ls's own, for the folder";
}

TEST(SubprocessTest, AMissingProgramIsAnError) {
  EXPECT_THAT(Message(RunSubprocess({"/nowhere/program"}, "", kLong).status()),
              ::testing::AllOf(HasSubstr("/nowhere/program"), HasSubstr("No such file")));
  EXPECT_FALSE(RunSubprocess({}, "", kLong).ok());
}

TEST(SubprocessTest, OwnExecutableIsThisProgram) { EXPECT_THAT(OwnExecutable(), ::testing::EndsWith("base_test")); }

}  // namespace
}  // namespace switchyard
