#include <fstream>
#include <map>

#include "runtime/openvino/layer_count.h"
#include "runtime/openvino/load_facts.h"
#include "runtime/openvino/test_models.h"

namespace switchyard {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// b (1,10) to b + 1, then its ten numbers in one dimension: the batch is in the answer, and cannot be changed.
std::shared_ptr<ov::Model> FixedBatch() {
  auto input = Input("b", {1, 10});
  const auto flat =
      std::make_shared<ops::Reshape>(PlusOne(input), ops::Constant::create(ov::element::i64, ov::Shape{1}, {10}), false);
  return std::make_shared<ov::Model>(ov::OutputVector{Named(flat, "a")}, ov::ParameterVector{input});
}

class LoadInspectionTest : public OpenVinoTest {
 protected:
  // With VCPU.
  StatusOr<std::shared_ptr<CompiledModel>> LoadOn(const std::string& target, const std::shared_ptr<ov::Model>& model,
                                                  PropertyMap properties = {}, bool strict = false) {
    if (two_ == nullptr) two_ = *MakeOpenVinoRuntime({.device_plugins = {{"VCPU", CpuPlugin()}}});
    ModelSettings settings{.target_device = target, .plugin_config = std::move(properties), .strict_placement = strict};
    LoadRequest request = Request(Save(model), std::move(settings));
    request.cache_dir = cache_dir_;
    return two_->Load(request);
  }
  LoadFacts FactsOn(const std::string& target, const std::shared_ptr<ov::Model>& model, PropertyMap properties = {}) {
    const auto loaded = LoadOn(target, model, std::move(properties));
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded.ok() ? (*loaded)->facts() : LoadFacts();
  }
  // The count in the cache folder.
  std::filesystem::path LayerPath() const {
    for (const auto& entry : std::filesystem::directory_iterator(cache_dir_)) {
      if (entry.path().string().ends_with(".layers.json")) return entry.path();
    }
    return {};
  }

