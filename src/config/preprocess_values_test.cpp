#include "config/preprocess_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/config_file.h"

namespace switchyard {
namespace {

using ::testing::HasSubstr;
using Values = std::vector<float>;

TEST(ChannelValuesTest, ReadsEveryForm) {
  EXPECT_EQ(*ParseChannelValues("123.675"), Values{123.675f});
  EXPECT_EQ(*ParseChannelValues(" [1, 2.5,-3] "), (Values{1, 2.5f, -3}));
  EXPECT_EQ(*ParseChannelValues("(1,2e1)"), (Values{1, 20}));
  EXPECT_EQ(ParseMeans("[1,2,3]")->at(""), (Values{1, 2, 3}));
  const auto by_input = ParseMeans(R"({"a": "[1,2,3]", "b": 4.5, "c": [6, 7]})");
  ASSERT_TRUE(by_input.ok()) << by_input.status();
  EXPECT_EQ(by_input->at("a"), (Values{1, 2, 3}));
  EXPECT_EQ(by_input->at("b"), Values{4.5f});
  EXPECT_EQ(by_input->at("c"), (Values{6, 7}));
}

TEST(ChannelValuesTest, RefusesTheRest) {
  for (const char* text : {"", "abc", "[1,2", "1,2", "[]", "[1,,2]", "nan", "inf", "1e300", "[1,x]", "{}", R"({"a": []})",
                           R"({"a": "x"})", R"({"a": null})", R"({"": 1})", R"({"a": ["1"]})", R"({"a": )"}) {
    const auto values = ParseMeans(text);
    ASSERT_FALSE(values.ok()) << text;
    EXPECT_THAT(std::string(Message(values.status())), HasSubstr("expected")) << text;
    EXPECT_FALSE(ParseScales(text).ok()) << text;
  }
  EXPECT_THAT(std::string(Message(ParseScales("[1,0,1]").status())), HasSubstr("other than 0"));
  EXPECT_TRUE(ParseMeans("0").ok());
}

TEST(ColorFormatTest, TheModelComesFirst) {
  EXPECT_EQ(*ParseColorFormat("RGB:BGR"), (ColorSetting{"RGB", "BGR"}));
  EXPECT_EQ(*ParseColorFormat("bgr:nv12_2"), (ColorSetting{"BGR", "NV12_2"}));
  EXPECT_EQ(ParseColorFormats(R"({"x": "GRAY:I420_3"})")->at("x"), (ColorSetting{"GRAY", "I420_3"}));
  for (const char* text : {"", "RGB", "RGB:", ":BGR", "RGB:BGR:RGB", "RGB:CMYK", "1:2"}) {
    const auto color = ParseColorFormats(text);
    ASSERT_FALSE(color.ok()) << text;
    EXPECT_THAT(std::string(Message(color.status())), HasSubstr(std::string("got \"") + text)) << text;
  }
}

TEST(PrecisionTest, WhatClientsSendComesFirst) {
  EXPECT_EQ(*ParsePrecision("UINT8:FP32"), (PrecisionSetting{ElementType::kUint8, ElementType::kFp32}));
  EXPECT_EQ(*ParsePrecision("u8"), (PrecisionSetting{ElementType::kUint8, ElementType::kUndefined}));
  EXPECT_EQ(ParsePrecisions(R"({"x": "bf16:I64"})")->at("x"), (PrecisionSetting{ElementType::kBf16, ElementType::kInt64}));
  for (const char* text : {"", "FP31", "FP32:", ":FP32", "FP32:FP16:U8", "INT4", "UINT1:FP32"}) {
    EXPECT_EQ(ParsePrecisions(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
  EXPECT_THAT(std::string(Message(ParsePrecision("UINT4").status())), HasSubstr("no protocol can carry"));
}

// An entry of config.json with these keys; the reason of its fault, empty when it has none.
std::string FaultOf(const std::string& keys) {
  const auto file =
      ParseConfigFile(R"({"model_config_list": [{"config": {"name": "m", "base_path": "/m", )" + keys + "}}]}", "/");
  if (!file.ok()) return std::string(Message(file.status()));
  return file->faulty_models.empty() ? "" : file->faulty_models[0].reason;
}

TEST(PreprocessConfigTest, ConfigFileTakesAllOfThem) {
  const auto file = ParseConfigFile(R"j({"model_config_list": [{"config": {"name": "m", "base_path": "/m",
    "shape": {"a": "auto", "b": "(1,3)"}, "layout": {"a": "NHWC:NCHW"},
    "mean": {"a": [1, 2, 3], "b": 4}, "scale": {"a": "(5,6,7)"},
    "color_format": {"a": "RGB:BGR"}, "precision": {"a": "U8:FP32"}, "auto_shape_limit": 3}},
    {"config": {"name": "n", "base_path": "/n", "batch_size": "auto", "mean": 1.5, "scale": "2"}}]})j",
                                    "/");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->models.size(), 2u) << (file->faulty_models.empty() ? "" : file->faulty_models[0].reason);
  const ModelSettings& model = file->models[0];
  EXPECT_EQ(model.auto_shapes, std::set<std::string>{"a"});
  EXPECT_EQ(model.shapes.count("b"), 1u);
  EXPECT_EQ(model.means.at("a"), (Values{1, 2, 3}));
  EXPECT_EQ(model.means.at("b"), Values{4});
  EXPECT_EQ(model.scales.at("a"), (Values{5, 6, 7}));
  EXPECT_EQ(model.color_formats.at("a"), (ColorSetting{"RGB", "BGR"}));
  EXPECT_EQ(model.precisions.at("a"), (PrecisionSetting{ElementType::kUint8, ElementType::kFp32}));
  EXPECT_EQ(model.auto_shape_limit, 3u);
  EXPECT_TRUE(file->models[1].batch_auto);
  EXPECT_EQ(file->models[1].means.at(""), Values{1.5});
}

TEST(PreprocessConfigTest, FaultsNameTheKey) {
  EXPECT_EQ(FaultOf(R"("layout": "NHWC", "mean": [1, 2, 3])"), "");
  EXPECT_THAT(FaultOf(R"("mean": [1, 2, 3])"), HasSubstr("mean with a value for each channel needs to know"));
  EXPECT_THAT(FaultOf(R"("scale": [1, 2], "layout": "NHW")"), HasSubstr("got \"NHW\""));
  EXPECT_THAT(FaultOf(R"("color_format": {"x": "RGB:BGR"})"), HasSubstr("color_format of input \"x\""));
  EXPECT_THAT(FaultOf(R"("mean": true)"), HasSubstr("/model_config_list/0/config/mean"));
  EXPECT_THAT(FaultOf(R"("scale": 0)"), HasSubstr("scale: expected numbers other than 0"));
  EXPECT_THAT(FaultOf(R"("precision": "FP31")"), HasSubstr("config/precision: expected UINT8:FP32"));
  EXPECT_THAT(FaultOf(R"("auto_shape_limit": 0)"), HasSubstr("an integer from 1 to 1000"));
}

}  // namespace
}  // namespace switchyard
