#include "serving/batch_tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TensorSpec Spec(const std::string& name, ElementType type, size_t rank, size_t batch_dim) {
  return {.name = name, .type = type, .shape = {.dims = std::vector<Dimension>(rank)}, .batch_dim = batch_dim};
}

// A call with INT32 elements that count up from `first`.
std::shared_ptr<InferCall> Counting(const Shape& shape, int32_t first) {
  auto call = std::make_shared<InferCall>();
  const size_t count = *ElementCount(shape);
  Buffer memory = Buffer::Allocate(count * 4);
  auto* const values = reinterpret_cast<int32_t*>(memory.data());
  std::iota(values, values + count, first);
  call->bound_inputs.push_back(TensorView{ElementType::kInt32, shape, memory.data(), count * 4});
  call->request.memory.push_back(std::move(memory));
  return call;
}

std::vector<int32_t> Values(const std::byte* data, size_t bytes) {
  std::vector<int32_t> values(bytes / 4);
  std::memcpy(values.data(), data, bytes);
  return values;
}

OutputTensor AsOutput(const TensorView& view) {
  OutputTensor output{.type = view.type, .shape = view.shape, .data = view.data, .bytes = view.bytes};
  output.strings.assign(view.strings.begin(), view.strings.end());
  return output;
}

TEST(BatchTensorsTest, RowsStandBehindEachOther) {
  const Signature signature{.inputs = {Spec("x", ElementType::kInt32, 2, 0)}};
  InferCall batch;
  EXPECT_TRUE(JoinInputs(signature, {Counting({1, 2}, 0), Counting({2, 2}, 10)}, 3, batch).ok());
  const TensorView& whole = batch.bound_inputs[0];
  EXPECT_EQ(whole.shape, (Shape{3, 2}));
  EXPECT_THAT(Values(whole.data, whole.bytes), ElementsAre(0, 1, 10, 11, 12, 13));
  const auto part = SliceOutput(signature.inputs[0], AsOutput(whole), 1, 2, 3);
  ASSERT_TRUE(part.ok());
  EXPECT_EQ(part->shape, (Shape{2, 2}));
  EXPECT_EQ(part->data, whole.data + 8) << "a view, no copy";
  EXPECT_THAT(Values(part->data, part->bytes), ElementsAre(10, 11, 12, 13));
}

TEST(BatchTensorsTest, TheBatchMayBeAnyDimension) {
  const Signature signature{.inputs = {Spec("x", ElementType::kInt32, 3, 1)}};
  InferCall batch;
  EXPECT_TRUE(JoinInputs(signature, {Counting({2, 1, 2}, 0), Counting({2, 2, 2}, 10)}, 3, batch).ok());
  const TensorView& whole = batch.bound_inputs[0];
  EXPECT_EQ(whole.shape, (Shape{2, 3, 2}));
  EXPECT_THAT(Values(whole.data, whole.bytes), ElementsAre(0, 1, 10, 11, 12, 13, 2, 3, 14, 15, 16, 17));
  const auto first = SliceOutput(signature.inputs[0], AsOutput(whole), 0, 1, 3);
  const auto second = SliceOutput(signature.inputs[0], AsOutput(whole), 1, 2, 3);
  EXPECT_THAT(Values(first->data, first->bytes), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Values(second->data, second->bytes), ElementsAre(10, 11, 12, 13, 14, 15, 16, 17));
}

TEST(BatchTensorsTest, ABatchThatIsTooSmallIsFilledWithZeros) {
  const Signature signature{.inputs = {Spec("x", ElementType::kInt32, 2, 1)}};
  InferCall batch;
  EXPECT_TRUE(JoinInputs(signature, {Counting({2, 1}, 7), Counting({2, 1}, 1)}, 4, batch).ok());
  const TensorView& whole = batch.bound_inputs[0];
  EXPECT_THAT(Values(whole.data, whole.bytes), ElementsAre(7, 1, 0, 0, 8, 2, 0, 0));
}

TEST(BatchTensorsTest, OneCallThatFillsTheBatchIsNotCopied) {
  const Signature signature{.inputs = {Spec("x", ElementType::kInt32, 2, 0)}};
  InferCall batch;
  const auto call = Counting({2, 2}, 0);
  EXPECT_TRUE(JoinInputs(signature, {call}, 2, batch).ok());
  EXPECT_EQ(batch.bound_inputs[0].data, call->bound_inputs[0].data);
}

TEST(BatchTensorsTest, Strings) {
  const Signature signature{.inputs = {Spec("x", ElementType::kBytes, 2, 0)}};
  static constexpr std::string_view kOne[] = {"a", ""};
  static constexpr std::string_view kTwo[] = {"b", "c", "d", "e"};
  const auto one = std::make_shared<InferCall>();
  one->bound_inputs.push_back(TensorView{.type = ElementType::kBytes, .shape = {1, 2}, .strings = kOne});
  const auto two = std::make_shared<InferCall>();
  two->bound_inputs.push_back(TensorView{.type = ElementType::kBytes, .shape = {2, 2}, .strings = kTwo});
  InferCall batch;
  EXPECT_TRUE(JoinInputs(signature, {one, two}, 4, batch).ok());
  EXPECT_THAT(batch.bound_inputs[0].strings, ElementsAre("a", "", "b", "c", "d", "e", "", ""));
  const auto part = SliceOutput(signature.inputs[0], AsOutput(batch.bound_inputs[0]), 1, 2, 4);
  EXPECT_THAT(part->strings, ElementsAre("b", "c", "d", "e"));
}

TEST(BatchTensorsTest, AnOutputWithoutItsRowsIsAnError) {
  const TensorSpec spec = Spec("y", ElementType::kInt32, 1, 0);
  const auto part = SliceOutput(spec, OutputTensor{.type = ElementType::kInt32, .shape = {1}, .bytes = 4}, 0, 1, 3);
  EXPECT_EQ(part.status().code(), StatusCode::kInternal);
  EXPECT_THAT(part.status().ToString(), HasSubstr("Output y has the shape (1) for a batch of 3 rows"));
  EXPECT_FALSE(SliceOutput(spec, OutputTensor{.type = ElementType::kInt32}, 0, 1, 1).ok()) << "a scalar";
}

TEST(BatchTensorsTest, InputsOfOneCallMustAgree) {
  const Signature signature{.inputs = {Spec("x", ElementType::kInt32, 2, 0), Spec("y", ElementType::kInt32, 2, 1)}};
  InferCall call;
  call.bound_inputs = {TensorView{.shape = {2, 9}}, TensorView{.shape = {9, 2}}};
  EXPECT_EQ(*RowsOf(signature, call), 2u);
  call.bound_inputs[1].shape = {2, 9};
  EXPECT_THAT(RowsOf(signature, call).status().ToString(), HasSubstr("Expected: 2, as of input x; Actual: 9; input name: y"));
}

TEST(BatchTensorsTest, OtherShapesDoNotJoin) {
  const Signature signature{.inputs = {Spec("x", ElementType::kInt32, 2, 0)}};
  InferCall a, b;
  a.bound_inputs = {TensorView{.shape = {2, 9}}};
  b.bound_inputs = {TensorView{.shape = {1, 9}}};
  EXPECT_TRUE(MayJoin(signature, a, b));
  b.bound_inputs[0].shape = {1, 8};
  EXPECT_FALSE(MayJoin(signature, a, b));
}

}  // namespace
}  // namespace switchyard
