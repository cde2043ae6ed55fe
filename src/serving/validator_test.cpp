#include "serving/validator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using testing::HasSubstr;

Signature TwoInputs() {
  Signature signature;
  signature.inputs = {{"b", ElementType::kFp32, {{Dimension::Fixed(1), Dimension::Fixed(10)}}, 0},
                      {"s", ElementType::kBytes, {{Dimension::Dynamic()}}, std::nullopt}};
  signature.outputs = {{"x", ElementType::kFp32, {}, std::nullopt}, {"y", ElementType::kFp32, {}, std::nullopt}};
  return signature;
}

class ValidatorTest : public testing::Test {
 protected:
  ValidatorTest() {
    call_->request.inputs = {{"s", {ElementType::kBytes, Shape{2}, nullptr, 0, strings_}},
                             {"b", {ElementType::kFp32, Shape{1, 10}, data_, 40}}};
  }
  TensorView& b() { return call_->request.inputs[1].tensor; }
  std::string Fault() {
    const Status status = ValidateAndBind(TwoInputs(), *call_);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return std::string(Message(status));
  }

  std::byte data_[80] = {};
  std::string_view strings_[2] = {"one", "two"};
  std::shared_ptr<InferCall> call_ = std::make_shared<InferCall>();
};

TEST_F(ValidatorTest, BindsInTheSignaturesOrderAndWantsAllOutputs) {
  ASSERT_TRUE(ValidateAndBind(TwoInputs(), *call_).ok());
  ASSERT_EQ(call_->bound_inputs.size(), 2u);
  EXPECT_EQ(call_->bound_inputs[0].data, data_);
  EXPECT_EQ(call_->bound_inputs[1].strings.size(), 2u);
  EXPECT_THAT(call_->wanted_outputs, testing::ElementsAre(0, 1));
}

TEST_F(ValidatorTest, RequestedOutputsInTheirOrderOnce) {
  call_->request.requested_outputs = {"y", "x", "y"};
  ASSERT_TRUE(ValidateAndBind(TwoInputs(), *call_).ok());
  EXPECT_THAT(call_->wanted_outputs, testing::ElementsAre(1, 0));
  call_->request.requested_outputs = {"z"};
  call_->wanted_outputs.clear();
  EXPECT_THAT(Fault(), HasSubstr("Expected one of: [x, y]; Actual: z"));
}

TEST_F(ValidatorTest, NumberOfInputs) {
  call_->request.inputs.pop_back();
  EXPECT_THAT(Fault(), HasSubstr("Invalid number of inputs - Expected: 2; Actual: 1"));
}

TEST_F(ValidatorTest, LongNamesAreCutBetweenCharacters) {
  std::string name = "x";
  for (int i = 0; i < 40; ++i) name += "\xC3\xA9";
  call_->request.inputs.push_back({name, {ElementType::kFp32, Shape{1, 10}, data_, 40}});
  EXPECT_THAT(Fault(), HasSubstr("\xC3\xA9..."));
}

TEST_F(ValidatorTest, MissingInput) {
  call_->request.inputs[1].name = "c";
  EXPECT_THAT(Fault(), HasSubstr("Missing input with specific name - Required input: b"));
}

TEST_F(ValidatorTest, Precision) {
  b().type = ElementType::kInt32;
  EXPECT_THAT(Fault(), HasSubstr("Invalid input precision - Expected: FP32; Actual: I32; input name: b"));
}

TEST_F(ValidatorTest, Rank) {
  b().shape = {1, 10, 1};
  EXPECT_THAT(Fault(), HasSubstr("Invalid number of shape dimensions - Expected: (1,10); Actual: (1,10,1)"));
}

TEST_F(ValidatorTest, Batch) {
  b().shape = {3, 10};
  EXPECT_THAT(Fault(), HasSubstr("Invalid input batch size - Expected: 1; Actual: 3"));
}

TEST_F(ValidatorTest, OtherDimensions) {
  b().shape = {1, 11};
  EXPECT_THAT(Fault(), HasSubstr("Invalid input shape - Expected: (1,10); Actual: (1,11); input name: b"));
  b().shape = {1, -10};
  EXPECT_THAT(Fault(), HasSubstr("Negative or zero dimension"));
}

TEST_F(ValidatorTest, ContentSizeAndValueCount) {
  b().bytes = 36;
  EXPECT_THAT(Fault(), HasSubstr("Invalid content size of tensor proto - Expected: 40 bytes; Actual: 36 bytes"));
  b().origin = TensorView::Origin::kValues;
  EXPECT_THAT(Fault(), HasSubstr("Invalid number of values in tensor proto container - Expected: 10; Actual: 9"));
}

TEST_F(ValidatorTest, StringCountAndOverflow) {
  call_->request.inputs[0].tensor.shape = {3};
  EXPECT_THAT(Fault(), HasSubstr("Invalid number of values in tensor proto container - Expected: 3; Actual: 2"));
  Signature any = TwoInputs();
  any.inputs[0].shape.dims = {Dimension::Dynamic(), Dimension::Dynamic()};
  b().shape = {int64_t{1} << 40, int64_t{1} << 40};
  EXPECT_THAT(std::string(Message(ValidateAndBind(any, *call_))), HasSubstr("too large: its size overflows"));
}

}  // namespace
}  // namespace switchyard
