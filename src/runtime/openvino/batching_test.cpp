// Models with dynamic_batching: what becomes of their batch, and which are refused.
#include "runtime/openvino/batching.h"

#include "runtime/openvino/test_models.h"

namespace switchyard {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

ModelSettings Batching(uint32_t max_batch_size) {
  ModelSettings settings;
  settings.dynamic_batching = DynamicBatching{.max_batch_size = max_batch_size};
  return settings;
}

std::shared_ptr<ov::Model> ReshapedModel(const std::vector<int64_t>& target) {
  auto input = Input("b", {1, 10});
  auto shape = ops::Constant::create(ov::element::i64, {target.size()}, target);
  auto reshaped = std::make_shared<ops::Reshape>(input, shape, true);
  reshaped->set_friendly_name("flatten");
  return std::make_shared<ov::Model>(ov::OutputVector{Named(reshaped, "a")}, ov::ParameterVector{input});
}

class OpenVinoBatchingTest : public OpenVinoTest {
 protected:
  std::string Refusal(const std::shared_ptr<ov::Model>& model, ModelSettings settings) {
    const auto loaded = runtime_->Load(Request(Save(model), std::move(settings)));
    EXPECT_EQ(loaded.status().code(), StatusCode::kInvalidArgument) << loaded.status();
    return std::string(Message(loaded.status()));
  }
};

TEST_F(OpenVinoBatchingTest, TheBatchVariesUpToTheLimit) {
  for (const int64_t own : {1, 7, -1}) {
    const auto loaded = Load(AddModel({own, 10}), Batching(4));
    ASSERT_NE(loaded, nullptr);
    EXPECT_EQ(loaded->signature().inputs[0].shape.dims[0], (Dimension{1, 4})) << own;
    EXPECT_EQ(loaded->signature().outputs[0].shape.dims[0], (Dimension{1, 4})) << own;
    const auto request = *loaded->CreateInferRequest();
    for (const int64_t rows : {3, 1, 4}) {
      const std::vector<float> values(static_cast<size_t>(rows) * 10, 2.0f);
      const auto outputs = Run(*request, {View(values, {rows, 10})});
      EXPECT_EQ(outputs[0].shape, (Shape{rows, 10}));
      EXPECT_THAT(Values<float>(outputs[0]), ::testing::Each(3.0f));
    }
  }
}

TEST_F(OpenVinoBatchingTest, TheLayoutTellsWhereTheBatchIs) {
  ModelSettings settings = Batching(4);
  settings.layouts = {{"b", {.tensor = "", .model = "CN"}}, {"a", {.tensor = "", .model = "CN"}}};
  const auto loaded = Load(AddModel({10, 1}), settings);
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(loaded->signature().inputs[0].shape.dims[1], (Dimension{1, 4}));
  EXPECT_EQ(loaded->signature().outputs[0].batch_dim, 1u);
}

TEST_F(OpenVinoBatchingTest, AShapeOfAnyOtherDimensionStays) {
  ModelSettings settings = Batching(4);
  settings.shapes = {{"", {.dims = {Dimension::Fixed(1), Dimension::Dynamic()}}}};
  const auto loaded = Load(AddModel({1, 10}), settings);
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(loaded->signature().inputs[0].shape, (PartialShape{.dims = {{1, 4}, Dimension::Dynamic()}}));
}

TEST_F(OpenVinoBatchingTest, ABatchSizeStaysFixed) {
  ModelSettings settings = Batching(4);
  settings.batch_size = Dimension::Fixed(4);
  const auto loaded = Load(AddModel({1, 10}), settings);
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(loaded->signature().inputs[0].shape.ToShape(), (Shape{4, 10}));
  settings.dynamic_batching->max_batch_size = 5;
  EXPECT_THAT(Refusal(AddModel({1, 10}), settings),
              HasSubstr("max_batch_size is 5, and batch_size fixes the batch at 4 rows; give both the same number"));
}

TEST_F(OpenVinoBatchingTest, WhatTakesOneBatchAloneIsRefusedWithTheRemedy) {
  auto input = Input("b", {1, 10});
  const auto constant = ops::Constant::create(ov::element::f32, {1, 3}, {1.0f, 2.0f, 3.0f});
  const auto joined = std::make_shared<ops::Concat>(ov::OutputVector{input, constant}, 1);
  joined->set_friendly_name("join");
  const auto model = std::make_shared<ov::Model>(ov::OutputVector{Named(joined, "a")}, ov::ParameterVector{input});
  const std::string refusal = Refusal(model, Batching(4));
  EXPECT_THAT(refusal, AllOf(HasSubstr("b FP32 (1,10)"), HasSubstr("takes no batch that varies: layer \"join\""),
                             HasSubstr("or give batch_size, the number of rows that it takes")));
  EXPECT_EQ(Load(ReshapedModel({-1, 10}), Batching(4))->signature().outputs[0].shape.dims[0], (Dimension{1, 4}));
}

TEST_F(OpenVinoBatchingTest, OutputsWithoutTheRowsAreRefused) {
  EXPECT_THAT(
      Refusal(ReshapedModel({1, -1}), Batching(4)),
      AllOf(HasSubstr("output \"a\" has the shape (1,20) for a batch of 2 rows"), HasSubstr("remove dynamic_batching")));
  ModelSettings fixed = Batching(4);
  fixed.batch_size = Dimension::Fixed(4);
  EXPECT_THAT(Refusal(ReshapedModel({1, -1}), fixed), HasSubstr("output \"a\" has the shape (1,40) for a batch of 4 rows"));
}

TEST_F(OpenVinoBatchingTest, AnInputWithoutABatchIsRefused) {
  auto b = Input("b", {1, 10}), factor = Input("factor", {});
  const auto product = std::make_shared<ops::Multiply>(b, factor);
  const auto model = std::make_shared<ov::Model>(ov::OutputVector{Named(product, "a")}, ov::ParameterVector{b, factor});
  EXPECT_THAT(Refusal(model, Batching(4)), HasSubstr("input \"factor\" has no batch dimension"));
}

TEST_F(OpenVinoBatchingTest, AModelWithStateIsRefused) {
  auto input = Input("b", {1, 10});
  const auto variable =
      std::make_shared<ov::op::util::Variable>(ov::op::util::VariableInfo{ov::PartialShape{1, 10}, ov::element::f32, "memory"});
  const auto read = std::make_shared<ops::ReadValue>(input, variable);
  const auto sum = std::make_shared<ops::Add>(read, input);
  const auto write = std::make_shared<ops::Assign>(sum, variable);
  const auto model = std::make_shared<ov::Model>(ov::OutputVector{Named(sum, "a")}, ov::SinkVector{write},
                                                 ov::ParameterVector{input}, ov::op::util::VariableVector{variable});
  EXPECT_THAT(Refusal(model, Batching(4)), HasSubstr("keeps state between calls (variable \"memory\")"));
}

}  // namespace
}  // namespace switchyard
