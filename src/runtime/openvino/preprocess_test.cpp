#include "runtime/openvino/preprocess.h"

#include <fstream>
#include <numeric>
#include <openvino/core/preprocess/pre_post_process.hpp>

#include "runtime/openvino/test_models.h"

namespace switchyard {
namespace {

using ov::preprocess::ColorFormat;
using ov::preprocess::PrePostProcessor;
using ::testing::AllOf;
using ::testing::HasSubstr;

PartialShape Fixed(std::vector<int64_t> dims) {
  PartialShape shape;
  for (const int64_t dim : dims) shape.dims.push_back(Dimension::Fixed(dim));
  return shape;
}

// `image` (NCHW) to `pixels` = 2 * image: every value can be told from every other.
std::shared_ptr<ov::Model> Twice(ov::PartialShape shape = {1, 3, 4, 6}, ov::element::Type type = ov::element::f32) {
  auto image = Input("image", std::move(shape), type);
  const auto two = ops::Constant::create(type, ov::Shape{}, {2});
  return std::make_shared<ov::Model>(ov::OutputVector{Named(std::make_shared<ops::Multiply>(image, two), "pixels")},
                                     ov::ParameterVector{image});
}

// Bytes that differ from place to place.
std::vector<uint8_t> Bytes(size_t count, int seed = 1) {
  std::vector<uint8_t> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>((i * 37 + seed * 91) % 251);
  return bytes;
}

class PreprocessTest : public OpenVinoTest {
 protected:
  // What OpenVINO's own processor, set up by `with`, makes of these inputs.
  template <typename T>
  std::vector<float> Reference(const std::shared_ptr<ov::Model>& model, const std::vector<std::vector<T>>& inputs,
                               const std::function<void(PrePostProcessor&)>& with) {
    PrePostProcessor processor(model);
    with(processor);
    ov::Core core;
    ov::CompiledModel compiled = core.compile_model(processor.build(), "CPU", ov::hint::inference_precision(ov::element::f32));
    ov::InferRequest request = compiled.create_infer_request();
    for (size_t i = 0; i < inputs.size(); ++i) {
      const ov::Tensor tensor = request.get_input_tensor(i);
      EXPECT_EQ(tensor.get_size(), inputs[i].size());
      std::memcpy(request.get_input_tensor(i).data(), inputs[i].data(), inputs[i].size() * sizeof(T));
    }
    request.infer();
    const ov::Tensor output = request.get_output_tensor(0);
    return {output.data<float>(), output.data<float>() + output.get_size()};
  }

