#include "server/ready_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/test_folder.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ReadyFileTest : public ::testing::Test {
 protected:
  std::string Content() const {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // Files in the folder.
  size_t Count() const { return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {})); }

  const TestFolder temporary_;
  const fs::path folder_ = temporary_.path();
  const std::string path_ = (folder_ / "ready.json").string();
};

TEST_F(ReadyFileTest, IsThereFromWriteToRemove) {
  ReadyFile file(path_);
  EXPECT_TRUE(file.Prepare().ok());
  EXPECT_EQ(Count(), 0u);
  EXPECT_TRUE(file.Write("text\n").ok());
  EXPECT_EQ(Content(), "text\n");
  EXPECT_EQ(Count(), 1u);
  file.Remove();
  EXPECT_EQ(Count(), 0u);
  // Models that were loaded while the server stopped are too late.
  EXPECT_TRUE(file.Write("late\n").ok());
  EXPECT_EQ(Count(), 0u);
}

TEST_F(ReadyFileTest, WhatAnEarlierRunLeftIsRemoved) {
  std::ofstream(path_) << "old";
  EXPECT_TRUE(ReadyFile(path_).Prepare().ok());
  EXPECT_EQ(Count(), 0u);
}

TEST_F(ReadyFileTest, AnotherServersFileStays) {
  ReadyFile old(path_), next(path_);
  ASSERT_TRUE(old.Write("old\n").ok());
  ASSERT_TRUE(next.Prepare().ok());
  ASSERT_TRUE(next.Write("next\n").ok());
  old.Remove();
  EXPECT_EQ(Content(), "next\n");
}

TEST_F(ReadyFileTest, WhatIsNoFileIsRefusedAndStays) {
  fs::create_directory(path_);
  const Status prepared = ReadyFile(path_).Prepare();
  EXPECT_EQ(prepared.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(prepared)), HasSubstr("\"" + path_ + "\" is something else"));
  EXPECT_TRUE(fs::is_directory(path_));
  fs::remove(path_);
  std::ofstream(folder_ / "other") << "other";
  fs::create_symlink(folder_ / "other", path_);
  EXPECT_FALSE(ReadyFile(path_).Prepare().ok());
  EXPECT_EQ(Content(), "other");
}

TEST_F(ReadyFileTest, AFileThatCannotBeWrittenIsSaidBeforehand) {
  const std::string path = folder_.string() + "/none/ready.json";
  const Status prepared = ReadyFile(path).Prepare();
  EXPECT_EQ(prepared.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(Message(prepared)), "--ready_file: \"" + path +
                                                "\" cannot be written (No such file or directory); name a file in a folder "
                                                "that exists and is writable");
}

TEST_F(ReadyFileTest, NoPathIsNoFile) {
  ReadyFile none("");
  EXPECT_TRUE(none.Prepare().ok());
  EXPECT_TRUE(none.Write("text").ok());
  none.Remove();
}

}  // namespace
}  // namespace switchyard