  std::unique_ptr<Runtime> two_;
  std::string cache_dir_;
};

const LayerCount kAddOnCpu = {{"CPU", {{"Add", 1}, {"Constant", 1}, {"Parameter", 1}, {"Result", 1}}}};
const PropertyMap kF32 = {{"INFERENCE_PRECISION_HINT", {std::string("f32")}}};

TEST_F(LoadInspectionTest, LayersOfADeviceAreAllOfTheModels) {
  EXPECT_EQ(FactsOn("CPU", AddModel({1, 10})).layers, kAddOnCpu);
  EXPECT_EQ(FactsOn("BATCH:CPU(2)", AddModel({1, 10})).layers, kAddOnCpu);
  // Counting them without asking must be what asking would tell.
  ov::Core core;
  for (const auto& model : {AddModel({1, 10}), FixedBatch()}) {
    const auto asked = AskLayers(core, model, "CPU", {});
    ASSERT_TRUE(asked.ok()) << asked.status();
    EXPECT_EQ(AllOn(*model, "CPU"), *asked);
  }
}

TEST_F(LoadInspectionTest, FewerStreamsThanAskedForAreTold) {
  const LoadFacts facts = FactsOn("CPU", AddModel({1, 10}), {{"NUM_STREAMS", {int64_t{256}}}});
  ASSERT_NE(facts.num_streams, 256) << "a machine with so many processors";
  EXPECT_THAT(facts.reasons, Contains(fmt::format("NUM_STREAMS is 256, of which CPU made {}", *facts.num_streams)));
  EXPECT_THAT(FactsOn("CPU", AddModel({1, 10}), {{"NUM_STREAMS", {int64_t{1}}}}).reasons,
              Not(Contains(HasSubstr("NUM_STREAMS"))));
}

TEST_F(LoadInspectionTest, HeteroTellsWhatItsDevicesTell) {
  const LoadFacts facts = FactsOn("HETERO:VCPU,CPU", AddModel({1, 10}), kF32);
  EXPECT_EQ(facts.layers, (LayerCount{{"VCPU", kAddOnCpu.at("CPU")}}));
  EXPECT_EQ(facts.execution_devices, std::vector<std::string>{"VCPU"});
  EXPECT_EQ(facts.precision, "f32");
  EXPECT_EQ(facts.num_streams, 1);
  EXPECT_THAT(facts.reasons, ElementsAre("CPU got no layer of the model"));
  EXPECT_GT(facts.memory_bytes, 0u);
}

TEST_F(LoadInspectionTest, TheGraphHasAllButConstantsWithTheirDevices) {
  two_ = *MakeOpenVinoRuntime({.device_plugins = {{"VCPU", CpuPlugin()}}});
  auto input = Input("b", {1, 10});
  const auto one = ops::Constant::create(ov::element::f32, ov::Shape{1, 10}, {1});
  const auto folded = std::make_shared<ops::Add>(one, one);
  const auto sum = std::make_shared<ops::Add>(std::make_shared<ops::Add>(input, folded), input);
  sum->set_friendly_name("sum");
  const auto model =
      std::make_shared<ov::Model>(ov::OutputVector{Named(sum, "a"), Named(folded, "fixed")}, ov::ParameterVector{input});
  LoadRequest request = Request(Save(model));
  for (const auto& [target, device] : std::map<std::string, std::string>{
           {"CPU", "CPU"}, {"BATCH:CPU(4)", "CPU"}, {"HETERO:VCPU,CPU", "VCPU"}}) {
    request.target = target;
    const auto graph = two_->Graph(request);
    ASSERT_TRUE(graph.ok()) << graph.status();
    EXPECT_EQ(graph->left_out, 2u) << "the constant, and what is added up of it";
    ASSERT_EQ(graph->nodes.size(), 5u) << target;
    size_t results = 0;
    for (size_t i = 0; i < graph->nodes.size(); ++i) {
      const GraphNode& node = graph->nodes[i];
      EXPECT_EQ(node.device, device) << node.name;
      EXPECT_EQ(node.shape, "(1,10)");
      results += node.type == "Result" ? 1 : 0;
      for (const size_t before : node.inputs) EXPECT_LT(before, i);
      EXPECT_TRUE(node.name != "sum" || node.inputs.size() == 2);
    }
    EXPECT_EQ(results, 2u);
  }
  request.settings.batch_size = Dimension::Fixed(4);
  EXPECT_EQ(two_->Graph(request)->nodes.front().shape, "(4,10)");
  request.model_path = "/no/such/model.xml";
  EXPECT_EQ(two_->Graph(request).status().code(), StatusCode::kNotFound);
  request.target = "FPGA";
  EXPECT_EQ(two_->Graph(request).status().code(), StatusCode::kNotFound);
}

TEST_F(LoadInspectionTest, StrictPlacementRefusesADeviceWithoutLayers) {
  const auto strict = LoadOn("HETERO:VCPU,CPU", AddModel({1, 10}), {}, true);
  EXPECT_EQ(strict.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(strict.status()), AllOf(HasSubstr("CPU got no layer"), HasSubstr("strict_placement")));
  EXPECT_TRUE(LoadOn("HETERO:VCPU", AddModel({1, 10}), {}, true).ok());
}

TEST_F(LoadInspectionTest, LayersAreKeptBesideTheBlob) {
  cache_dir_ = folder_ / "cache";
  // What is in the file is told without asking: shown by a number that no plugin would say.
  const auto model = AddModel({1, 10});
  const std::string path = Save(model);
  const auto load = [&](const std::string& target) -> LoadFacts {
    LoadRequest request = Request(path, {.target_device = target});
    request.cache_dir = cache_dir_;
    const auto loaded = two_->Load(request);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded.ok() ? (*loaded)->facts() : LoadFacts();
  };
  two_ = *MakeOpenVinoRuntime({.device_plugins = {{"VCPU", CpuPlugin()}}});
  const LayerCount first = load("HETERO:VCPU,CPU").layers;
  ASSERT_FALSE(LayerPath().empty());
  std::string text;
  std::getline(std::ifstream(LayerPath()), text);
  ASSERT_THAT(text, HasSubstr("\"Add\":1"));
  text.replace(text.find("\"Add\":1"), 7, "\"Add\":7");
  std::ofstream(LayerPath()) << text;
  EXPECT_EQ(load("HETERO:VCPU,CPU").layers.at("VCPU").at("Add"), 7);
  EXPECT_EQ(load("HETERO:CPU,VCPU").layers, kAddOnCpu) << "of another target, the file is another";
}

TEST_F(LoadInspectionTest, ABrokenCountIsMadeAnew) {
  const LayerFile file(folder_, "this load");
  EXPECT_EQ(file.Read(), std::nullopt) << "not there";
  file.Write(kAddOnCpu);
  EXPECT_EQ(file.Read(), kAddOnCpu);
  cache_dir_ = folder_;
  const std::filesystem::path path = LayerPath();
  const auto read_from = [&](const std::string& text) {
    std::ofstream(path) << text;
    return file.Read();
  };
  EXPECT_EQ(read_from(""), std::nullopt);
  EXPECT_EQ(read_from("{\"identity\": \"this load\", \"layers\": {\"CPU\""), std::nullopt);
  EXPECT_EQ(read_from("{\"identity\": \"another\", \"layers\": {\"CPU\": {\"Add\": 1}}}"), std::nullopt);
  EXPECT_EQ(read_from("{\"identity\": \"this load\", \"layers\": {\"CPU\": {\"Add\": -1}}}"), std::nullopt);
  EXPECT_EQ(read_from("{\"identity\": \"this load\", \"layers\": {\"CPU\": [1]}}"), std::nullopt);
  EXPECT_EQ(read_from("{\"identity\": \"this load\", \"layers\": []}"), std::nullopt);
  EXPECT_EQ(read_from(std::string(100000, '[')), std::nullopt);
  EXPECT_NE(read_from("{\"identity\": \"this load\", \"layers\": {\"CPU\": {\"Add\": 1}}}"), std::nullopt);
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_EQ(file.Read(), std::nullopt);
  file.Write(kAddOnCpu);
  EXPECT_EQ(LayerFile("/proc/nowhere", "this load").Read(), std::nullopt);
  LayerFile("/proc/nowhere", "this load").Write(kAddOnCpu);
}

TEST_F(LoadInspectionTest, IdleDevicesComputeNothing) {
  const LayerCount layers = {{"GPU.0", {{"Add", 1}}}, {"NPU", {{"Constant", 3}, {"Parameter", 1}, {"Result", 1}}}};
  EXPECT_THAT(IdleDevices(layers, {"NPU", "GPU.0", "CPU"}), ElementsAre("NPU", "CPU"));
}

TEST_F(LoadInspectionTest, BatchTellsWhatItTook) {
  const LoadFacts sixteen = FactsOn("BATCH:CPU(16)", AddModel({1, 10}), kF32);
  EXPECT_EQ(sixteen.batch_size, 16);
  EXPECT_EQ(sixteen.optimal_requests % 16, 0) << sixteen.optimal_requests;
  EXPECT_EQ(sixteen.precision, "f32");
  EXPECT_EQ(sixteen.num_streams, 1);
  EXPECT_THAT(sixteen.reasons, IsEmpty());
  const LoadFacts fixed = FactsOn("BATCH:CPU(16)", FixedBatch());
  EXPECT_EQ(fixed.batch_size, 1);
  EXPECT_THAT(fixed.reasons, Contains(AllOf(HasSubstr("one by one"), HasSubstr("cannot be changed"))));
  EXPECT_THAT(FactsOn("BATCH:CPU", AddModel({1, 10})).reasons,
              Contains(AllOf(HasSubstr("BATCH:CPU took batch 1"), HasSubstr("LATENCY"), HasSubstr("BATCH:CPU(16)"))));
  EXPECT_THAT(FactsOn("BATCH:CPU", AddModel({1, 10}), {{"PERFORMANCE_HINT", {std::string("THROUGHPUT")}}}).reasons,
              Contains(AllOf(HasSubstr("BATCH:CPU took batch 1"), Not(HasSubstr("LATENCY")))));
}

TEST_F(LoadInspectionTest, BatchIsReadFromTheShapes) {
  EXPECT_EQ(BatchFactor({1, 10}, {16, 10}), 16);
  EXPECT_EQ(BatchFactor({2, 10}, {8, 10}), 4);
  EXPECT_EQ(BatchFactor({1, 10}, {4, 10, 1, 1}), 4) << "a GPU appends ones";
  EXPECT_EQ(BatchFactor({1, 10}, {1, 10}), 1);
  EXPECT_EQ(BatchFactor({-1, 10}, {4, 10}), 1);
  EXPECT_EQ(BatchFactor({1, 1, 10}, {4, 10}), 1);
}

TEST_F(LoadInspectionTest, BatchRefusesDynamicModels) {
  const auto fault = LoadFault(AddModel({-1, 10}), {.target_device = "BATCH:CPU(16)"}, StatusCode::kInvalidArgument);
  EXPECT_THAT(fault, AllOf(HasSubstr("auto-batching can be applied only to static models"), HasSubstr("b (-1,10)"),
                           HasSubstr("--shape"), HasSubstr("--batch_size")));
  EXPECT_NE(Load(AddModel({-1, 10}), {.target_device = "BATCH:CPU(2)", .batch_size = Dimension::Fixed(1)}), nullptr);
}

TEST_F(LoadInspectionTest, MemoryOfACpuModelIsAnEstimate) {
  EXPECT_EQ(FactsOn("CPU", AddModel({1, 10}), kF32).memory_bytes, 4 + 4 * (10 + 10u));
}

}  // namespace
}  // namespace switchyard
