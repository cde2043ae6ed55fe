#include <fstream>

#include "runtime/openvino/convert.h"
#include "runtime/openvino/test_models.h"

namespace switchyard {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Dimension D(int64_t min, int64_t max) { return {min, max}; }
PartialShape Fixed(std::vector<int64_t> dims) {
  PartialShape shape;
  for (const int64_t dim : dims) shape.dims.push_back(Dimension::Fixed(dim));
  return shape;
}

class OpenVinoLoadTest : public OpenVinoTest {};

TEST_F(OpenVinoLoadTest, FactsOfACpuModel) {
  const auto loaded = Load(AddModel({1, 10}), {.plugin_config = {{"INFERENCE_PRECISION_HINT", {std::string("f32")}}}});
  ASSERT_NE(loaded, nullptr);
  const LoadFacts& facts = loaded->facts();
  EXPECT_EQ(facts.device, "CPU");
  EXPECT_EQ(facts.execution_devices, std::vector<std::string>{"CPU"});
  EXPECT_EQ(facts.precision, "f32");
  EXPECT_EQ(facts.num_streams, 1) << "LATENCY is the default";
  EXPECT_EQ(facts.optimal_requests, 1);
  EXPECT_EQ(facts.cache, LoadFacts::Cache::kOff);
  EXPECT_TRUE(facts.cpu_only);
  EXPECT_TRUE(facts.steady_cost);
  EXPECT_GT(facts.load_ms, 0);
  const Signature& signature = loaded->signature();
  ASSERT_EQ(signature.inputs.size(), 1u);
  EXPECT_EQ(signature.inputs[0].name, "b");
  EXPECT_EQ(signature.inputs[0].shape, Fixed({1, 10}));
  EXPECT_EQ(signature.inputs[0].batch_dim, 0u);
  EXPECT_EQ(signature.outputs[0].name, "a");
}

TEST_F(OpenVinoLoadTest, WhatTheModelSaysOfItself) {
  EXPECT_EQ(Load(AddModel({1, 10}))->signature().info, std::nullopt);
  const auto model = AddModel({1, 10});
  model->set_rt_info("cat dog", "model_info", "labels");
  model->set_rt_info(0.5, "model_info", "confidence_threshold");
  model->set_rt_info(std::vector<std::string>{"a", "b"}, "model_info", "names");
  model->set_rt_info("<\"", "model_info", "more", "deep");
  model->set_rt_info("something", "other");
  const std::vector<ModelInfo> expected = {{"confidence_threshold", "0.5", {}},
                                           {"labels", "cat dog", {}},
                                           {"more", std::nullopt, {{"deep", "<\"", {}}}},
                                           {"names", "a b", {}}};
  EXPECT_EQ(Load(model)->signature().info, expected);
  // What is done to inputs makes another model.
  ModelSettings settings;
  settings.means[""] = {1};
  EXPECT_EQ(Load(model, settings)->signature().info, expected);
}

TEST_F(OpenVinoLoadTest, TheDeviceIsChosenWhenNoneIsNamed) {
  auto request = Request(Save(AddModel({1, 10})));
  request.settings.target_device.clear();
  const auto loaded = runtime_->Load(request);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->facts().device, RecommendDevice(runtime_->Devices(kListLimit).found));
}

TEST_F(OpenVinoLoadTest, InventoryAndVersion) {
  const Inventory devices = runtime_->Devices(kListLimit).found;
  const auto cpu = std::find_if(devices.begin(), devices.end(), [](const DeviceInfo& device) { return device.name == "CPU"; });
  ASSERT_NE(cpu, devices.end());
  EXPECT_EQ(cpu->type, DeviceInfo::Type::kCpu);
  EXPECT_FALSE(cpu->full_name.empty());
  EXPECT_THAT(runtime_->Version(), ::testing::StartsWith("20"));
}

