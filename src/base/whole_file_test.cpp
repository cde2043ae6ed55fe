#include "base/whole_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include "base/test_folder.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class WholeFileTest : public ::testing::Test {
 protected:
  std::string Content() const {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::set<std::string> Names() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) names.insert(entry.path().filename().string());
    return names;
  }
  mode_t Mode() const {
    struct stat status {};
    EXPECT_EQ(stat(path_.c_str(), &status), 0);
    return status.st_mode & 07777;
  }

  const TestFolder temporary_;
  const fs::path folder_ = temporary_.path();
  std::string path_ = (folder_ / "file.json").string();
};

TEST_F(WholeFileTest, TakesThePlaceOfWhatWasThere) {
  EXPECT_EQ(WriteWholeFile(path_, "first"), 0);
  EXPECT_EQ(Content(), "first");
  EXPECT_EQ(WriteWholeFile(path_, "", {.sync = true}), 0);
  EXPECT_EQ(Content(), "");
  EXPECT_THAT(Names(), ElementsAre("file.json"));
}

TEST_F(WholeFileTest, NobodyReadsHalfOfIt) {
  const std::string texts[] = {std::string(100000, 'a'), std::string(70000, 'b')};
  ASSERT_EQ(WriteWholeFile(path_, texts[0]), 0);
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; i < 200; ++i) EXPECT_EQ(WriteWholeFile(path_, texts[i % 2]), 0);
    done.store(true);
  });
  while (!done.load()) {
    const std::string seen = Content();
    EXPECT_TRUE(seen == texts[0] || seen == texts[1]) << seen.size() << " bytes";
  }
  writer.join();
}

TEST_F(WholeFileTest, TheModeIsKeptWhereThatIsAsked) {
  const mode_t mask = umask(027);
  EXPECT_EQ(WriteWholeFile(path_, "x", {.keep_mode = true}), 0);
  EXPECT_EQ(Mode(), 0640u);
  ASSERT_EQ(chmod(path_.c_str(), 0604), 0);
  EXPECT_EQ(WriteWholeFile(path_, "x", {.keep_mode = true}), 0);
  EXPECT_EQ(Mode(), 0604u);
  EXPECT_EQ(WriteWholeFile(path_, "x"), 0);
  EXPECT_EQ(Mode(), 0640u);
  umask(mask);
}

TEST_F(WholeFileTest, AFaultLeavesWhatWasThere) {
  ASSERT_EQ(WriteWholeFile(path_, "good"), 0);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 4096, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const int error = WriteWholeFile(path_, std::string(10000, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old);
  EXPECT_EQ(error, EFBIG);
  EXPECT_EQ(Content(), "good");
  EXPECT_THAT(Names(), ElementsAre("file.json"));
}

TEST_F(WholeFileTest, AFolderThatIsNotThereIsTold) {
  EXPECT_EQ(WriteWholeFile((folder_ / "none" / "file").string(), "x"), ENOENT);
  EXPECT_EQ(TryWholeFile((folder_ / "none" / "file").string()), ENOENT);
  fs::create_directory(path_);
  EXPECT_EQ(WriteWholeFile(path_, "x"), EISDIR);
  EXPECT_THAT(Names(), ElementsAre("file.json"));
}

TEST_F(WholeFileTest, TryingLeavesNothing) {
  EXPECT_EQ(TryWholeFile(path_), 0);
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(WholeFileTest, TheOpenFileIsTheOneThatIsThere) {
  int descriptor = -1;
  ASSERT_EQ(WriteWholeFile(path_, "x", {.descriptor = &descriptor}), 0);
  struct stat ours {
  }, there{};
  ASSERT_EQ(fstat(descriptor, &ours), 0);
  ASSERT_EQ(stat(path_.c_str(), &there), 0);
  EXPECT_EQ(ours.st_ino, there.st_ino);
  close(descriptor);
}

TEST_F(WholeFileTest, ALongNameHasRoom) {
  path_ = (folder_ / std::string(255, 'n')).string();
  EXPECT_EQ(WriteWholeFile(path_, "x"), 0);
  EXPECT_EQ(Content(), "x");
}

}  // namespace
}  // namespace switchyard
