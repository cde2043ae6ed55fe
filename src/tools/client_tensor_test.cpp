#include "tools/client_tensor.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <limits>

namespace switchyard {
namespace {

ClientTensorSpec Spec(ElementType type, Shape shape) { return {"x", type, std::move(shape)}; }

std::string TempFile(const std::string& name, const std::string& bytes) {
  const std::string path = testing::TempDir() + "client_tensor_" + name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

TEST(AppendNumber, KeepsWholeNumbersWholeAndInRange) {
  std::string data;
  EXPECT_TRUE(AppendNumber(ElementType::kInt64, std::numeric_limits<int64_t>::max(), &data).ok());
  EXPECT_TRUE(AppendNumber(ElementType::kUint64, std::numeric_limits<uint64_t>::max(), &data).ok());
  EXPECT_TRUE(AppendNumber(ElementType::kInt8, int64_t{-128}, &data).ok());
  EXPECT_TRUE(AppendNumber(ElementType::kUint8, 7.0, &data).ok());
  EXPECT_EQ(data.size(), 18u);
  EXPECT_FALSE(AppendNumber(ElementType::kInt8, int64_t{128}, &data).ok());
  EXPECT_FALSE(AppendNumber(ElementType::kUint32, int64_t{-1}, &data).ok());
  EXPECT_FALSE(AppendNumber(ElementType::kInt32, 1.5, &data).ok());
  EXPECT_FALSE(AppendNumber(ElementType::kInt64, 9223372036854775808.0, &data).ok());
  EXPECT_FALSE(AppendNumber(ElementType::kInt32, std::numeric_limits<double>::quiet_NaN(), &data).ok());
  EXPECT_FALSE(AppendNumber(ElementType::kBool, int64_t{2}, &data).ok());
  EXPECT_EQ(data.size(), 18u);
}

TEST(FormatElement, ReadsBackAsTheSameValue) {
  ClientTensor tensor{"x", ElementType::kFp32, {5}, {}, {}};
  for (const double value :
       {0.1, 2.0, 1e30, -std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    ASSERT_TRUE(AppendNumber(tensor.type, value, &tensor.data).ok());
  }
  EXPECT_EQ(FormatElement(tensor, 0), "0.1");
  EXPECT_EQ(FormatElement(tensor, 1), "2.0");
  EXPECT_EQ(FormatElement(tensor, 2), "1e+30");
  EXPECT_EQ(FormatElement(tensor, 3), "-Infinity");
  EXPECT_EQ(FormatElement(tensor, 4), "NaN");
}

TEST(Strings, GoThroughKservesForm) {
  const std::vector<std::string> strings = {"", "a", std::string("\0b", 2)};
  EXPECT_EQ(*UnpackStrings(PackStrings(strings)), strings);
  EXPECT_FALSE(UnpackStrings(std::string("\1\0", 2)).ok());
  EXPECT_FALSE(UnpackStrings(std::string("\5\0\0\0ab", 6)).ok());
  EXPECT_FALSE(UnpackStrings("\xff\xff\xff\xff").ok());
}

TEST(DeduceShape, FillsWhatIsOpen) {
  const auto deduce = [](Shape spec, size_t count) { return DeduceShape(spec, count); };
  EXPECT_EQ(*deduce({1, 10}, 10), (Shape{1, 10}));
  EXPECT_EQ(*deduce({-1, 2048}, 4096), (Shape{2, 2048}));
  EXPECT_EQ(*deduce({-1, -1}, 7), (Shape{1, 7}));
  EXPECT_EQ(*deduce({-1, 3, -1, 4}, 24), (Shape{1, 3, 2, 4}));
  EXPECT_EQ(*deduce({}, 1), Shape{});
  EXPECT_EQ(*deduce({-1, 4}, 0), (Shape{0, 4}));
  EXPECT_FALSE(deduce({1, 10}, 11).ok());
  EXPECT_FALSE(deduce({-1, 4}, 6).ok());
  EXPECT_FALSE(deduce({1, 3, -1, -1}, 12).ok());
  EXPECT_FALSE(deduce({std::numeric_limits<int64_t>::max(), 3}, 12).ok());
}

TEST(MakeInput, TakesInlineJson) {
  EXPECT_EQ(MakeInput(Spec(ElementType::kFp32, {1, 2}), "[[1, 2.5]]", nullptr, 1)->shape, (Shape{1, 2}));
  EXPECT_EQ(MakeInput(Spec(ElementType::kFp32, {1, 2}), "[1, 2]", nullptr, 1)->shape, (Shape{1, 2}));
  EXPECT_EQ(MakeInput(Spec(ElementType::kInt64, {}), "9007199254740993", nullptr, 1)->data,
            std::string("\1\0\0\0\0\0\x20\0", 8));
  const Shape shape{2, 1};
  EXPECT_EQ(MakeInput(Spec(ElementType::kFp32, {-1, -1}), "[1, 2]", &shape, 1)->shape, shape);
}

TEST(MakeInput, LeavesAWrongShapeForTheServerToJudge) {
  EXPECT_EQ(MakeInput(Spec(ElementType::kFp32, {1, 2}), "[[1, 2, 3]]", nullptr, 1)->shape, (Shape{1, 3}));
}

TEST(MakeInput, TakesStrings) {
  EXPECT_EQ(MakeInput(Spec(ElementType::kBytes, {-1}), "plain words", nullptr, 1)->strings[0], "plain words");
  EXPECT_EQ(MakeInput(Spec(ElementType::kBytes, {-1}), "\"quoted\"", nullptr, 1)->strings[0], "quoted");
  const auto two = MakeInput(Spec(ElementType::kBytes, {-1}), "[\"a\", \"b\"]", nullptr, 1);
  EXPECT_EQ(two->shape, (Shape{2}));
}

TEST(MakeInput, TakesFiles) {
  const auto raw = MakeInput(Spec(ElementType::kInt16, {-1, 2}), "@" + TempFile("raw.bin", "abcd"), nullptr, 1);
  ASSERT_TRUE(raw.ok()) << raw.status();
  EXPECT_EQ(raw->shape, (Shape{1, 2}));
  EXPECT_EQ(raw->data, "abcd");
  EXPECT_EQ(MakeInput(Spec(ElementType::kFp32, {-1, 2}), "@" + TempFile("a.json", "[[1,2],[3,4]]"), nullptr, 1)->shape,
            (Shape{2, 2}));
  EXPECT_EQ(MakeInput(Spec(ElementType::kBytes, {1}), "@" + TempFile("s.txt", "hello"), nullptr, 1)->strings[0], "hello");
  EXPECT_FALSE(MakeInput(Spec(ElementType::kInt16, {2}), "@" + TempFile("odd.bin", "abc"), nullptr, 1).ok());
  const auto missing = MakeInput(Spec(ElementType::kInt16, {2}), "@/no/such/file", nullptr, 1);
  EXPECT_NE(Message(missing.status()).find("/no/such/file"), std::string_view::npos);
  EXPECT_FALSE(MakeInput(Spec(ElementType::kInt16, {2}), "@/", nullptr, 1).ok());
}

TEST(MakeInput, RandomValuesAreTheSameEveryTime) {
  for (const ElementType type : {ElementType::kBool, ElementType::kInt8, ElementType::kUint64, ElementType::kFp16,
                                 ElementType::kFp32, ElementType::kFp64, ElementType::kBytes}) {
    const auto first = MakeInput(Spec(type, {-1, 3}), "random", nullptr, 1);
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_EQ(first->shape, (Shape{1, 3}));
    EXPECT_TRUE(CheckCount(*first).ok());
    const auto second = MakeInput(Spec(type, {-1, 3}), "random", nullptr, 1);
    EXPECT_EQ(first->data, second->data);
    EXPECT_EQ(first->strings, second->strings);
  }
  EXPECT_NE(MakeInput(Spec(ElementType::kFp32, {4}), "random", nullptr, 1)->data,
            MakeInput(Spec(ElementType::kFp32, {4}), "random", nullptr, 2)->data);
  const Shape huge{int64_t{1} << 40};
  EXPECT_FALSE(MakeInput(Spec(ElementType::kFp32, {-1}), "random", &huge, 1).ok());
}

TEST(MakeInput, NamesTheInputInErrors) {
  const auto tensor = MakeInput(Spec(ElementType::kFp32, {2}), "[1,", nullptr, 1);
  EXPECT_TRUE(Message(tensor.status()).starts_with("--input x: not valid JSON"));
}

}  // namespace
}  // namespace switchyard
