#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/utf8.h"
#include "protocol/http/base64.h"
#include "protocol/http/http_error.h"
#include "protocol/http/json_reader.h"
#include "protocol/http/json_writer.h"
#include "protocol/http/test_body.h"
#include "tensor/half.h"

namespace switchyard {
namespace {

using ::testing::HasSubstr;

template <typename T>
std::string Write(ElementType type, const std::vector<T>& values) {
  std::string out;
  AppendJsonElements(out, type, reinterpret_cast<const std::byte*>(values.data()), values.size());
  return out;
}

TEST(JsonWriter, NumbersAreTheShortestThatReadBack) {
  EXPECT_EQ(Write<float>(ElementType::kFp32, {0.1f, 1.0f, -2.5f, 1e20f, 0.0f, -0.0f}), "0.1,1.0,-2.5,1e+20,0.0,-0.0");
  EXPECT_EQ(Write<double>(ElementType::kFp64, {0.1, 1e300, 3}), "0.1,1e+300,3.0");
  EXPECT_EQ(Write<int64_t>(ElementType::kInt64, {INT64_MIN, INT64_MAX}), "-9223372036854775808,9223372036854775807");
  EXPECT_EQ(Write<uint64_t>(ElementType::kUint64, {UINT64_MAX}), "18446744073709551615");
  EXPECT_EQ(Write<uint8_t>(ElementType::kUint8, {0, 255}), "0,255");
  EXPECT_EQ(Write<int8_t>(ElementType::kInt8, {-128}), "-128");
  EXPECT_EQ(Write<uint8_t>(ElementType::kBool, {1, 0}), "true,false");
  EXPECT_EQ(Write<uint16_t>(ElementType::kFp16, {FloatToHalf(0.5f)}), "0.5");
  EXPECT_EQ(Write<uint16_t>(ElementType::kBf16, {FloatToBfloat16(-2.0f)}), "-2.0");
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Write<float>(ElementType::kFp32, {std::nanf(""), inf, -inf}), "NaN,Infinity,-Infinity");
  EXPECT_EQ(Write<float>(ElementType::kFp32, {}), "");
  EXPECT_EQ(Write(ElementType::kInt32, std::vector<int32_t>(1000, INT32_MIN)).size(), 1000U * 12 - 1);
}

TEST(JsonWriter, StringsAreEscaped) {
  std::string out;
  AppendJsonString(out, std::string_view("a\"\\\n\t\r\b\0z\x1f", 10));
  EXPECT_EQ(out, "\"a\\\"\\\\\\n\\t\\r\\u0008\\u0000z\\u001f\"");
  out.clear();
  AppendJsonString(out, "gr\xc3\xbc\xc3\x9f \xff\xfe\xe2\x82 \xf0\x9f\x98\x80\xc0\x80");
  EXPECT_EQ(out, "\"gr\xc3\xbc\xc3\x9f \\ufffd\\ufffd\\ufffd\\ufffd \xf0\x9f\x98\x80\\ufffd\\ufffd\"");
  EXPECT_TRUE(IsUtf8(out));
}

TEST(HttpError, IsOneCompactObject) {
  const HttpReply reply = ErrorReply(Error(StatusCode::kUnavailable, "a \"b\""));
  EXPECT_EQ(reply.code, 503);
  EXPECT_EQ(reply.content_type, "application/json");
  EXPECT_EQ(reply.body.Flatten(), "{\"error\":\"a \\\"b\\\"\"}");
}

Status ParseStatus(const std::string& text) {
  const HttpBody body = MakeBody(text);
  JsonDocument document;
  return document.Parse(body.view()).status();
}

TEST(JsonReader, SaysWhatIsWrongAndWhere) {
  for (const char* text :
       {"", " ", "{", "[1,]", "{\"a\":}", "{\"a\" 1}", "[1] 2", "nul", "[\"\xff\"]", "[01]", "[1e999]", "[nan]"}) {
    const Status status = ParseStatus(text);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(Message(status)), HasSubstr("not valid json - Error: ")) << text;
  }
  EXPECT_THAT(std::string(Message(ParseStatus("{\"a\" 1}"))), HasSubstr("Offset: 5"));
  // Of the text as it came, whatever is read beyond the standard.
  EXPECT_THAT(std::string(Message(ParseStatus("[NaN,-Infinity,100000000000000000000,x]"))), HasSubstr("Offset: 37"));
}

