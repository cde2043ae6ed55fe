#include "runtime/openvino/memory_need.h"

#include <limits>

#include "runtime/openvino/test_models.h"

namespace switchyard {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

// 1000 weights of `type`, an input of 10 and an output of 1000 x 10 numbers in f32.
std::shared_ptr<ov::Model> Weighted(const ov::element::Type& type, ov::PartialShape input_shape = {1, 10}) {
  auto input = Input("b", std::move(input_shape));
  ov::Output<ov::Node> weights = ops::Constant::create(type, ov::Shape{1000, 1}, std::vector<float>(1000, 1));
  if (type != ov::element::f32) weights = std::make_shared<ops::Convert>(weights, ov::element::f32);
  return std::make_shared<ov::Model>(ov::OutputVector{Named(std::make_shared<ops::Add>(input, weights), "a")},
                                     ov::ParameterVector{input});
}

TEST(MemoryNeedTest, RealWeightsCountAtTheExecutionPrecision) {
  EXPECT_EQ(NeedOf(*Weighted(ov::element::f32), ov::element::f16, 1).constants, 2000u);
  EXPECT_EQ(NeedOf(*Weighted(ov::element::f32), ov::element::f32, 1).constants, 4000u);
  EXPECT_EQ(NeedOf(*Weighted(ov::element::f16), ov::element::f32, 1).constants, 4000u) << "f16 in the file alone";
  EXPECT_EQ(NeedOf(*Weighted(ov::element::i8), ov::element::f32, 1).constants, 1000u) << "stays compressed";
  EXPECT_EQ(NeedOf(*Weighted(ov::element::u4), ov::element::f32, 1).constants, 500u);
}

TEST(MemoryNeedTest, OneValueSpreadToAShapeIsAWeightOfThatShape) {
  auto input = Input("b", {1, 10});
  const auto one = ops::Constant::create(ov::element::f32, ov::Shape{}, {1.0f});
  const auto shape = ops::Constant::create(ov::element::i64, ov::Shape{2}, {1000, 10});
  const auto weights = std::make_shared<ov::op::v3::Broadcast>(one, shape);
  const ov::Model model(ov::OutputVector{Named(std::make_shared<ops::Add>(input, weights), "a")}, ov::ParameterVector{input});
  EXPECT_EQ(NeedOf(model, ov::element::f16, 1).constants, 20000u + 2 + 16);
}

TEST(MemoryNeedTest, TensorsCountForEachRequest) {
  const MemoryNeed need = NeedOf(*Weighted(ov::element::f32), ov::element::f32, 3);
  EXPECT_EQ(need.tensors_per_request, 4 * (10 + 10000u));
  EXPECT_EQ(need.total(), 4000 + 3 * 4 * (10 + 10000u));
  EXPECT_EQ(NeedOf(*Weighted(ov::element::f32, {-1, 10}), ov::element::f32, 1).tensors_per_request, 4 * (10 + 10000u))
      << "an open dimension is 1 at least";
  const auto bounded = Weighted(ov::element::f32, {1, ov::Dimension(5, 8)});
  EXPECT_EQ(NeedOf(*bounded, ov::element::f32, 1).tensors_per_request, 4 * (5 + 5000u)) << "at its smallest";
}

TEST(MemoryNeedTest, HugeNumbersDoNotWrapAround) {
  const int64_t huge = int64_t{1} << 40;
  const MemoryNeed need = NeedOf(*AddModel({huge, huge}), ov::element::f32, 1);
  EXPECT_EQ(need.total(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(CheckFits(need, "GPU.0", uint64_t{1} << 40, 0).code(), StatusCode::kResourceExhausted);
}

TEST(MemoryNeedTest, WhatAGpuComputesIn) {
  EXPECT_EQ(GpuPrecision({}), ov::element::f16);
  EXPECT_EQ(GpuPrecision({{"INFERENCE_PRECISION_HINT", "f32"}}), ov::element::f32);
  EXPECT_EQ(GpuPrecision({{"EXECUTION_MODE_HINT", "ACCURACY"}}), ov::element::f32);
  EXPECT_EQ(GpuPrecision({{"EXECUTION_MODE_HINT", "ACCURACY"}, {"INFERENCE_PRECISION_HINT", "f16"}}), ov::element::f16);
}

TEST(MemoryNeedTest, OwnUseCountsAndTheMessageHasTheFigures) {
  const MemoryNeed need{.constants = 600 * kMiB, .tensors_per_request = 100 * kMiB, .requests = 2};
  EXPECT_TRUE(CheckFits(need, "GPU.0", 800 * kMiB, 0).ok()) << "exactly";
  EXPECT_TRUE(CheckFits(need, "GPU.0", 1000 * kMiB, 200 * kMiB).ok());
  const Status status = CheckFits(need, "GPU.0", 1000 * kMiB, 201 * kMiB);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(status),
              AllOf(HasSubstr("GPU.0"), HasSubstr("at least 800.0 MiB"), HasSubstr("600.0 MiB of weights"),
                    HasSubstr("100.0 MiB of inputs and outputs for each of 2 requests"), HasSubstr("1000.0 MiB, of which"),
                    HasSubstr("201.0 MiB"), HasSubstr("fallback_devices"), HasSubstr("nireq")));
  EXPECT_FALSE(CheckFits(need, "GPU.0", 100 * kMiB, 300 * kMiB).ok()) << "more used than there is";
}

}  // namespace
}  // namespace switchyard
