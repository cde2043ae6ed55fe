#include "tools/json_tensor.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

StatusOr<ClientTensor> Parse(ElementType type, std::string_view text) {
  ClientTensor tensor{"x", type, {}, {}, {}};
  SY_RETURN_IF_ERROR(ParseJsonText(text, &tensor));
  return tensor;
}

std::string Written(const ClientTensor& tensor, JsonLayout layout, JsonStrings strings = JsonStrings::kPlain) {
  std::string out;
  AppendJsonTensor(tensor, layout, strings, &out);
  return out;
}

TEST(JsonTensor, NestingIsTheShape) {
  const auto tensor = Parse(ElementType::kInt32, "[[1,2,3],[4,5,6]]");
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(tensor->shape, (Shape{2, 3}));
  EXPECT_EQ(Written(*tensor, JsonLayout::kNested), "[[1,2,3],[4,5,6]]");
  EXPECT_EQ(Written(*tensor, JsonLayout::kFlat), "[1,2,3,4,5,6]");
  EXPECT_EQ(Parse(ElementType::kFp32, "1.5")->shape, Shape{});
  EXPECT_EQ(Parse(ElementType::kFp32, "[]")->shape, (Shape{0}));
  EXPECT_EQ(Parse(ElementType::kFp32, "[[],[]]")->shape, (Shape{2, 0}));
}

TEST(JsonTensor, KeepsLargeIntegers) {
  const auto tensor = Parse(ElementType::kUint64, "[18446744073709551615]");
  EXPECT_EQ(Written(*tensor, JsonLayout::kFlat), "[18446744073709551615]");
}

TEST(JsonTensor, ReadsAndWritesWhatIsNoNumber) {
  const auto tensor = Parse(ElementType::kFp32, "[NaN, Infinity, -Infinity]");
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(Written(*tensor, JsonLayout::kFlat), "[NaN,Infinity,-Infinity]");
}

TEST(JsonTensor, StringsAndBase64) {
  const auto tensor = Parse(ElementType::kBytes, R"(["a\"b", {"b64": "AP8="}])");
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(tensor->strings[1], std::string("\0\xff", 2));
  EXPECT_EQ(Written(*tensor, JsonLayout::kFlat), R"(["a\"b","\u0000\ufffd"])");
  EXPECT_EQ(Written(*tensor, JsonLayout::kFlat, JsonStrings::kBase64), R"([{"b64":"YSJi"},{"b64":"AP8="}])");
}

TEST(JsonTensor, RefusesWhatIsNoTensor) {
  for (const char* text : {"", "[1", "[1,[2]]", "[[1],[2,3]]", "[[1],2]", "[null]", "[\"1\"]", "{}", "[true]", "1 2"}) {
    EXPECT_FALSE(Parse(ElementType::kFp32, text).ok()) << text;
  }
  EXPECT_FALSE(Parse(ElementType::kBytes, "[1]").ok());
  EXPECT_FALSE(Parse(ElementType::kBytes, R"({"b64":"*"})").ok());
  EXPECT_FALSE(Parse(ElementType::kInt8, "[300]").ok());
}

TEST(JsonTensor, DeepNestingIsAnErrorNotACrash) {
  constexpr size_t kDepth = 1000000;
  EXPECT_FALSE(Parse(ElementType::kFp32, std::string(kDepth, '[') + std::string(kDepth, ']')).ok());
}

TEST(JsonString, KeepsUtf8AndEscapesTheRest) {
  EXPECT_EQ(JsonString("\xc3\xa9\xe2\x82\xac\n"), "\"\xc3\xa9\xe2\x82\xac\\u000a\"");
  EXPECT_EQ(JsonString("\xc3"), "\"\\ufffd\"");
  EXPECT_EQ(JsonString("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");
}

}  // namespace
}  // namespace switchyard
