#include <cstring>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kserve.pb.h"
#include "protocol/kserve/grpc_codec.h"
#include "protocol/kserve/metadata.h"
#include "protocol/test_version.h"

namespace switchyard::kserve {
namespace {

using inference::ModelInferResponse;
using testing::ElementsAre;

class EncodeTest : public testing::Test {
 protected:
  EncodeTest() {
    call_.version = version_.Acquire();
    call_.request.id = "req-1";
  }
  // Adds an output with the elements given.
  template <typename T>
  void Add(const std::string& name, ElementType type, Shape shape, std::vector<T> values) {
    auto owner = std::make_shared<std::vector<T>>(std::move(values));
    specs_.push_back(std::make_unique<TensorSpec>(TensorSpec{name, type}));
    OutputTensor tensor{
        type, std::move(shape), reinterpret_cast<const std::byte*>(owner->data()), owner->size() * sizeof(T), {}, owner};
    call_.outputs.push_back({specs_.back().get(), std::move(tensor)});
  }
  void AddStrings(const std::string& name, std::vector<std::string> strings) {
    specs_.push_back(std::make_unique<TensorSpec>(TensorSpec{name, ElementType::kBytes}));
    OutputTensor tensor{ElementType::kBytes, {static_cast<int64_t>(strings.size())}};
    tensor.strings = std::move(strings);
    call_.outputs.push_back({specs_.back().get(), std::move(tensor)});
  }

