// Calls whose tensors lie in shared memory: through the validator, the Executor, its retries, and the Batcher.
#include "serving/shared_tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/test_shared_object.h"
#include "device/fault.h"
#include "runtime/fake/fake_runtime.h"
#include "serving/executor.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr size_t kIn = 0;      // bytes of the region where the input lies
constexpr size_t kOut = 1024;  // where the output does
constexpr size_t kBytes = 40;  // of each
const Status kLost = MarkFault(absl::UnavailableError("CL_OUT_OF_RESOURCES"), Fault::kDevice);

// A call of the dummy model with its input, its output or both in region "r".
struct SharedCall {
  std::shared_ptr<InferCall> call = std::make_shared<InferCall>();
  std::shared_ptr<Answer> answer = std::make_shared<Answer>();
  std::vector<float> own = std::vector<float>(10, 5);

  explicit SharedCall(bool shared_output = true, SharedPlace in = {"r", kIn, kBytes}, SharedPlace out = {"r", kOut, kBytes}) {
    DecodedRequest& request = call->request;
    request.inputs.push_back(NamedTensor{"b", TensorView{.type = ElementType::kFp32, .shape = {1, 10}}});
    request.shared = std::make_unique<SharedTensors>();
    request.shared->inputs.push_back({.index = 0, .place = std::move(in)});
    if (shared_output) {
      request.requested_outputs = {"a"};
      request.shared->outputs.push_back({.index = 0, .place = std::move(out)});
    }
    call->on_done = [answer = answer](InferCall& done, const Status& status) {
      answer->status = status;
      if (status.ok()) {
        const NamedOutput& output = done.outputs.at(0);
        EXPECT_EQ(output.shared != nullptr, !done.request.shared->outputs.empty());
        const auto* data = reinterpret_cast<const float*>(output.tensor.data);
        answer->values.assign(data, data + output.tensor.bytes / sizeof(float));
      }
      answer->done.Notify();
    };
  }
  bool done() const { return answer->done.HasBeenNotified(); }
  std::string error() const { return std::string(answer->status.message()); }
};

class SharedTensorsTest : public testing::Test {
 protected:
  void SetUp() override { Load({"CPU"}); }

  void Load(const std::vector<std::string>& devices, std::optional<DynamicBatching> batching = {},
            const Signature& signature = DummySignature()) {
    TearDownVersion();
    runtime_.Update("dummy", [&](FakeRuntime::Script& script) { script.signature = signature; });
    executor_ = std::make_shared<Executor>(timer_, Executor::Options{.model_name = "dummy"});
    std::vector<std::shared_ptr<Lane>> lanes;
    for (const std::string& device : devices) lanes.push_back(MakeTestLane(device));
    lanes_ = lanes;
    executor_->SetRoute({.lanes = lanes});
    ModelSettings settings{.name = "dummy"};
    settings.dynamic_batching = batching;
    slot_ = std::make_shared<VersionSlot>(std::make_unique<Version>(settings, 1, signature, executor_, nullptr, nullptr,
                                                                    DecodeOptions{.shared_memory = &regions_}),
                                          [](VersionSlot&) {});
  }
  std::shared_ptr<Lane> MakeTestLane(const std::string& device) {
    auto model = *runtime_.Load(LoadRequest{.settings = ModelSettings{.name = "dummy"}, .target = device});
    std::vector<std::unique_ptr<InferRequest>> requests;
    requests.push_back(*model->CreateInferRequest());
    return std::make_shared<Lane>(model, std::move(requests),
                                  Lane::Options{.target = device, .device = device, .devices = {device}});
  }
  void TearDownVersion() {
    runtime_.CompleteAll();
    if (slot_ != nullptr) {
      slot_->Close();
      slot_->Destroy();
    }
    executor_.reset();
    lanes_.clear();
  }
  void TearDown() override {
    TearDownVersion();
    EXPECT_THAT(runtime_.violations(), IsEmpty());
    EXPECT_EQ(runtime_.live_requests(), 0u);
  }
  void Register() { ASSERT_TRUE(regions_.Register({"r", object_.key(), 0, 4096}).ok()); }
  void Fill(float value, size_t at = kIn) { std::fill_n(object_.As<float>(at), 10, value); }
  std::vector<float> Output(size_t at = kOut) const { return {object_.As<float>(at), object_.As<float>(at) + 10}; }
  template <typename Call>
  void Run(const Call& call) {
    ASSERT_TRUE(slot_->Acquire());
    Infer(Handle(slot_), call.call);
  }
  Status Fails(const SharedCall& call) {
    Run(call);
    EXPECT_TRUE(call.done());
    return call.answer->status;
  }

  const TestSharedObject object_{4096};
  SharedRegions regions_;
  FakeRuntime runtime_;
  ManualTimer timer_;
  std::shared_ptr<Executor> executor_;
  std::vector<std::shared_ptr<Lane>> lanes_;
  std::shared_ptr<VersionSlot> slot_;
};

