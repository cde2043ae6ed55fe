#include "tools/version_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/test_folder.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

class VersionFolderTest : public ::testing::Test {
 protected:
  std::set<std::string> Names() {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / "m")) names.insert(entry.path().filename().string());
    return names;
  }

  const TestFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

TEST_F(VersionFolderTest, TakesTheNextNumber) {
  const std::string model = (folder_ / "m").string();
  for (const int64_t wanted : {1, 2}) {
    auto staged = StagedVersion::In(model);
    ASSERT_TRUE(staged.ok()) << staged.status();
    std::ofstream(fs::path(staged->path()) / "model.xml") << "x";
    const auto version = staged->Commit();
    ASSERT_TRUE(version.ok()) << version.status();
    EXPECT_EQ(*version, wanted);
  }
  fs::create_directories(folder_ / "m" / "7");
  fs::create_directories(folder_ / "m" / "9x");
  auto staged = StagedVersion::In(model);
  EXPECT_EQ(*staged->Commit(), 8) << "an empty folder is somebody's too";
  EXPECT_TRUE(fs::exists(folder_ / "m" / "1" / "model.xml"));
  struct stat status;
  ASSERT_EQ(stat((folder_ / "m" / "8").c_str(), &status), 0);
  EXPECT_NE(status.st_mode & S_IRGRP, 0u) << "readable by the server's user";
}

TEST_F(VersionFolderTest, LeavesNothingWithoutCommit) {
  {
    auto staged = StagedVersion::In((folder_ / "m").string());
    ASSERT_TRUE(staged.ok());
    std::ofstream(fs::path(staged->path()) / "model.xml") << "x";
    EXPECT_EQ(Names().size(), 1u);
  }
  EXPECT_FALSE(fs::exists(folder_ / "m")) << "it was made for this version";
  fs::create_directories(folder_ / "m");
  { const auto staged = StagedVersion::In((folder_ / "m").string()); }
  EXPECT_TRUE(Names().empty());
}

TEST_F(VersionFolderTest, RemovesWhatWasLeftBehindLongAgo) {
  fs::create_directories(folder_ / "m" / ".converting-old");
  fs::create_directories(folder_ / "m" / ".converting-new");
  fs::last_write_time(folder_ / "m" / ".converting-old", fs::file_time_type::clock::now() - std::chrono::hours(30));
  { const auto staged = StagedVersion::In((folder_ / "m").string()); }
  EXPECT_EQ(Names(), std::set<std::string>{".converting-new"});
}

TEST_F(VersionFolderTest, WhatCannotBeReadIsNoVersion) {
  fs::create_directories(folder_ / "m");
  std::ofstream(folder_ / "m" / "staged") << "a file, where a folder of files is expected";
  EXPECT_FALSE(CommitVersion((folder_ / "m" / "staged").string(), (folder_ / "m").string()).ok());
  EXPECT_EQ(Names(), std::set<std::string>{"staged"});
}

TEST_F(VersionFolderTest, AFileInTheWayIsNamed) {
  std::ofstream(folder_ / "m") << "x";
  const auto staged = StagedVersion::In((folder_ / "m").string());
  ASSERT_FALSE(staged.ok());
  EXPECT_NE(std::string(Message(staged.status())).find((folder_ / "m").string()), std::string::npos);
}

}  // namespace
}  // namespace switchyard
