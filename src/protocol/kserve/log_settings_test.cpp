#include "protocol/kserve/log_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/log.h"

namespace switchyard::kserve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class LogSettingsTest : public ::testing::Test {
 protected:
  void TearDown() override { ChangeLogSettings({}); }
};

TEST_F(LogSettingsTest, WhatIsChangedIsWhatIsShown) {
  ASSERT_TRUE(ChangeLog(R"({"log_info": false, "log_verbose_level": 1, "log_format": "ISO8601"})").ok());
  EXPECT_EQ(
      EncodeLogSettings(),
      R"({"log_file":"","log_info":false,"log_warning":true,"log_error":true,"log_verbose_level":1,"log_format":"ISO8601"})");
  EXPECT_TRUE(LogEnabled(LogLevel::kDebug));
  EXPECT_FALSE(LogEnabled(LogLevel::kInfo));
  EXPECT_FALSE(LogEnabled(LogLevel::kTrace));
  ASSERT_TRUE(ChangeLog("{}").ok());
  EXPECT_FALSE(LogEnabled(LogLevel::kInfo)) << "what is not named stays";
}

TEST_F(LogSettingsTest, AFaultChangesNothing) {
  EXPECT_THAT(Message(ChangeLog(R"({"log_info": false, "log_format": "xml"})")),
              AllOf(HasSubstr("log_format"), HasSubstr("xml")));
  EXPECT_TRUE(LogEnabled(LogLevel::kInfo));
  const auto told = [](const char* json) { return std::string(Message(ChangeLog(std::string_view(json)))); };
  const std::string integer = "log_verbose_level: expected an integer from 0 to 4294967295, got ";
  EXPECT_EQ(told(R"({"log_verbose_level": -1})"), integer + "-1");
  EXPECT_EQ(told(R"({"log_verbose_level": 2.0})"), integer + "2.0");
  EXPECT_EQ(told(R"({"log_verbose_level": true})"), integer + "true");
  EXPECT_EQ(told(R"({"log_info": null})"), "log_info: expected true or false, got null");
  EXPECT_THAT(told(R"({"log_infos": {}})"), HasSubstr("there is no such setting"));
  for (const char* json : {"", "[]", "{", R"({"log_infos": true})", R"({"log_info": 1})", R"({"log_error": null})",
                           R"({"log_verbose_level": -1})", R"({"log_verbose_level": true})",
                           R"({"log_verbose_level": 4294967296})", R"({"log_file": "/etc/passwd"})", R"({"log_file": 3})"}) {
    EXPECT_EQ(ChangeLog(std::string_view(json)).code(), StatusCode::kInvalidArgument) << json;
  }
  EXPECT_EQ(ChangeLog(std::string(100000, '[')).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CurrentLogSettings(), LogSettings{});
  EXPECT_TRUE(ChangeLog(R"({"log_file": ""})").ok()) << "the settings as they were read may be sent back";
}

}  // namespace
}  // namespace switchyard::kserve