  // What the server makes of them.
  template <typename T>
  std::vector<float> Served(const std::shared_ptr<ov::Model>& model, const std::vector<std::vector<T>>& inputs,
                            ElementType type, ModelSettings settings) {
    settings.plugin_config = {{"INFERENCE_PRECISION_HINT", {std::string("f32")}}};
    const auto loaded = Load(model, std::move(settings));
    if (loaded == nullptr) return {};
    EXPECT_EQ(loaded->signature().inputs.size(), inputs.size());
    std::vector<TensorView> views;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const TensorSpec& spec = loaded->signature().inputs[i];
      EXPECT_EQ(spec.type, type) << spec.name;
      views.push_back(View(inputs[i], spec.shape.ToShape(), type));
    }
    auto request = loaded->CreateInferRequest();
    return Values<float>(Run(**request, views)[0]);
  }
};

TEST_F(PreprocessTest, PrecisionMeanAndScaleAsOpenVino) {
  const auto bytes = Bytes(1 * 4 * 6 * 3);
  const std::vector<float> mean = {123.675f, 116.28f, 103.53f}, scale = {58.395f, 57.12f, 57.375f};
  ModelSettings settings{.layouts = {{"", {.tensor = "NHWC", .model = "NCHW"}}},
                         .precisions = {{"", {ElementType::kUint8, ElementType::kFp32}}},
                         .means = {{"", mean}},
                         .scales = {{"image", scale}}};
  const auto expected = Reference<uint8_t>(Twice(), {bytes}, [&](PrePostProcessor& processor) {
    processor.input().tensor().set_layout("NHWC").set_element_type(ov::element::u8);
    processor.input().model().set_layout("NCHW");
    processor.input().preprocess().convert_element_type(ov::element::f32).mean(mean).scale(scale);
  });
  EXPECT_EQ(Served<uint8_t>(Twice(), {bytes}, ElementType::kUint8, settings), expected);
  // By hand: the second channel of the first pixel.
  EXPECT_NEAR(expected[24], 2 * (bytes[1] - mean[1]) / scale[1], 1e-5);

  // One value for all channels needs no layout, and bytes become what the model takes.
  const auto one = Reference<uint8_t>(Twice(), {bytes}, [&](PrePostProcessor& processor) {
    processor.input().tensor().set_element_type(ov::element::u8);
    processor.input().preprocess().convert_element_type(ov::element::f32).mean(2.5f).scale(7.0f);
  });
  EXPECT_EQ(Served<uint8_t>(Twice(), {bytes}, ElementType::kUint8,
                            {.precisions = {{"", {ElementType::kUint8, ElementType::kUndefined}}},
                             .means = {{"", {2.5f}}},
                             .scales = {{"", {7.0f}}}}),
            one);
}

TEST_F(PreprocessTest, PrecisionsAsOpenVino) {
  const std::vector<float> numbers = {-1.5f, 0, 1, 2.5f, 300, 7};
  const std::vector<int64_t> whole = {-2, 0, 1, 3, 300, 7};
  const auto model = [] { return Twice({6}); };
  const auto expected = Reference<int64_t>(model(), {whole}, [](PrePostProcessor& processor) {
    processor.input().tensor().set_element_type(ov::element::i64);
    processor.input().preprocess().convert_element_type(ov::element::i32);
  });
  EXPECT_EQ(Served<int64_t>(model(), {whole}, ElementType::kInt64,
                            {.precisions = {{"", {ElementType::kInt64, ElementType::kInt32}}}}),
            expected);
  EXPECT_EQ(expected[0], -4);
  const auto narrowed = Reference<float>(model(), {numbers}, [](PrePostProcessor& processor) {
    processor.input().tensor().set_element_type(ov::element::f32);
    processor.input().preprocess().convert_element_type(ov::element::i32);
  });
  EXPECT_EQ(
      Served<float>(model(), {numbers}, ElementType::kFp32, {.precisions = {{"", {ElementType::kFp32, ElementType::kInt32}}}}),
      narrowed);
}

TEST_F(PreprocessTest, ColoursAsOpenVino) {
  struct Case {
    const char* model;
    const char* tensor;
    ColorFormat to, from;
    int64_t channels;  // of the model
    size_t bytes;
    PartialShape shape;  // what clients send
  };
  const Case cases[] = {
      {"RGB", "BGR", ColorFormat::RGB, ColorFormat::BGR, 3, 72, Fixed({1, 4, 6, 3})},
      {"BGR", "RGB", ColorFormat::BGR, ColorFormat::RGB, 3, 72, Fixed({1, 4, 6, 3})},
      {"GRAY", "RGB", ColorFormat::GRAY, ColorFormat::RGB, 1, 72, Fixed({1, 4, 6, 3})},
      {"BGR", "NV12", ColorFormat::BGR, ColorFormat::NV12_SINGLE_PLANE, 3, 36, Fixed({1, 6, 6, 1})},
      {"RGB", "I420", ColorFormat::RGB, ColorFormat::I420_SINGLE_PLANE, 3, 36, Fixed({1, 6, 6, 1})},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.model) + ":" + c.tensor);
    const auto model = [&] { return Twice({1, c.channels, 4, 6}); };
    const auto bytes = Bytes(c.bytes);
    const std::vector<float> mean(static_cast<size_t>(c.channels), 3.0f);
    const auto expected = Reference<uint8_t>(model(), {bytes}, [&](PrePostProcessor& processor) {
      processor.input().tensor().set_layout("NHWC").set_element_type(ov::element::u8).set_color_format(c.from);
      processor.input().model().set_layout("NCHW");
      processor.input().preprocess().convert_color(c.to).convert_element_type(ov::element::f32).mean(mean);
    });
    ModelSettings settings{.layouts = {{"image", {.tensor = "NHWC", .model = "NCHW"}}},
                           .color_formats = {{"", {.model = c.model, .tensor = c.tensor}}},
                           .precisions = {{"", {ElementType::kUint8, ElementType::kFp32}}},
                           .means = {{"", mean}}};
    EXPECT_EQ(Served<uint8_t>(model(), {bytes}, ElementType::kUint8, settings), expected);
    const auto loaded = Load(model(), settings);
    ASSERT_NE(loaded, nullptr);
    EXPECT_EQ(loaded->signature().inputs[0].shape, c.shape);
    EXPECT_EQ(loaded->signature().inputs[0].name, "image");
  }
}

