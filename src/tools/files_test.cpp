#include "tools/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "base/test_folder.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

class FilesTest : public ::testing::Test {
 protected:
  const TestFolder temporary_;
  const fs::path folder_ = temporary_.path();
  const std::string path_ = (folder_ / "config.json").string();
};

TEST_F(FilesTest, WhetherAFileCanBeWrittenIsToldBefore) {
  EXPECT_TRUE(CheckWritable(path_).ok());
  EXPECT_TRUE(CheckWritable("/dev/null").ok()) << "written in place";
  EXPECT_TRUE(fs::is_empty(folder_)) << "nothing is left";
  const std::string none = (folder_ / "none" / "file").string();
  EXPECT_EQ(CheckWritable(none), WriteFile(none, "x")) << "in the same words";
  EXPECT_FALSE(CheckWritable(none).ok());
}

// A server may poll it.
TEST_F(FilesTest, WhoReadsTheOldFileIsNotDisturbed) {
  ASSERT_TRUE(WriteFile(path_, "old\n").ok());
  ASSERT_EQ(chmod(path_.c_str(), 0600), 0);
  std::ifstream reader(path_);
  ASSERT_TRUE(WriteFile(path_, "new\n").ok());
  std::string line;
  EXPECT_TRUE(std::getline(reader, line));
  EXPECT_EQ(line, "old");
  EXPECT_EQ(*ReadFile(path_), "new\n");
  struct stat status {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
}

TEST_F(FilesTest, ALinkStaysOne) {
  std::ofstream(folder_ / "real.json") << "old";
  fs::create_symlink("real.json", path_);
  ASSERT_TRUE(WriteFile(path_, "new").ok());
  EXPECT_TRUE(fs::is_symlink(path_));
  EXPECT_EQ(*ReadFile((folder_ / "real.json").string()), "new");
}

TEST_F(FilesTest, APipeIsWrittenTo) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  std::string seen;
  std::thread reader([&] { std::getline(std::ifstream(path_), seen); });
  EXPECT_TRUE(WriteFile(path_, "text\n").ok());
  reader.join();
  EXPECT_EQ(seen, "text");
  EXPECT_TRUE(fs::is_fifo(path_));
}

TEST_F(FilesTest, AFolderThatIsNotThereIsTold) {
  const Status written = WriteFile((folder_ / "none" / "file").string(), "x");
  EXPECT_EQ(written.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(Message(written)).find("name one in a folder that is there"), std::string::npos);
}

}  // namespace
}  // namespace switchyard