TEST_F(SharedTensorsTest, TheDeviceReadsAndWritesTheRegion) {
  Register();
  const std::byte* read = nullptr;
  runtime_.Update("dummy", [&](FakeRuntime::Script& script) {
    script.compute = [&](absl::Span<const TensorView> inputs) -> StatusOr<std::vector<OutputTensor>> {
      read = inputs[0].data;
      return std::vector<OutputTensor>{
          {.type = ElementType::kFp32, .shape = {1, 10}, .data = inputs[0].data, .bytes = inputs[0].bytes}};
    };
  });
  Fill(3);
  const SharedCall call;
  Run(call);
  EXPECT_FALSE(call.done());
  runtime_.CompleteAll();
  ASSERT_TRUE(call.answer->status.ok()) << call.answer->status;
  EXPECT_THAT(Output(), Each(3.0f));
  EXPECT_EQ(read, call.call->request.shared->regions[0].data() + kIn);
  const NamedOutput& output = call.call->outputs[0];
  EXPECT_EQ(output.tensor.data, call.call->request.shared->regions[0].data() + kOut);
  EXPECT_EQ(output.tensor.bytes, kBytes);
  EXPECT_EQ(output.shared->region, "r");
}

TEST_F(SharedTensorsTest, OneOfThemAlone) {
  Register();
  Fill(3);
  const SharedCall input(false);
  Run(input);
  runtime_.CompleteAll();
  EXPECT_THAT(input.answer->values, Each(4.0f));
  // The input in the request, the output in the region.
  SharedCall output;
  output.call->request.shared->inputs.clear();
  output.call->request.inputs[0].tensor.data = reinterpret_cast<const std::byte*>(output.own.data());
  output.call->request.inputs[0].tensor.bytes = kBytes;
  Run(output);
  runtime_.CompleteAll();
  EXPECT_THAT(Output(), Each(6.0f));
}

TEST_F(SharedTensorsTest, PlacesThatCannotBe) {
  EXPECT_THAT(std::string(Fails(SharedCall()).message()), HasSubstr("There is no shared memory region r"));
  Register();
  constexpr uint64_t kMax = ~uint64_t{0};
  for (const SharedPlace& place :
       {SharedPlace{"r", 4096, kBytes}, SharedPlace{"r", 4057, kBytes}, SharedPlace{"r", kMax, kBytes},
        SharedPlace{"r", kMax - 20, kBytes}, SharedPlace{"r", 8, kMax}, SharedPlace{"r", 0, 4097}}) {
    const Status input = Fails(SharedCall(true, place));
    EXPECT_EQ(input.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(input.message()), HasSubstr("within the 4096 bytes of region r")) << place.offset;
    EXPECT_THAT(std::string(Fails(SharedCall(true, {"r", kIn, kBytes}, place)).message()), HasSubstr("output name: a"));
  }
  // Within the region, but not what the model takes and gives.
  EXPECT_THAT(std::string(Fails(SharedCall(true, {"r", 0, 44})).message()), HasSubstr("Expected: 40 bytes; Actual: 44 bytes"));
  EXPECT_THAT(std::string(Fails(SharedCall(true, {"r", 0, 40}, {"r", 1024, 39})).message()),
              HasSubstr("at least 40 bytes (shared_memory_byte_size); Actual: 39 bytes in region r; output name: a"));
  EXPECT_EQ(runtime_.async_starts(), 0u);
}

TEST_F(SharedTensorsTest, OffUnlessTheServerAllowsIt) {
  InferCall call;
  EXPECT_TRUE(ResolveShared(nullptr, call).ok());
  call.request.shared = std::make_unique<SharedTensors>();
  const Status off = ResolveShared(nullptr, call);
  EXPECT_EQ(off.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(off.message()), HasSubstr("--allow_shared_memory"));
}

TEST_F(SharedTensorsTest, WhatIsNotAlignedIsCopied) {
  Register();
  const std::vector<float> threes(10, 3);
  std::memcpy(object_.data() + 1, threes.data(), kBytes);
  const SharedCall call(true, {"r", 1, kBytes}, {"r", 1026, 100});
  Run(call);
  runtime_.CompleteAll();
  ASSERT_TRUE(call.answer->status.ok()) << call.answer->status;
  std::vector<float> output(10);
  std::memcpy(output.data(), object_.data() + 1026, kBytes);
  EXPECT_THAT(output, Each(4.0f));
  EXPECT_EQ(call.call->outputs[0].tensor.bytes, kBytes);
}

