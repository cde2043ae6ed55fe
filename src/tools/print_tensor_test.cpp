#include "tools/print_tensor.h"

#include <gtest/gtest.h>

#include <limits>

namespace switchyard {
namespace {

ClientTensor Floats(Shape shape, const std::vector<double>& values) {
  ClientTensor tensor{"y", ElementType::kFp32, std::move(shape), {}, {}};
  for (const double value : values) EXPECT_TRUE(AppendNumber(tensor.type, value, &tensor.data).ok());
  return tensor;
}

TEST(ParseLabels, TakesAListOrLines) {
  const std::vector<std::string> expected = {"cat", "dog"};
  EXPECT_EQ(*ParseLabels("cat\ndog\n"), expected);
  EXPECT_EQ(*ParseLabels("cat\r\ndog"), expected);
  EXPECT_EQ(*ParseLabels(" [\"cat\", \"dog\"]"), expected);
  EXPECT_FALSE(ParseLabels("[\"cat\", 1]").ok());
  EXPECT_FALSE(ParseLabels("[\"cat\"").ok());
}

TEST(TopK, GreatestFirstNanLast) {
  const ClientTensor tensor = Floats({1, 4}, {1, std::numeric_limits<double>::quiet_NaN(), 3, 2});
  const auto top = TopK(tensor, 0, 4, 9);
  ASSERT_EQ(top.size(), 4u);
  EXPECT_EQ(top[0].first, 2u);
  EXPECT_EQ(top[1].first, 3u);
  EXPECT_EQ(top[3].first, 1u);
}

TEST(ToText, ShortTensorsWhole) { EXPECT_EQ(ToText(Floats({1, 2}, {1, 0.5}), 0, {}), "y FP32 (1,2):\n  [[1.0,0.5]]\n"); }

TEST(ToText, LongRowsByTheirGreatest) {
  std::vector<double> values(100, 0.0);
  values[46] = 0.75;
  std::vector<std::string> labels(100, "other");
  labels[46] = "cpp";
  const std::string text = ToText(Floats({1, 100}, values), 1, labels);
  EXPECT_EQ(text, "y FP32 (1,100), top 1:\n      46  0.75        cpp\n");
  EXPECT_NE(ToText(Floats({1, 100}, values), 0, {}).find("top 5:\n      46  0.75\n"), std::string::npos);
}

TEST(ToText, TheBeginningOfWhatIsLong) {
  ClientTensor tensor{"y", ElementType::kInt8, {100}, std::string(100, '\1'), {}};
  EXPECT_NE(ToText(tensor, 0, {}).find("... 68 more"), std::string::npos);
  ClientTensor empty{"y", ElementType::kFp32, {0, 5}, {}, {}};
  EXPECT_EQ(ToText(empty, 3, {}), "y FP32 (0,5):\n  []\n");
}

TEST(ToJson, HasNameTypeShapeAndFlatData) {
  EXPECT_EQ(ToJson(Floats({1, 2}, {1, 0.5})), R"({"name":"y","datatype":"FP32","shape":[1,2],"data":[1.0,0.5]})");
}

}  // namespace
}  // namespace switchyard