TEST_F(PreprocessTest, PlanesAreInputsOfTheirOwn) {
  const auto y = Bytes(24), uv = Bytes(12, 2);
  const auto expected = Reference<uint8_t>(Twice(), {y, uv}, [&](PrePostProcessor& processor) {
    processor.input().tensor().set_layout("NHWC").set_element_type(ov::element::u8);
    processor.input().tensor().set_color_format(ColorFormat::NV12_TWO_PLANES, {"y", "uv"});
    processor.input().model().set_layout("NCHW");
    processor.input().preprocess().convert_color(ColorFormat::RGB);
  });
  ModelSettings settings{.layouts = {{"", {.tensor = "NHWC", .model = "NCHW"}}},
                         .color_formats = {{"", {.model = "RGB", .tensor = "NV12_2"}}},
                         .precisions = {{"", {ElementType::kUint8, ElementType::kUndefined}}}};
  EXPECT_EQ(Served<uint8_t>(Twice(), {y, uv}, ElementType::kUint8, settings), expected);
  const auto loaded = Load(Twice(), settings);
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(loaded->signature().inputs[0].name, "image/y");
  EXPECT_EQ(loaded->signature().inputs[1].name, "image/uv");
  EXPECT_EQ(loaded->signature().inputs[1].shape, Fixed({1, 2, 3, 2}));
  settings.color_formats[""].tensor = "I420_3";
  const auto three = Load(Twice(), settings);
  ASSERT_NE(three, nullptr);
  EXPECT_EQ(three->signature().inputs.size(), 3u);
  EXPECT_EQ(three->signature().inputs[2].name, "image/v");
}

// Two inputs, each with steps of its own; the sum tells them apart.
std::shared_ptr<ov::Model> TwoInputs() {
  auto a = Input("a", {1, 3, 2, 2}), b = Input("b", {1, 3, 2, 2}), c = Input("c", {1, 3, 2, 2});
  const auto ten = ops::Constant::create(ov::element::f32, ov::Shape{}, {10});
  const auto sum = std::make_shared<ops::Add>(std::make_shared<ops::Multiply>(a, ten), std::make_shared<ops::Add>(b, c));
  return std::make_shared<ov::Model>(ov::OutputVector{Named(sum, "sum")}, ov::ParameterVector{a, b, c});
}

TEST_F(PreprocessTest, EachInputHasItsOwn) {
  std::vector<float> values(12);
  std::iota(values.begin(), values.end(), 1.0f);
  const auto expected = Reference<float>(TwoInputs(), {values, values, values}, [](PrePostProcessor& processor) {
    processor.input("a").tensor().set_layout("NHWC");
    processor.input("a").model().set_layout("NCHW");
    processor.input("a").preprocess().mean({1, 2, 3});
    processor.input("c").preprocess().scale(4);
  });
  ModelSettings settings{
      .layouts = {{"a", {.tensor = "NHWC", .model = "NCHW"}}}, .means = {{"a", {1, 2, 3}}}, .scales = {{"c", {4}}}};
  EXPECT_EQ(Served<float>(TwoInputs(), {values, values, values}, ElementType::kFp32, settings), expected);
}