  TestVersion version_{"dummy", 3};
  std::vector<std::unique_ptr<TensorSpec>> specs_;
  InferCall call_;
};

TEST_F(EncodeTest, WritesWhatClientsRead) {
  Add<float>("a", ElementType::kFp32, {1, 2}, {1.5f, 2});
  Add<int64_t>("n", ElementType::kInt64, {}, {-1});
  Add<float>("none", ElementType::kFp32, {0, 300}, {});
  AddStrings("s", {"one", "", "three"});
  const Frame frame = EncodeInferResponse(call_);
  EXPECT_EQ(frame.segments().size(), 1u);
  ModelInferResponse response;
  ASSERT_TRUE(response.ParseFromString(frame.Flatten()));
  EXPECT_EQ(response.model_name(), "dummy");
  EXPECT_EQ(response.model_version(), "3");
  EXPECT_EQ(response.id(), "req-1");
  ASSERT_EQ(response.outputs_size(), 4);
  ASSERT_EQ(response.raw_output_contents_size(), 4);
  EXPECT_EQ(response.outputs(0).name(), "a");
  EXPECT_EQ(response.outputs(0).datatype(), "FP32");
  EXPECT_THAT(response.outputs(0).shape(), ElementsAre(1, 2));
  EXPECT_THAT(response.outputs(1).shape(), ElementsAre());
  EXPECT_THAT(response.outputs(2).shape(), ElementsAre(0, 300));
  EXPECT_EQ(response.outputs(3).datatype(), "BYTES");
  const float expected[] = {1.5f, 2};
  EXPECT_EQ(response.raw_output_contents(0), std::string(reinterpret_cast<const char*>(expected), sizeof(expected)));
  EXPECT_EQ(response.raw_output_contents(1), std::string(8, '\xff'));
  EXPECT_EQ(response.raw_output_contents(2), "");
  EXPECT_EQ(response.raw_output_contents(3), std::string("\3\0\0\0one\0\0\0\0\5\0\0\0three", 20));
}

TEST_F(EncodeTest, LargeTensorsAreReferredTo) {
  std::vector<int32_t> values(5000);
  std::iota(values.begin(), values.end(), 0);
  Add<int32_t>("large", ElementType::kInt32, {5000}, values);
  Add<int32_t>("small", ElementType::kInt32, {1}, {9});
  const std::byte* const data = call_.outputs[0].tensor.data;
  const Frame frame = EncodeInferResponse(call_);
  ASSERT_EQ(frame.segments().size(), 3u);
  EXPECT_EQ(frame.segments()[1].data, data);
  call_.outputs.clear();
  ModelInferResponse response;
  ASSERT_TRUE(response.ParseFromString(frame.Flatten()));
  EXPECT_EQ(response.raw_output_contents(0), std::string(reinterpret_cast<const char*>(values.data()), 20000));
  EXPECT_EQ(response.raw_output_contents(1), std::string("\x09\0\0\0", 4));
}

TEST_F(EncodeTest, StreamAnswersCarryTheSameOrTheError) {
  Add<uint8_t>("large", ElementType::kUint8, {10000}, std::vector<uint8_t>(10000, 7));
  const Frame frame = EncodeStreamResponse(call_);
  inference::ModelStreamInferResponse response;
  ASSERT_TRUE(response.ParseFromString(frame.Flatten()));
  EXPECT_EQ(response.error_message(), "");
  EXPECT_TRUE(response.infer_response().parameters().at("triton_final_response").bool_param());
  response.mutable_infer_response()->clear_parameters();
  EXPECT_EQ(response.infer_response().SerializeAsString(), EncodeInferResponse(call_).Flatten());
  ASSERT_TRUE(response.ParseFromString(EncodeStreamError(InvalidArgument("no such input"), "req-2").Flatten()));
  EXPECT_EQ(response.error_message(), "no such input");
  EXPECT_EQ(response.infer_response().id(), "req-2");
  ASSERT_TRUE(response.ParseFromString(EncodeStreamError(InvalidArgument("no such input"), "").Flatten()));
  EXPECT_TRUE(response.has_infer_response());
  // Clients refuse the whole message, and with it the stream, for one byte that is not UTF-8.
  ASSERT_TRUE(response.ParseFromString(EncodeStreamError(InvalidArgument("cut \xC3"), "").Flatten()));
  EXPECT_EQ(response.error_message(), "cut \xEF\xBF\xBD");
}

TEST(ParseVersionTest, EmptyAndZeroAreTheDefault) {
  EXPECT_EQ(ParseVersion("").number, std::nullopt);
  EXPECT_EQ(ParseVersion("0").number, std::nullopt);
  EXPECT_EQ(ParseVersion("12").number, 12);
  EXPECT_EQ(ParseVersion("-2").number, -2);
  EXPECT_EQ(ParseVersion(" 1").label.name, " 1");
  EXPECT_EQ(ParseVersion("1.0").label.name, "1.0");
  EXPECT_TRUE(ParseVersion("stable").label.or_number);
  // Longer than any version's number: nobody's label, and told as it came.
  EXPECT_EQ(ParseVersion("99999999999999999999").number, std::nullopt);
  EXPECT_EQ(ParseVersion("99999999999999999999").label.name, "99999999999999999999");
  EXPECT_TRUE(ParseVersion("99999999999999999999").label.or_number);
}

TEST_F(EncodeTest, WhatLiesInSharedMemoryIsNamedAndNotSent) {
  Add<float>("here", ElementType::kFp32, {2}, {1, 2});
  Add<float>("there", ElementType::kFp32, {1, 2}, {3, 4});
  Add<float>("last", ElementType::kFp32, {1}, {5});
  const SharedPlace place{.region = "r", .offset = 64, .bytes = 100};
  call_.outputs[1].shared = &place;
  ModelInferResponse response;
  ASSERT_TRUE(response.ParseFromString(EncodeInferResponse(call_).Flatten()));
  ASSERT_EQ(response.outputs_size(), 3);
  ASSERT_EQ(response.raw_output_contents_size(), 3);
  EXPECT_EQ(response.raw_output_contents(0).size(), 8u);
  EXPECT_EQ(response.raw_output_contents(1), "");
  EXPECT_EQ(response.raw_output_contents(2).size(), 4u);
  const auto& parameters = response.outputs(1).parameters();
  EXPECT_EQ(parameters.at("shared_memory_region").string_param(), "r");
  EXPECT_EQ(parameters.at("shared_memory_byte_size").int64_param(), 8);
  EXPECT_EQ(parameters.at("shared_memory_offset").int64_param(), 64);
  EXPECT_THAT(response.outputs(1).shape(), ElementsAre(1, 2));
  EXPECT_TRUE(response.outputs(0).parameters().empty());
}

}  // namespace
}  // namespace switchyard::kserve