TEST_F(SharedTensorsTest, IndicesAndStringsDoNotChangeUnderTheModel) {
  const PartialShape shape = {.dims = {Dimension::Fixed(2)}};
  Load({"CPU"}, {},
       {.inputs = {{.name = "i", .type = ElementType::kInt64, .shape = shape},
                   {.name = "s", .type = ElementType::kBytes, .shape = shape}},
        .outputs = {{.name = "i", .type = ElementType::kInt64, .shape = shape},
                    {.name = "s", .type = ElementType::kBytes, .shape = shape}}});
  Register();
  object_.As<int64_t>()[0] = 1;
  object_.As<int64_t>()[1] = 2;
  const std::string raw("\3\0\0\0abc\0\0\0\0", 11);
  std::memcpy(object_.data() + 100, raw.data(), raw.size());
  SharedCall call;
  DecodedRequest& request = call.call->request;
  request.inputs.clear();
  request.inputs.push_back({"i", TensorView{.type = ElementType::kInt64, .shape = {2}}});
  request.inputs.push_back({"s", TensorView{.type = ElementType::kBytes, .shape = {2}}});
  request.requested_outputs = {"i", "s"};
  request.shared->inputs = {{.index = 0, .place = {"r", 0, 16}}, {.index = 1, .place = {"r", 100, 50}}};
  request.shared->outputs = {{.index = 0, .place = {"r", 1024, 16}}, {.index = 1, .place = {"r", 2048, 11}}};
  Run(call);
  std::memset(object_.data(), 0xff, 1024);
  runtime_.CompleteAll();
  ASSERT_TRUE(call.answer->status.ok()) << call.answer->status;
  EXPECT_EQ(object_.As<int64_t>(1024)[1], 2);
  EXPECT_EQ(std::string(object_.As<char>(2048), 11), raw);
  EXPECT_EQ(call.call->outputs[1].tensor.bytes, 11u);
}

TEST_F(SharedTensorsTest, FaultyStrings) {
  const PartialShape shape = {.dims = {Dimension::Dynamic()}};
  Load({"CPU"}, {},
       {.inputs = {{.name = "b", .type = ElementType::kBytes, .shape = shape}},
        .outputs = {{.name = "a", .type = ElementType::kBytes, .shape = shape}}});
  Register();
  const auto run = [&](Shape dims, uint64_t bytes, uint64_t room = 100) {
    SharedCall call(true, {"r", 0, bytes}, {"r", 1024, room});
    call.call->request.inputs[0].tensor = TensorView{.type = ElementType::kBytes, .shape = std::move(dims)};
    Run(call);
    runtime_.CompleteAll();
    return call.answer->status;
  };
  std::memcpy(object_.data(), "\1\0\0\0a\4\0\0\0", 9);
  EXPECT_TRUE(run({1}, 100).ok());
  EXPECT_TRUE(run({0}, 1).ok());
  EXPECT_TRUE(run({1}, 5, 5).ok());
  for (const auto& [dims, bytes] : std::vector<std::pair<Shape, uint64_t>>{{{1}, 3},
                                                                           {{1}, 4},
                                                                           {{2}, 9},
                                                                           {{2}, 8},
                                                                           {{3}, 9},
                                                                           {{-1}, 9},
                                                                           {{int64_t{1} << 62}, 9},
                                                                           {{int64_t{1} << 40, 1 << 30}, 9}}) {
    EXPECT_EQ(run(dims, bytes).code(), StatusCode::kInvalidArgument) << bytes;
  }
  EXPECT_THAT(std::string(run({1}, 5, 4).message()), HasSubstr("too small for the output - Expected: at least 5 bytes"));
}

TEST_F(SharedTensorsTest, ARegionThatIsUnregisteredStaysUntilTheDeviceIsDone) {
  Register();
  Fill(3);
  SharedCall call;
  Run(call);
  regions_.Unregister("r");
  EXPECT_FALSE(regions_.Acquire("r").ok());
  EXPECT_TRUE(object_.MappedElsewhere());
  runtime_.CompleteAll();
  EXPECT_THAT(Output(), Each(4.0f));
  call.call.reset();
  EXPECT_FALSE(object_.MappedElsewhere());
}

TEST_F(SharedTensorsTest, ACallThatWasAnsweredBeforeKeepsItTooForTheLateWriter) {
  Register();
  Fill(3);
  SharedCall call;
  Run(call);
  call.call->Cancel(absl::CancelledError("the client went away"));
  ASSERT_TRUE(call.done());
  call.call.reset();
  regions_.UnregisterAll();
  EXPECT_TRUE(object_.MappedElsewhere());
  runtime_.CompleteAll();
  EXPECT_FALSE(object_.MappedElsewhere());
}

TEST_F(SharedTensorsTest, ADeviceThatFailsLeavesTheCallToTheNextOne) {
  Load({"GPU.0", "CPU"});
  Register();
  Fill(3);
  const SharedCall call;
  Run(call);
  ASSERT_TRUE(runtime_.CompleteNext(kLost));
  EXPECT_FALSE(call.done());
  runtime_.CompleteAll();
  EXPECT_TRUE(call.answer->status.ok());
  EXPECT_THAT(Output(), Each(4.0f));
}