TEST_F(PreprocessTest, FaultsNameTheInput) {
  const auto fault = [this](ModelSettings settings, std::shared_ptr<ov::Model> model = Twice()) {
    return LoadFault(model, std::move(settings), StatusCode::kInvalidArgument);
  };
  EXPECT_THAT(fault({.means = {{"x", {1}}}}), AllOf(HasSubstr("mean names \"x\""), HasSubstr("image FP32 (1,3,4,6)")));
  EXPECT_THAT(fault({.means = {{"", {1}}}}, TwoInputs()),
              AllOf(HasSubstr("mean without an input's name"), HasSubstr("{\"a\": ...}")));
  EXPECT_THAT(fault({.layouts = {{"", {.model = "NCHW"}}}, .means = {{"", {1, 2}}}}),
              AllOf(HasSubstr("Input \"image\""), HasSubstr("expected 1 value, or 3"), HasSubstr("got 2")));
  EXPECT_THAT(fault({.means = {{"", {1}}}}, Twice({1, 3, 4, 6}, ov::element::i32)),
              AllOf(HasSubstr("Input \"image\""), HasSubstr("precision such as I32:FP32")));
  EXPECT_THAT(fault({.layouts = {{"", {.tensor = "NHWC", .model = "NCHW"}}}, .color_formats = {{"", {"RGB", "GRAY"}}}}),
              AllOf(HasSubstr("Input \"image\""), HasSubstr("color_format RGB:GRAY")));
  EXPECT_THAT(fault({.layouts = {{"", {.tensor = "NC", .model = "NC"}}}, .color_formats = {{"", {"RGB", "BGR"}}}}),
              HasSubstr("Input \"image\" (image FP32 (1,3,4,6)) cannot be given layout NC:NC, color_format RGB:BGR"));
}

TEST_F(PreprocessTest, NothingConvertsStrings) {
  auto input = Input("text", {1}, ov::element::string);
  const auto model = std::make_shared<ov::Model>(ov::OutputVector{input}, ov::ParameterVector{input});
  for (const ModelSettings& settings :
       {ModelSettings{.precisions = {{"text", {.tensor = ElementType::kFp32}}}}, ModelSettings{.means = {{"text", {1}}}}}) {
    EXPECT_THAT(LoadFault(model, settings, StatusCode::kInvalidArgument),
                AllOf(HasSubstr("Input \"text\""), HasSubstr("takes strings"), testing::Not(HasSubstr("STRING:FP32"))));
  }
}

TEST_F(PreprocessTest, AShapeThatALayerRefusesNamesTheLayer) {
  auto data = Input("data", {2, 3});
  auto weights = ops::Constant::create(ov::element::f32, ov::Shape{3, 1}, {1, 2, 3});
  auto product = std::make_shared<ops::MatMul>(PlusOne(data), weights);
  product->set_friendly_name("it's fc1");
  const auto model = std::make_shared<ov::Model>(ov::OutputVector{product}, ov::ParameterVector{data});
  EXPECT_THAT(LoadFault(model, {.shapes = {{"data", Fixed({2, 4})}}}, StatusCode::kInvalidArgument),
              AllOf(HasSubstr("refuses the shape"), HasSubstr("layer \"it's fc1\" (opset1::MatMul) cannot take it: "),
                    HasSubstr("data FP32 (2,3)")));
}

