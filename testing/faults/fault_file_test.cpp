#include "testing/faults/fault_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace switchyard::testing {
namespace {

class FaultFileTest : public ::testing::Test {
 protected:
  ~FaultFileTest() override { std::filesystem::remove(path_); }
  void Write(const std::string& text) { std::ofstream(path_) << text; }

  const std::string path_ = std::filesystem::temp_directory_path() / ("fault_file_test." + std::to_string(getpid()));
};

TEST_F(FaultFileTest, FollowsTheFile) {
  FaultFile faults("", path_);
  EXPECT_FALSE(faults.Stands("hang"));
  // Each write changes the file within one tick of its clock, and keeps its size.
  for (int i = 0; i < 50; ++i) {
    Write("hang");
    EXPECT_TRUE(faults.Stands("hang"));
    Write("lost");
    EXPECT_FALSE(faults.Stands("hang"));
    EXPECT_TRUE(faults.Stands("lost"));
  }
  std::filesystem::remove(path_);
  EXPECT_FALSE(faults.Stands("lost"));
}

TEST_F(FaultFileTest, NamesAreWholeAndMayBeForOneDevice) {
  Write("out_of_memory@1,\n hang\n");
  FaultFile faults("", path_);
  EXPECT_TRUE(faults.Stands("out_of_memory", 1));
  EXPECT_FALSE(faults.Stands("out_of_memory", 0));
  EXPECT_FALSE(faults.Stands("out_of_memory"));
  EXPECT_TRUE(faults.Stands("hang", 0));
  EXPECT_TRUE(faults.Stands("hang"));
  EXPECT_FALSE(faults.Stands("han"));
  EXPECT_FALSE(faults.Stands("out_of"));
}

TEST_F(FaultFileTest, OnceInStrikesTheFirstOfEveryN) {
  Write("lost,once_in:3");
  FaultFile faults("", path_);
  std::string strikes;
  for (int i = 0; i < 7; ++i) strikes += faults.Strikes("lost") ? 'x' : '.';
  EXPECT_EQ(strikes, "x..x..x");
  EXPECT_FALSE(faults.Strikes("hang"));
}

TEST_F(FaultFileTest, NonsenseIsNoFault) {
  Write("once_in:0,once_in:x,lost@,lost@-1,lost@1x,,");
  FaultFile faults("", path_);
  EXPECT_FALSE(faults.Stands("lost", 1));
  EXPECT_FALSE(faults.Stands("once_in"));
  FaultFile fixed("init", "");
  EXPECT_TRUE(fixed.Strikes("init"));
  EXPECT_TRUE(fixed.Strikes("init"));
  EXPECT_FALSE(fixed.Stands("lost"));
}

}  // namespace
}  // namespace switchyard::testing
