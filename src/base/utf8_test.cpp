#include "base/utf8.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(Utf8, TextsAreCutBetweenCharacters) {
  EXPECT_EQ(CutUtf8("abc", 3), "abc");
  EXPECT_EQ(CutUtf8("abcd", 3), "abc");
  EXPECT_EQ(CutUtf8("x\xC3\xA9\xC3\xA9", 4), "x\xC3\xA9");
  EXPECT_EQ(CutUtf8("x\xF0\x9F\x98\x80", 4), "x");
  EXPECT_EQ(CutUtf8("\xC3\xA9", 1), "");
}

TEST(Utf8, OtherBytesAreReplacedOneByOne) {
  EXPECT_EQ(MakeUtf8("\xC3\xA9t\xC3\xA9"), "\xC3\xA9t\xC3\xA9");
  EXPECT_EQ(MakeUtf8("a\xC3"), "a\xEF\xBF\xBD");
  EXPECT_EQ(MakeUtf8("\xFF\xC3\xA9\x80z"), "\xEF\xBF\xBD\xC3\xA9\xEF\xBF\xBDz");
  EXPECT_EQ(MakeUtf8(""), "");
}

}  // namespace
}  // namespace switchyard