TEST_F(OpenVinoLoadTest, PropertiesOfEveryKindReachTheDevice) {
  for (const PropertyValue& value : {PropertyValue{int64_t{2}}, PropertyValue{std::string("2")}}) {
    const auto loaded = Load(AddModel({1, 10}), {.plugin_config = {{"NUM_STREAMS", value}, {"INFERENCE_NUM_THREADS", value}}});
    ASSERT_NE(loaded, nullptr);
    EXPECT_EQ(loaded->facts().num_streams, 2);
    EXPECT_EQ(loaded->facts().optimal_requests, 2);
  }
  for (const PropertyValue& value :
       {PropertyValue{true}, PropertyValue{std::string("true")}, PropertyValue{std::string("YES")}}) {
    EXPECT_NE(Load(AddModel({1, 10}),
                   {.plugin_config = {{"ENABLE_CPU_PINNING", value}, {"PERF_COUNT", value}, {"ENABLE_MMAP", value}}}),
              nullptr);
  }
  EXPECT_NE(Load(AddModel({1, 10}), {.plugin_config = {{"CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE", {0.5}}}}), nullptr);
  const PropertyMap streams = {{"NUM_STREAMS", {int64_t{2}}}};
  const PropertyMap own = {{"NUM_STREAMS", {int64_t{1}}}, {"DEVICE_PROPERTIES", {PropertyMap{{"CPU", {streams}}}}}};
  for (const std::string target : {"CPU", "HETERO:CPU", "BATCH:CPU(4)"}) {
    const auto loaded = Load(AddModel({1, 10}), {.target_device = target, .plugin_config = own});
    ASSERT_NE(loaded, nullptr) << target;
    EXPECT_EQ(loaded->facts().optimal_requests, target.starts_with("BATCH") ? 8 : 2) << "a device's own goes first: " << target;
  }
}

TEST_F(OpenVinoLoadTest, StreamsWinOverTheHint) {
  const auto with = [this](PropertyMap config) { return Load(AddModel({1, 10}), {.plugin_config = std::move(config)}); };
  const PropertyValue throughput{std::string("THROUGHPUT")};
  EXPECT_EQ(with({{"NUM_STREAMS", {int64_t{2}}}, {"PERFORMANCE_HINT", {std::string("LATENCY")}}})->facts().num_streams, 2);
  EXPECT_EQ(with({{"NUM_STREAMS", {int64_t{1}}}, {"PERFORMANCE_HINT", throughput}})->facts().num_streams, 1);
  const auto cumulative = with({{"PERFORMANCE_HINT", {std::string("CUMULATIVE_THROUGHPUT")}}});
  EXPECT_EQ(cumulative->facts().num_streams, with({{"PERFORMANCE_HINT", throughput}})->facts().num_streams);
}

TEST_F(OpenVinoLoadTest, KeysOfOtherDevicesAreLeftOut) {
  const PropertyMap config = {{"GPU_QUEUE_THROTTLE", {std::string("LOW")}},
                              {"ENABLE_STARTUP_FALLBACK", {true}},
                              {"MULTI_DEVICE_PRIORITIES", {std::string("CPU")}},
                              {"ENABLE_MMAP", {true}},
                              {"AUTO_BATCH_TIMEOUT", {int64_t{200}}}};
  for (const std::string target : {"CPU", "HETERO:CPU", "BATCH:CPU(4)"}) {
    EXPECT_NE(Load(AddModel({1, 10}), {.target_device = target, .plugin_config = config}), nullptr) << target;
  }
}