TEST(JsonReader, RefusesDeepNesting) {
  EXPECT_TRUE(ParseStatus(std::string(100, '[') + "1" + std::string(100, ']')).ok());
  const Status status = ParseStatus(std::string(101, '[') + "1" + std::string(101, ']'));
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(status)), HasSubstr("depth"));
  EXPECT_EQ(ParseStatus(std::string(100000, '[')).code(), StatusCode::kInvalidArgument);
}

TEST(JsonReader, RefusesMoreThanItsParserTakes) {
  JsonDocument document;
  const Status status = document.Parse({"", kMaxJsonBytes + 1}).status();  // nothing of it is read
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(status)), HasSubstr("4294967296 bytes of JSON, at most 4294967295 are read"));
  EXPECT_TRUE(ParseStatus("[1]").ok());
}

TEST(JsonReader, TakesWhatPythonWrites) {
  const HttpBody body =
      MakeBody("[NaN, -Infinity,Infinity,100000000000000000000,-9223372036854775809,18446744073709551615,\"NaN \\\" NaN\"]");
  JsonDocument document;
  const auto root = document.Parse(body.view());
  ASSERT_TRUE(root.ok()) << root.status();
  JsonArray array;
  ASSERT_EQ(root->get(array), simdjson::SUCCESS);
  EXPECT_EQ(BareWord(array.at(0).value()), "NaN");
  EXPECT_EQ(BareWord(array.at(1).value()), "-Infinity");
  EXPECT_EQ(BareWord(array.at(2).value()), "Infinity");
  EXPECT_EQ(JsonTypeName(array.at(0).value()), "number");
  EXPECT_EQ(JsonExcerpt(array.at(1).value()), "-Infinity");
  EXPECT_EQ(array.at(3).get_double().value(), 1e20);
  EXPECT_EQ(array.at(4).get_double().value(), -9223372036854775808.0);
  EXPECT_EQ(array.at(5).get_uint64().value(), UINT64_MAX);
  EXPECT_EQ(array.at(6).get_string().value(), "NaN \" NaN");
  EXPECT_EQ(BareWord(array.at(6).value()), "");
  EXPECT_EQ(BareWord(*root), "");
}

TEST(JsonReader, AWordIsNoKey) {
  EXPECT_THAT(std::string(Message(ParseStatus("{NaN:1}"))), HasSubstr("not valid json"));
  EXPECT_THAT(std::string(Message(ParseStatus("{\"a\":NaN,Infinity:1}"))), HasSubstr("not valid json"));
}

TEST(Base64, RoundTrips) {
  for (const std::string& bytes :
       {std::string(), std::string("a"), std::string("ab"), std::string("abc"), std::string("\0\xff\x10\x80", 4)}) {
    std::string text;
    AppendBase64(text, bytes);
    EXPECT_EQ(DecodeBase64(text), bytes);
  }
  EXPECT_EQ(DecodeBase64("YWI"), "ab");
  EXPECT_EQ(DecodeBase64("_-8="), std::string("\xff\xef"));
  // Lines, as MIME and `base64` of a shell write them.
  EXPECT_EQ(DecodeBase64("YWJj\nYW I=\r\n"), "abcab");
  EXPECT_EQ(DecodeBase64(" \n"), "");
  for (const char* bad : {"Y", "YW=I", "Y W=", "YWI==", "===="}) EXPECT_EQ(DecodeBase64(bad), std::nullopt) << bad;
}

}  // namespace
}  // namespace switchyard
