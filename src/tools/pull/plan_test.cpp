#include "tools/pull/plan.h"

#include <gtest/gtest.h>

#include "fetch/paths.h"

namespace switchyard {
namespace {

TEST(StaysInside, TakesPathsBelowTheFolderAlone) {
  for (const char* path : {"model.xml", "variables/variables.index", "a b.onnx", "a..b"})
    EXPECT_TRUE(StaysInside(path)) << path;
  for (const char* path :
       {"", "/etc/x", "../x", "a/../../x", "a//b", "./a", "a/", "a\\..\\b", ".hidden", "a/.complete", "a\nb"}) {
    EXPECT_FALSE(StaysInside(path)) << path;
  }
  EXPECT_FALSE(StaysInside(std::string_view("a\0b", 3)));
}

TEST(DigestOf, TellsSha256AndGitsSha1ByTheirLength) {
  EXPECT_EQ(DigestOf(std::string(64, 'A')).hex, std::string(64, 'a'));
  EXPECT_EQ(DigestOf(std::string(40, '1')).kind, ExpectedDigest::Kind::kGitBlob);
  EXPECT_EQ(DigestOf("d41d8cd98f00b204e9800998ecf8427e-3").kind, ExpectedDigest::Kind::kNone);
  // As `git hash-object` has them.
  EXPECT_EQ(GitBlobDigest(0).Hex(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
}

TEST(ShownUrl, HasNothingThatMayBeSecret) {
  EXPECT_EQ(ShownUrl("https://user:secret@host:1/a/b.onnx?sig=secret#x"), "https://host:1/a/b.onnx");
  EXPECT_EQ(ShownUrl("https://host/a@b.onnx"), "https://host/a@b.onnx");
  EXPECT_EQ(ShownUrl("s3://user:secret@bucket/m"), "s3://bucket/m");
  EXPECT_EQ(ShownUrl("user:secret@host/m"), "host/m");
  EXPECT_EQ(ShownUrl(""), "");
  // Of what no client could ask for, what is secret cannot be told.
  for (const char* rest : {"user:pa/ss@host/x", "user:pa?ss@host/x", "user:pa#ss@host/x", "user:pa ss@host/x"}) {
    EXPECT_EQ(ShownUrl("https://" + std::string(rest)), "https://<not a valid URL>");
    EXPECT_EQ(ShownUrl(rest), "<not a valid URL>");
  }
  EXPECT_EQ(EncodePath("a b/c#d.xml"), "a%20b/c%23d.xml");
}

TEST(RetryAfter, IsSecondsOrADate) {
  HttpAnswer answer;
  EXPECT_FALSE(answer.RetryAfter().has_value());
  answer.headers["retry-after"] = "3";
  EXPECT_EQ(answer.RetryAfter(), std::chrono::seconds(3));
  answer.headers["retry-after"] = "Thu, 01 Jan 1970 00:00:10 GMT";
  EXPECT_EQ(answer.RetryAfter(), std::chrono::seconds(0));
  answer.headers["retry-after"] = "soon";
  EXPECT_FALSE(answer.RetryAfter().has_value());
}

}  // namespace
}  // namespace switchyard