TEST_F(PreprocessTest, AutoIsNotForModelsWithState) {
  auto input = Input("x", {1, 2});
  auto variable =
      std::make_shared<ov::op::util::Variable>(ov::op::util::VariableInfo{ov::PartialShape{1, 2}, ov::element::f32, "memory"});
  auto read = std::make_shared<ops::ReadValue>(input, variable);
  auto assign = std::make_shared<ops::Assign>(std::make_shared<ops::Add>(read, input), variable);
  const auto model = std::make_shared<ov::Model>(ov::ResultVector{std::make_shared<ops::Result>(read)}, ov::SinkVector{assign},
                                                 ov::ParameterVector{input});
  EXPECT_THAT(LoadFault(model, {.auto_shapes = {""}}, StatusCode::kInvalidArgument),
              AllOf(HasSubstr("shape cannot be auto"), HasSubstr("\"memory\"")));
  EXPECT_THAT(LoadFault(Twice(), {.auto_shapes = {"y"}}, StatusCode::kInvalidArgument), HasSubstr("shape names \"y\""));
}

class MappingTest : public PreprocessTest {
 protected:
  void Write(const std::string& text) { std::ofstream(folder_ / "mapping_config.json") << text; }
  std::string Fault(const std::string& text, ModelSettings settings = {}) {
    Write(text);
    return LoadFault(TwoInputs(), std::move(settings), StatusCode::kInvalidArgument);
  }
};

TEST_F(MappingTest, RenamesInputsAndOutputs) {
  Write(R"({"inputs": {"a": "first", "c": "b"}, "outputs": {"sum": "total"}})");
  EXPECT_THAT(LoadFault(TwoInputs(), {}, StatusCode::kInvalidArgument), HasSubstr("calls two inputs \"b\": b and c"));
  Write(R"({"inputs": {"a": "first", "b": "c", "c": "b"}, "outputs": {"sum": "total"}})");
  const auto loaded = Load(TwoInputs(), {.shapes = {{"first", Fixed({2, 3, 2, 2})}}, .means = {{"b", {1}}}});
  ASSERT_NE(loaded, nullptr);
  const Signature& signature = loaded->signature();
  EXPECT_EQ(signature.inputs[0].name, "first");
  EXPECT_EQ(signature.inputs[1].name, "c");
  EXPECT_EQ(signature.inputs[2].name, "b");
  EXPECT_EQ(signature.outputs[0].name, "total");
  EXPECT_EQ(signature.inputs[0].shape, Fixed({2, 3, 2, 2}));
  const std::vector<float> zeros(12), two(24);
  auto request = loaded->CreateInferRequest();
  const Shape one = {1, 3, 2, 2};
  EXPECT_EQ(Values<float>(Run(**request, {View(two, {2, 3, 2, 2}), View(zeros, one), View(zeros, one)})[0]),
            std::vector<float>(24, -1))
      << "the mean is taken from the input that is called b";
}

TEST_F(MappingTest, FaultsAreErrors) {
  EXPECT_THAT(Fault(R"({"inputs": )"), AllOf(HasSubstr("mapping_config.json"), HasSubstr("line 1")));
  EXPECT_THAT(Fault("[]"), HasSubstr("got an empty list"));
  EXPECT_THAT(Fault(R"({"input": {}})"), HasSubstr("got the key \"input\""));
  EXPECT_THAT(Fault(R"({"inputs": {"a": 1}})"), HasSubstr("inputs/\"a\": expected a name"));
  EXPECT_THAT(Fault(R"({"inputs": {"a": ""}})"), HasSubstr("not empty"));
  EXPECT_THAT(Fault(R"({"outputs": {"sum": "x", "b": "x"}})"), HasSubstr("\"x\" stands twice"));
  EXPECT_THAT(Fault(R"({"inputs": {"x": "y"}})"), AllOf(HasSubstr("names \"x\""), HasSubstr("a FP32 (1,3,2,2)")));
  EXPECT_THAT(Fault(R"({"inputs": {"a": "first"}})", {.shapes = {{"a", Fixed({1, 3, 2, 2})}}}),
              AllOf(HasSubstr("shape names \"a\""), HasSubstr("first FP32")));
}

}  // namespace
}  // namespace switchyard
