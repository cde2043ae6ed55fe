#include "config/cors_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(CorsValues, ReadsOrigins) {
  EXPECT_THAT(*ParseAllowedOrigins("*"), ElementsAre("*"));
  EXPECT_THAT(*ParseAllowedOrigins("https://a.example, HTTP://[::1]:8080,null"),
              ElementsAre("https://a.example", "http://[::1]:8080", "null"));
  EXPECT_THAT(*ParseAllowedOrigins("https://a.example,*"), ElementsAre("*"));
  EXPECT_THAT(*ParseAllowedOrigins(""), IsEmpty());
}

TEST(CorsValues, RefusesWhatNoBrowserSends) {
  for (const char* const text : {"a.example", "https://a.example/", "https://", "://a", "https://a b", "https://a\r\nX: y",
                                 "https://a,,https://b", "https://user@a"}) {
    const auto origins = ParseAllowedOrigins(text);
    ASSERT_FALSE(origins.ok()) << text;
    EXPECT_THAT(std::string(Message(origins.status())), HasSubstr("expected *, or origins such as")) << text;
  }
}

TEST(CorsValues, ReadsNames) {
  EXPECT_EQ(*ParseAllowedNames("*"), "*");
  EXPECT_EQ(*ParseAllowedNames("GET,POST , OPTIONS"), "GET, POST, OPTIONS");
  EXPECT_EQ(*ParseAllowedNames(""), "");
  for (const char* const text : {"a b", "a,,b", "a\r\nX: y", "\"a\""}) EXPECT_FALSE(ParseAllowedNames(text).ok()) << text;
}

}  // namespace
}  // namespace switchyard