TEST_F(OpenVinoLoadTest, MissingDevicesAndFiles) {
  EXPECT_THAT(LoadFault(AddModel({1, 10}), {.target_device = "FOO"}, StatusCode::kNotFound),
              HasSubstr("there is no device FOO"));
  EXPECT_THAT(LoadFault(AddModel({1, 10}), {.target_device = "HETERO:FOO,CPU"}, StatusCode::kNotFound),
              HasSubstr("no device FOO"));
  const auto missing = runtime_->Load(Request("/nowhere/model.onnx"));
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(Message(missing.status()), HasSubstr("/nowhere/model.onnx"));
  const std::string broken = folder_ / "broken.onnx";
  std::ofstream(broken) << "this is no model";
  const auto unreadable = runtime_->Load(Request(broken));
  EXPECT_EQ(unreadable.status().code(), StatusCode::kInternal);
  EXPECT_THAT(Message(unreadable.status()), AllOf(HasSubstr(broken), Not(HasSubstr("Exception from"))));
  EXPECT_EQ(MakeOpenVinoRuntime({.cpu_extension = "/nowhere.so"}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(MakeOpenVinoRuntime({.cpu_extension = broken}).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(OpenVinoLoadTest, RequestNumbers) {
  EXPECT_EQ(Load(AddModel({1, 10}), {.nireq = 7})->facts().optimal_requests, 7);
  EXPECT_THAT(LoadFault(AddModel({1, 10}), {.nireq = 100001}, StatusCode::kInvalidArgument), HasSubstr("100000"));
}

TEST_F(OpenVinoLoadTest, CacheHitsAreTold) {
  auto request = Request(Save(AddModel({1, 10})));
  request.cache_dir = folder_ / "cache";
  EXPECT_EQ((*runtime_->Load(request))->facts().cache, LoadFacts::Cache::kMiss);
  EXPECT_EQ((*runtime_->Load(request))->facts().cache, LoadFacts::Cache::kHit);
  request.properties["CACHE_DIR"] = PropertyValue{(folder_ / "other").string()};
  EXPECT_EQ((*runtime_->Load(request))->facts().cache, LoadFacts::Cache::kMiss) << "plugin_config goes first";
}

TEST_F(OpenVinoLoadTest, Shapes) {
  const auto shape_of = [this](ModelSettings settings) {
    return Load(AddModel({1, 10}), std::move(settings))->signature().inputs[0].shape;
  };
  EXPECT_EQ(shape_of({.shapes = {{"b", Fixed({3, 5})}}}), Fixed({3, 5}));
  EXPECT_EQ(shape_of({.shapes = {{"", Fixed({3, 5})}}}), Fixed({3, 5}));
  EXPECT_EQ(shape_of({.shapes = {{"", {.dims = {Dimension::Dynamic(), D(5, 8)}}}}}),
            (PartialShape{.dims = {Dimension::Dynamic(), D(5, 8)}}));
  EXPECT_EQ(shape_of({.batch_size = Dimension::Fixed(4)}), Fixed({4, 10}));
  EXPECT_EQ(shape_of({.batch_size = Dimension::Dynamic()}),
            (PartialShape{.dims = {Dimension::Dynamic(), Dimension::Fixed(10)}}));
  EXPECT_EQ(shape_of({.batch_size = D(1, 4)}), (PartialShape{.dims = {D(1, 4), Dimension::Fixed(10)}}));
  EXPECT_EQ(shape_of({.batch_size = Dimension::Fixed(4), .shapes = {{"b", Fixed({3, 5})}}}), Fixed({3, 5}))
      << "shape goes first";
}

TEST_F(OpenVinoLoadTest, FaultyShapesNameTheInputs) {
  EXPECT_THAT(LoadFault(AddModel({1, 10}), {.shapes = {{"x", Fixed({1, 10})}}}, StatusCode::kInvalidArgument),
              AllOf(HasSubstr("\"x\""), HasSubstr("b FP32 (1,10)")));
  auto x = Input("x", {1, 2}), y = Input("y", {1, 3}, ov::element::i64);
  const auto two = std::make_shared<ov::Model>(ov::OutputVector{PlusOne(x), PlusOne(y)}, ov::ParameterVector{x, y});
  EXPECT_THAT(LoadFault(two, {.shapes = {{"", Fixed({1, 2})}}}, StatusCode::kInvalidArgument),
              AllOf(HasSubstr("x FP32 (1,2)"), HasSubstr("y I64 (1,3)")));
  auto data = Input("data", {2, 3});
  const auto product =
      std::make_shared<ov::Model>(ov::OutputVector{std::make_shared<ops::MatMul>(
                                      data, ops::Constant::create(ov::element::f32, ov::Shape{3, 1}, {1, 2, 3}))},
                                  ov::ParameterVector{data});
  EXPECT_THAT(LoadFault(product, {.shapes = {{"data", Fixed({2, 4})}}}, StatusCode::kInvalidArgument),
              AllOf(HasSubstr("shape"), HasSubstr("data FP32 (2,3)"), Not(HasSubstr("Exception from"))));
  EXPECT_THAT(LoadFault(AddModel(ov::PartialShape{}), {.batch_size = Dimension::Fixed(2)}, StatusCode::kInvalidArgument),
              HasSubstr("batch"));
}

TEST_F(OpenVinoLoadTest, LayoutsTransposeWhatClientsSend) {
  auto image = Input("image", {1, 3, 2, 2});
  const auto model = std::make_shared<ov::Model>(
      ov::OutputVector{
          Named(std::make_shared<ops::ReduceSum>(image, ops::Constant::create(ov::element::i64, ov::Shape{2}, {2, 3}), false),
                "sums")},
      ov::ParameterVector{image});
  const auto loaded = Load(model, {.layouts = {{"image", {.tensor = "NHWC", .model = "NCHW"}}}});
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(loaded->signature().inputs[0].shape, Fixed({1, 2, 2, 3}));
  EXPECT_EQ(loaded->signature().inputs[0].name, "image");
  auto request = *loaded->CreateInferRequest();
  const std::vector<float> pixels = {1, 10, 100, 1, 10, 100, 1, 10, 100, 1, 10, 100};
  EXPECT_EQ(Values<float>(Run(*request, {View(pixels, {1, 2, 2, 3})})[0]), (std::vector<float>{4, 40, 400}));
  const auto larger =
      Load(model, {.shapes = {{"", Fixed({2, 4, 4, 3})}}, .layouts = {{"", {.tensor = "NHWC", .model = "NCHW"}}}});
  EXPECT_EQ(larger->signature().inputs[0].shape, Fixed({2, 4, 4, 3})) << "shapes are what clients send";
  EXPECT_EQ(larger->signature().outputs[0].shape, Fixed({2, 3}));
}

TEST_F(OpenVinoLoadTest, LayoutsTellWhereTheBatchIs) {
  const auto with = [this](const std::string& layout) {
    return Load(AddModel({3, 1, 10}), {.batch_size = Dimension::Fixed(5), .layouts = {{"", {.model = layout}}}});
  };
  EXPECT_EQ(with("CNW")->signature().inputs[0].shape, Fixed({3, 5, 10}));
  EXPECT_EQ(with("CNW")->signature().inputs[0].batch_dim, 1u);
  EXPECT_EQ(with("NCW")->signature().inputs[0].shape, Fixed({5, 1, 10}));
  EXPECT_EQ(with("...N")->signature().inputs[0].batch_dim, 2u);
  const auto none = Load(AddModel({3, 1, 10}), {.layouts = {{"b", {.model = "CHW"}}, {"a", {.model = "?N?"}}}});
  EXPECT_EQ(none->signature().inputs[0].batch_dim, std::nullopt);
  EXPECT_EQ(none->signature().outputs[0].batch_dim, 1u);
  EXPECT_THAT(LoadFault(AddModel({3, 1}), {.layouts = {{"x", {.model = "NC"}}}}, StatusCode::kInvalidArgument),
              AllOf(HasSubstr("\"x\""), HasSubstr("b FP32 (3,1)"), HasSubstr("a FP32 (3,1)")));
  EXPECT_THAT(
      LoadFault(AddModel({3, 1}), {.layouts = {{"b", {.tensor = "NHWC", .model = "NCHW"}}}}, StatusCode::kInvalidArgument),
      HasSubstr("layout"));
}

TEST_F(OpenVinoLoadTest, PublicNames) {
  auto x = Input("x", {1}), y = Input("y", {1});
  x->output(0).set_names({"aaa", "x", "zzz"});
  y->output(0).set_names({"other", "second"});
  auto unnamed = PlusOne(x), named = PlusOne(y);
  named.set_names({"sum:0", "sum"});
  const auto loaded =
      Load(std::make_shared<ov::Model>(ov::OutputVector{unnamed, named, PlusOne(unnamed), named}, ov::ParameterVector{x, y}));
  ASSERT_NE(loaded, nullptr);
  const Signature& signature = loaded->signature();
  EXPECT_EQ(signature.inputs[0].name, "x") << "the operation's own";
  EXPECT_EQ(signature.inputs[1].name, "other") << "the first in the alphabet";
  EXPECT_EQ(signature.outputs[0].name, "out_0");
  EXPECT_EQ(signature.outputs[1].name, "sum");
  EXPECT_EQ(signature.outputs[2].name, "out_2");
  EXPECT_EQ(signature.outputs[3].name, "sum:0") << "no name twice";
}

TEST_F(OpenVinoLoadTest, TypesThatCannotBeCarriedAreNamed) {
  auto input = Input("quads", {8}, ov::element::u4);
  const auto model = std::make_shared<ov::Model>(
      ov::OutputVector{Named(std::make_shared<ops::Convert>(input, ov::element::f32), "y")}, ov::ParameterVector{input});
  EXPECT_THAT(LoadFault(model, {}, StatusCode::kInvalidArgument), AllOf(HasSubstr("quads"), HasSubstr("u4")));
}

TEST_F(OpenVinoLoadTest, WhatIsLoadedOutlivesTheRuntime) {
  auto own = *MakeOpenVinoRuntime({});
  auto loaded = *own->Load(Request(Save(AddModel({1, 10}))));
  own.reset();
  auto request = *loaded->CreateInferRequest();
  loaded.reset();
  const std::vector<float> values(10, 41);
  EXPECT_EQ(Values<float>(Run(*request, {View(values, {1, 10})})[0]), std::vector<float>(10, 42));
}

TEST(ReadableMessageTest, LeavesOutTheSourcePlaces) {
  EXPECT_EQ(
      ReadableMessage("Exception from src/inference/src/cpp/core.cpp:84:\nCheck 'a || b' failed at src/frontend.cpp:117:\n"
                      "FrontEnd API failed with GeneralFailure:\nir: Could not open the file: \"m.xml\"\n\n"),
      "ir: Could not open the file: \"m.xml\"");
  EXPECT_EQ(ReadableMessage("one\n\ntwo\nthree\nfour"), "one; two; three");
  EXPECT_EQ(ReadableMessage("Exception from src/a.cpp:1:\n"), "Exception from src/a.cpp:1:");
  EXPECT_EQ(ReadableMessage("Exception from src/a.cpp:1:\n[GPU] CL_OUT_OF_RESOURCES exception.\n"
                            "\tDue to a driver bug, any subsequent OpenCL API call may cause the application to hang,\n"
                            "so the GPU plugin may be unable to finish.\n"
                            "\tThe CL_OUT_OF_RESOURCES error typically occurs in two cases:\n\t1. Insufficient memory\n"),
            "[GPU] CL_OUT_OF_RESOURCES exception.");
  EXPECT_EQ(ReadableMessage("Standard exception from compilation library: Exception from src/plugin.cpp:54:\nno"), "no");
  EXPECT_EQ(ReadableMessage("\tThe X error typically occurs in two cases:"), "The X error typically occurs in two cases:")
      << "nothing else is said";
  EXPECT_EQ(ReadableMessage(""), "no reason given");
  EXPECT_LE(ReadableMessage(std::string(10000, 'x')).size(), 600u);
}

}  // namespace
}  // namespace switchyard
