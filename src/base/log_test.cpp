#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace switchyard {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

class LogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "switchyard_log_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    file_ = folder_ / "log";
    ASSERT_TRUE(ConfigureLog(LogLevel::kInfo, file_).ok());
  }
  void TearDown() override {
    ChangeLogSettings({});
    std::filesystem::remove_all(folder_);
  }
  static std::string Read(const std::filesystem::path& path) {
    FlushLog();
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::filesystem::path folder_, file_;
};

TEST_F(LogTest, EachSeverityStandsForItself) {
  ChangeLogSettings({.error = true, .warning = false, .info = true, .verbose = 1});
  LogError("an error");
  LogWarning("a warning");
  LogInfo("an info");
  LogDebug("a detail");
  Log(LogLevel::kTrace, "a trace");
  const std::string text = Read(file_);
  for (const char* there : {"an error", "an info", "a detail"}) EXPECT_THAT(text, HasSubstr(there));
  for (const char* absent : {"a warning", "a trace"}) EXPECT_THAT(text, Not(HasSubstr(absent)));
}

TEST_F(LogTest, LevelsAreThresholds) {
  ChangeLogLevel(LogLevel::kError);
  EXPECT_EQ(CurrentLogSettings(), (LogSettings{.error = true, .warning = false, .info = false}));
  ChangeLogLevel(LogLevel::kTrace);
  EXPECT_EQ(CurrentLogSettings(), (LogSettings{.verbose = 2}));
  EXPECT_TRUE(LogEnabled(LogLevel::kTrace));
}

TEST_F(LogTest, JsonLinesAreJsonWhateverTheMessage) {
  ChangeLogSettings({.format = LogFormat::kJson});
  LogWarning("{}", std::string("two\nlines \"quoted\" \xff"));
  EXPECT_THAT(Read(file_),
              MatchesRegex("\\{\"time\":\"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}Z\",\"level\":\"WARNING\","
                           "\"message\":\"two\\\\nlines \\\\\"quoted\\\\\" \\\\ufffd\"\\}\n"));
}

TEST_F(LogTest, AFileThatWasMovedIsOpenedAgain) {
  LogInfo("before");
  std::filesystem::rename(file_, folder_ / "old");
  std::thread other([] {
    for (int i = 0; i < 200; ++i) LogDebug("not logged {}", i);
  });
  ASSERT_TRUE(ReopenLogFile().ok());
  other.join();
  LogInfo("after");
  EXPECT_THAT(Read(folder_ / "old"), Not(HasSubstr("after")));
  EXPECT_THAT(Read(file_), HasSubstr("after"));
}

TEST_F(LogTest, AFileThatCannotBeOpenedAgainLeavesTheOldOne) {
  std::filesystem::rename(file_, folder_ / "old");
  std::filesystem::create_directory(file_);
  EXPECT_THAT(Message(ReopenLogFile()), HasSubstr(file_.string()));
  LogInfo("still");
  EXPECT_THAT(Read(folder_ / "old"), HasSubstr("still"));
}

TEST(LogNamesTest, OthersAreRefusedWithWhatIsExpected) {
  EXPECT_EQ(ParseLogFormat("json").value(), LogFormat::kJson);
  EXPECT_THAT(Message(ParseLogFormat("xml").status()), HasSubstr("text or json"));
  EXPECT_THAT(Message(ParseLogLevel("loud").status()), HasSubstr("TRACE, DEBUG, INFO, WARNING or ERROR"));
}

}  // namespace
}  // namespace switchyard
