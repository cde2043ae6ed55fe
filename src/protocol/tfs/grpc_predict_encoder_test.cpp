#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/test_version.h"
#include "protocol/tfs/grpc_codec.h"
#include "protocol/tfs/model_state.h"
#include "tensorflow_serving.pb.h"

namespace switchyard::tfs {
namespace {

using tensorflow::serving::PredictResponse;
using testing::ElementsAre;

// Adds an output with the elements given to `call`; `specs` keeps its spec.
template <typename T>
void Add(InferCall& call, std::vector<std::unique_ptr<TensorSpec>>& specs, const std::string& name, ElementType type,
         Shape shape, std::vector<T> values) {
  auto owner = std::make_shared<std::vector<T>>(std::move(values));
  specs.push_back(std::make_unique<TensorSpec>(TensorSpec{name, type}));
  OutputTensor tensor{type, std::move(shape), reinterpret_cast<const std::byte*>(owner->data()), owner->size() * sizeof(T), {},
                      owner};
  call.outputs.push_back({specs.back().get(), std::move(tensor)});
}

TEST(EncodePredictResponseTest, WritesWhatClientsRead) {
  TestVersion version("dummy", 300);
  std::vector<std::unique_ptr<TensorSpec>> specs;
  InferCall call;
  call.version = version.Acquire();
  std::vector<int32_t> large(5000);
  std::iota(large.begin(), large.end(), 0);
  Add<float>(call, specs, "a", ElementType::kFp32, {1, 2}, {1.5f, 2});
  Add<int32_t>(call, specs, "large", ElementType::kInt32, {5, 1000}, large);
  Add<uint16_t>(call, specs, "half", ElementType::kFp16, {}, {0x3C00});
  specs.push_back(std::make_unique<TensorSpec>(TensorSpec{"s", ElementType::kBytes}));
  OutputTensor strings{ElementType::kBytes, {2, 1}};
  strings.strings = {"one", ""};
  call.outputs.push_back({specs.back().get(), strings});

  const Frame frame = EncodePredictResponse(call);
  ASSERT_EQ(frame.segments().size(), 3u);
  EXPECT_EQ(frame.segments()[1].data, call.outputs[1].tensor.data);
  PredictResponse response;
  ASSERT_TRUE(response.ParseFromString(frame.Flatten()));
  EXPECT_EQ(response.model_spec().name(), "dummy");
  EXPECT_EQ(response.model_spec().version().value(), 300);
  EXPECT_EQ(response.model_spec().signature_name(), "serving_default");
  ASSERT_EQ(response.outputs_size(), 4);
  const auto& a = response.outputs().at("a");
  EXPECT_EQ(a.dtype(), tensorflow::DT_FLOAT);
  ASSERT_EQ(a.tensor_shape().dim_size(), 2);
  EXPECT_EQ(a.tensor_shape().dim(1).size(), 2);
  const float values[] = {1.5f, 2};
  EXPECT_EQ(a.tensor_content(), std::string(reinterpret_cast<const char*>(values), sizeof(values)));
  EXPECT_EQ(response.outputs().at("large").tensor_content(), std::string(reinterpret_cast<const char*>(large.data()), 20000));
  EXPECT_EQ(response.outputs().at("half").dtype(), tensorflow::DT_HALF);
  EXPECT_TRUE(response.outputs().at("half").has_tensor_shape());
  EXPECT_EQ(response.outputs().at("half").tensor_content(), std::string("\0\x3C", 2));
  EXPECT_EQ(response.outputs().at("s").dtype(), tensorflow::DT_STRING);
  EXPECT_THAT(response.outputs().at("s").string_val(), ElementsAre("one", ""));
  EXPECT_EQ(response.outputs().at("s").tensor_shape().dim_size(), 2);
}

TEST(ReportTest, StatesAreTensorFlowServings) {
  using tensorflow::serving::ModelVersionStatus;
  for (const VersionState state : {VersionState::kWanted, VersionState::kLoading, VersionState::kAvailable,
                                   VersionState::kUnloading, VersionState::kGone, VersionState::kFailed}) {
    const bool failed = state == VersionState::kFailed;
    const ReportedVersion reported = Report({1, state, failed ? InvalidArgument("broken") : absl::OkStatus()});
    EXPECT_EQ(ModelVersionStatus::State_Name(static_cast<ModelVersionStatus::State>(reported.state)), reported.state_name);
    EXPECT_EQ(tensorflow::error::Code_Name(static_cast<tensorflow::error::Code>(reported.error_code)), reported.error_name);
    EXPECT_EQ(reported.error_message, failed ? "broken" : "OK");
  }
  const ReportedVersion waits = Report({2, VersionState::kLoading, absl::UnavailableError("device GPU.0 is lost")});
  EXPECT_EQ(waits.error_name, "UNAVAILABLE");
  EXPECT_EQ(waits.error_message, "device GPU.0 is lost");
  const ReportedVersion kept = Report({2, VersionState::kAvailable, absl::InternalError("the new one is corrupt")});
  EXPECT_EQ(kept.error_name, "OK");
  EXPECT_EQ(kept.error_message, "the new one is corrupt");
  EXPECT_EQ(Report({2, VersionState::kAvailable, {}}).state, ModelVersionStatus::AVAILABLE);
  EXPECT_EQ(Report({2, VersionState::kFailed, InvalidArgument("broken")}).state, ModelVersionStatus::END);
}

}  // namespace
}  // namespace switchyard::tfs
