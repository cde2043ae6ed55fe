#include "base/status.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

Status FailWhen(bool fail) { return fail ? InvalidArgument("bad {}", 7) : absl::OkStatus(); }
StatusOr<int> ValueOr(bool fail) {
  SY_RETURN_IF_ERROR(FailWhen(fail));
  return 3;
}
StatusOr<int> Twice(bool fail) {
  SY_ASSIGN_OR_RETURN(const int value, ValueOr(fail));
  return 2 * value;
}

TEST(Status, MacrosCarryValueAndError) {
  EXPECT_EQ(*Twice(false), 6);
  EXPECT_EQ(Message(Twice(true).status()), "bad 7");
}

TEST(Status, AnnotateKeepsTheCodeAndOk) {
  const Status annotated = Annotate(FailWhen(true), "model m");
  EXPECT_EQ(annotated.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Message(annotated), "model m: bad 7");
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
}

TEST(Status, HttpCodesOfTheVocabulary) {
  EXPECT_EQ(HttpCode(StatusCode::kOk), 200);
  EXPECT_EQ(HttpCode(StatusCode::kInvalidArgument), 400);
  EXPECT_EQ(HttpCode(StatusCode::kNotFound), 404);
  EXPECT_EQ(HttpCode(StatusCode::kResourceExhausted), 429);
  EXPECT_EQ(HttpCode(StatusCode::kCancelled), 499);
  EXPECT_EQ(HttpCode(StatusCode::kInternal), 500);
  EXPECT_EQ(HttpCode(StatusCode::kUnknown), 500);
  EXPECT_EQ(HttpCode(StatusCode::kUnavailable), 503);
  EXPECT_EQ(HttpCode(StatusCode::kDeadlineExceeded), 504);
}

}  // namespace
}  // namespace switchyard