TEST_F(SharedTensorsTest, WhatAnAcceleratorThatWasGivenUpDeliversLaterGoesNowhere) {
  Load({"GPU.0", "CPU"});
  Register();
  Fill(3);
  SharedCall call;
  Run(call);
  executor_->GiveUp(*lanes_[0], absl::UnavailableError("GPU.0 does not answer"));
  // The second inference, on the CPU, ends first.
  std::vector<std::thread> late;
  Notification begun, go;
  runtime_.Update("dummy",
                  [&](FakeRuntime::Script& script) { script.on_infer = [&] { begun.Notify(), go.WaitForNotification(); }; });
  late.emplace_back([&] { runtime_.CompleteNext(); });
  begun.WaitForNotification();
  runtime_.Update("dummy", [&](FakeRuntime::Script& script) { script.on_infer = nullptr; });
  runtime_.CompleteAll();
  ASSERT_TRUE(call.done());
  EXPECT_THAT(Output(), Each(4.0f));
  // The client has the answer, and uses its memory for something else.
  Fill(9, kOut);
  call.call.reset();
  regions_.Unregister("r");
  EXPECT_TRUE(object_.MappedElsewhere());
  go.Notify();
  late[0].join();
  EXPECT_THAT(Output(), Each(9.0f));
  EXPECT_FALSE(object_.MappedElsewhere());
}

TEST_F(SharedTensorsTest, MemoryThatIsGoneIsAnErrorOfTheCallsThatUseIt) {
  Register();
  const SharedCall call;
  Run(call);
  object_.Truncate(0);
  runtime_.CompleteAll();
  EXPECT_EQ(call.answer->status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(call.error(), HasSubstr("region r has lost its memory"));
  EXPECT_EQ(Fails(SharedCall()).code(), StatusCode::kFailedPrecondition);
  object_.Truncate(4096);
  regions_.Unregister("r");
  Register();
  const SharedCall again;
  Run(again);
  runtime_.CompleteAll();
  EXPECT_TRUE(again.answer->status.ok());
}

TEST_F(SharedTensorsTest, CallsThatAreJoinedGetTheirRowsWhereTheyWantThem) {
  Signature signature = DummySignature();
  for (TensorSpec* spec : {&signature.inputs[0], &signature.outputs[0]}) spec->shape.dims[0] = {1, 4};
  Load({"CPU"}, DynamicBatching{.max_batch_size = 4, .max_delay_us = 1000}, signature);
  Register();
  Fill(1, 0);
  Fill(2, 64);
  Fill(3, 128);
  // Alone, and held: the next ones wait for it, and are joined.
  const SharedCall first(true, {"r", 0, kBytes}, {"r", 1024, kBytes});
  Run(first);
  timer_.Advance(std::chrono::milliseconds(2));
  EXPECT_EQ(runtime_.held(), 1u);
  const SharedCall second(true, {"r", 64, kBytes}, {"r", 2048, kBytes});
  const SharedCall third(false, {"r", 128, kBytes});
  const TestCall fourth(7);
  Run(second);
  Run(third);
  Run(fourth);
  timer_.Advance(std::chrono::milliseconds(2));
  ASSERT_TRUE(runtime_.CompleteNext());
  EXPECT_THAT(Output(1024), Each(2.0f));
  timer_.Advance(std::chrono::milliseconds(2));
  EXPECT_EQ(runtime_.held(), 1u);
  runtime_.CompleteAll();
  for (const SharedCall* call : {&first, &second, &third}) EXPECT_TRUE(call->answer->status.ok()) << call->answer->status;
  EXPECT_THAT(Output(2048), Each(3.0f));
  EXPECT_THAT(third.answer->values, Each(4.0f));
  EXPECT_THAT(fourth.answer->values, Each(8.0f));
}

TEST_F(SharedTensorsTest, InABatchOnlyWhoseMemoryIsGoneFails) {
  Signature signature = DummySignature();
  for (TensorSpec* spec : {&signature.inputs[0], &signature.outputs[0]}) spec->shape.dims[0] = {1, 4};
  Load({"CPU"}, DynamicBatching{.max_batch_size = 4, .max_delay_us = 1000}, signature);
  Register();
  const SharedCall shared;
  const TestCall other(7);
  Run(shared);
  Run(other);
  object_.Truncate(0);
  timer_.Advance(std::chrono::milliseconds(2));
  runtime_.CompleteAll();
  EXPECT_EQ(shared.answer->status.code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(other.answer->status.ok());
  EXPECT_THAT(other.answer->values, Each(8.0f));
}

}  // namespace
}  // namespace switchyard
