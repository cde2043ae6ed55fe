#include "tools/convert_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using ::testing::HasSubstr;

using Values = std::vector<float>;

std::string Fault(std::vector<std::string> arguments) {
  const auto options = ParseConvertOptions(arguments);
  return options.ok() ? "accepted" : std::string(Message(options.status()));
}

TEST(ConvertOptionsTest, ReadsTheWholeLine) {
  const auto options = ParseConvertOptions({"--input", "resnet.pb", "--output=models/resnet", "--precision", "fp16",
                                            "--input_shape", "[1,224,224,3]", "--mean", "[123.68,116.78,103.94]", "--scale=2",
                                            "--reverse_input_channels", "--layout", "NHWC", "--json"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->request.source, "resnet.pb");
  EXPECT_EQ(options->output, "models/resnet");
  EXPECT_EQ(options->precision, ConvertOptions::Precision::kFp16);
  EXPECT_TRUE(options->request.half);
  EXPECT_TRUE(options->request.reverse_input_channels);
  EXPECT_TRUE(options->json);
  const ModelSettings& settings = options->request.settings;
  EXPECT_EQ(settings.shapes.at("").ToShape(), (Shape{1, 224, 224, 3}));
  EXPECT_EQ(settings.means.at(""), (Values{123.68f, 116.78f, 103.94f}));
  EXPECT_EQ(settings.scales.at(""), Values{2});
  EXPECT_EQ(settings.layouts.at("").model, "NHWC");
}

TEST(ConvertOptionsTest, SeveralInputsInBrackets) {
  const auto shapes = ParseInputShapes("data[1,3,-1,224], info(1,3)");
  ASSERT_TRUE(shapes.ok()) << shapes.status();
  EXPECT_EQ(shapes->at("data").Wire(), (Shape{1, 3, -1, 224}));
  EXPECT_EQ(shapes->at("info").ToShape(), (Shape{1, 3}));
  EXPECT_EQ(ParseInputShapes(R"j({"a:0": "(2)"})j")->at("a:0").ToShape(), Shape{2});
  EXPECT_EQ(ParseInputNumbers("data[1,2,3],info[4]", false)->at("info"), Values{4});
  EXPECT_EQ(ParseInputNumbers("(1,2)", true)->at(""), (Values{1, 2}));
  EXPECT_FALSE(ParseInputNumbers("data[1,0]", true).ok());
  for (const char* text : {"", "auto", "[1,x]", "data[1", "data[1],", "data[1],data[2]", "data[1]info[2]", "[1],[2]"}) {
    EXPECT_FALSE(ParseInputShapes(text).ok()) << text;
  }
}

TEST(ConvertOptionsTest, FaultsNameTheFlag) {
  EXPECT_THAT(Fault({}), HasSubstr("--input is missing"));
  EXPECT_THAT(Fault({"--input", "a.onnx"}), HasSubstr("--output is missing"));
  EXPECT_THAT(Fault({"--input"}), HasSubstr("--input: its value is missing"));
  EXPECT_THAT(Fault({"--inputs", "a"}), HasSubstr("\"--inputs\" is no flag of convert"));
  EXPECT_THAT(Fault({"a.onnx"}), HasSubstr("\"a.onnx\" is no flag"));
  EXPECT_THAT(Fault({"--precision", "FP8"}), HasSubstr("--precision: expected FP32, FP16 or INT8, got \"FP8\""));
  EXPECT_THAT(Fault({"--input_shape", "1,3"}), HasSubstr("--input_shape: expected a shape"));
  EXPECT_THAT(Fault({"--samples", "0"}), HasSubstr("--samples: expected a whole number"));
  EXPECT_THAT(Fault({"--input", "a", "--output", "b", "--calibration", "c"}),
              HasSubstr("--calibration is for --precision INT8"));
  EXPECT_EQ(Fault({"--input", "a", "--output", "b", "--calibration", "c", "--precision", "INT8"}), "accepted");
  EXPECT_TRUE(ParseConvertOptions({"--help", "--nonsense"})->help);
}

}  // namespace
}  // namespace switchyard
