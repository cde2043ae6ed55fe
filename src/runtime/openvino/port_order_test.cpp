#include "runtime/openvino/port_order.h"

#include <numeric>

#include "runtime/openvino/test_models.h"

namespace switchyard {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Names = std::vector<std::string>;

// Ports as a compiled model may have them: of an operation and with the tensor's names.
class PortOrderTest : public OpenVinoTest {
 protected:
  struct Made {
    std::string operation;
    std::unordered_set<std::string> names;
    ov::PartialShape shape = {1, 3};
    ov::element::Type type = ov::element::f32;
  };
  std::vector<Port> Ports(const std::vector<Made>& made) {
    std::vector<Port> ports;
    for (const Made& one : made) {
      auto parameter = std::make_shared<ops::Parameter>(one.type, one.shape);
      parameter->set_friendly_name(one.operation);
      parameter->output(0).set_names(one.names);
      ports.push_back(std::const_pointer_cast<const ov::Node>(parameter->shared_from_this())->output(0));
      keep_.push_back(std::move(parameter));
    }
    return ports;
  }
  StatusOr<std::vector<size_t>> Match(const std::vector<Made>& model, const std::vector<Made>& compiled,
                                      const std::string& target = "HETERO:GPU,CPU") {
    Names names;
    for (const Made& one : model) names.push_back(one.operation);
    return MatchPorts(Ports(model), Ports(compiled), names, "input", target);
  }
  std::vector<size_t> Order(const std::vector<Made>& model, const std::vector<Made>& compiled,
                            const std::string& target = "HETERO:GPU,CPU") {
    const auto order = Match(model, compiled, target);
    EXPECT_TRUE(order.ok()) << order.status();
    return order.ok() ? *order : std::vector<size_t>();
  }
  std::string Fault(const std::vector<Made>& model, const std::vector<Made>& compiled,
                    const std::string& target = "HETERO:GPU,CPU") {
    const auto order = Match(model, compiled, target);
    EXPECT_EQ(order.status().code(), StatusCode::kInternal) << order.status();
    return std::string(Message(order.status()));
  }

  std::vector<std::shared_ptr<ov::Node>> keep_;
};

TEST_F(PortOrderTest, NamesOfTensorsThenOfOperations) {
  EXPECT_THAT(Order({{"a", {"x"}}, {"b", {"y", "z"}}, {"c", {"w"}}}, {{"1", {"z"}}, {"2", {"w"}}, {"3", {"x", "v"}}}),
              ElementsAre(2, 0, 1));
  EXPECT_THAT(Order({{"a", {}}, {"b", {}}, {"c", {"x"}}}, {{"b", {}}, {"other", {"x"}}, {"a", {}}}), ElementsAre(2, 0, 1));
  EXPECT_THAT(Order({{"a", {"x"}}, {"b", {"x"}}}, {{"b", {"x"}}, {"a", {"x"}}}), ElementsAre(1, 0)) << "one name, two tensors";
  EXPECT_THAT(Order({{"a", {"b"}}, {"b", {"a"}}}, {{"a", {"b"}}, {"b", {"a"}}}), ElementsAre(0, 1)) << "names that cross";
  EXPECT_THAT(Order({{"a", {"x"}}, {"b", {}}}, {{"?", {}}, {"a", {"x"}}}), ElementsAre(1, 0)) << "the one that is left";
}

TEST_F(PortOrderTest, WithoutNamesThePlaceTellsWhereTheDeviceKeepsIt) {
  const std::vector<Made> model = {{"a", {}}, {"b", {}}}, compiled = {{"?", {}}, {"??", {}}};
  EXPECT_THAT(Order(model, compiled, "VCPU"), ElementsAre(0, 1));
  EXPECT_THAT(Order({{"a", {"x"}}, {"b", {"x"}}}, {{"?", {"x"}}, {"??", {"x"}}}, "VCPU"), ElementsAre(0, 1));
  EXPECT_THAT(Fault(model, compiled),
              AllOf(HasSubstr("target_device HETERO:GPU,CPU: which input of the compiled model is \"a\""),
                    HasSubstr("it has ? FP32 (1,3), ?? FP32 (1,3)"), HasSubstr("give each tensor a name of its own")));
  EXPECT_THAT(Fault({{"a", {"x"}}, {"b", {"x"}}}, {{"?", {"x"}}, {"??", {"x"}}}), HasSubstr("cannot be told by names"));
}

TEST_F(PortOrderTest, PairsMustFit) {
  EXPECT_THAT(Fault({{"a", {"x"}}}, {}),
              HasSubstr("expected the model's 1 inputs (a FP32 (1,3)), but it was compiled to 0 ()"));
  EXPECT_THAT(Fault({{"a", {"x"}}}, {{"a", {"x"}, {1, 3}, ov::element::i64}}, "VCPU"),
              HasSubstr("input \"a\" was compiled to I64 (1,3); expected FP32 (1,3)"));
  EXPECT_THAT(Fault({{"a", {"x"}}}, {{"a", {"x"}, {1, 4}}}, "VCPU"), HasSubstr("compiled to FP32 (1,4); expected FP32 (1,3)"));
  EXPECT_THAT(Order({{"a", {"x"}, {-1, 3}}}, {{"a", {"x"}, {4, 3}}}, "VCPU"), ElementsAre(0));
}

// x and z, each to an output of its own: HETERO takes them in another order than the model has them.
std::shared_ptr<ov::Model> TwoWays(bool named, const ov::PartialShape& shape, ov::element::Type second = ov::element::i64) {
  auto x = Input("x", shape), z = Input("z", shape, second);
  auto negative = std::make_shared<ops::Negative>(z);
  auto sum = PlusOne(x);
  const auto model = std::make_shared<ov::Model>(ov::OutputVector{sum, negative, sum}, ov::ParameterVector{x, z});
  if (named) {
    Named(sum, "sum");
    Named(negative->output(0), "negative");
  }
  return model;
}

class HeteroOrderTest : public OpenVinoTest {
 protected:
  void Expect(const std::string& path, int64_t size, const std::string& cache = "") {
    auto runtime = *MakeOpenVinoRuntime({.device_plugins = {{"VCPU", CpuPlugin()}}});
    LoadRequest wanted = Request(path, {.target_device = "HETERO:VCPU,CPU"});
    wanted.cache_dir = cache;
    const auto loaded = runtime->Load(wanted);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    if (!cache.empty()) cached_ = (*loaded)->facts().cache;
    const auto request = *(*loaded)->CreateInferRequest();
    std::vector<float> x(size);
    std::vector<int64_t> z(size);
    std::iota(x.begin(), x.end(), 0.0f);
    std::iota(z.begin(), z.end(), int64_t{7});
    for (int round = 0; round < 3; ++round) {
      const auto outputs = Run(*request, {View(x, {1, size}), View(z, {1, size}, ElementType::kInt64)}, 3);
      std::vector<float> sum = x;
      std::vector<int64_t> negative = z;
      for (float& value : sum) value += 1;
      for (int64_t& value : negative) value = -value;
      EXPECT_EQ(outputs[1].type, ElementType::kInt64);
      EXPECT_EQ(Values<float>(outputs[0]), sum);
      EXPECT_EQ(Values<int64_t>(outputs[1]), negative);
      EXPECT_EQ(Values<float>(outputs[2]), sum);
      x[0] += 1;
      z[0] += 1;
    }
    std::vector<float> place(size, -1);
    const OutputPlace places[] = {{.data = reinterpret_cast<std::byte*>(place.data()), .bytes = place.size() * sizeof(float)}};
    const std::vector<TensorView> inputs = {View(x, {1, size}), View(z, {1, size}, ElementType::kInt64)};
    ASSERT_TRUE(request->Bind(inputs, places).ok());
    ASSERT_TRUE(request->Infer().ok());
    ASSERT_TRUE(request->TakeOutput(0).ok());
    EXPECT_EQ(place.front(), x.front() + 1) << "in the caller's own memory";
    EXPECT_EQ(place.back(), x.back() + 1);
  }
  LoadFacts::Cache cached_ = LoadFacts::Cache::kOff;
};

constexpr int64_t kLarge = 20011;  // beyond the size that is copied

TEST_F(HeteroOrderTest, TheAnswerIsTheModels) {
  for (const bool named : {true, false}) {
    for (const int64_t size : {int64_t{3}, kLarge}) {
      SCOPED_TRACE(fmt::format("{} named {}", size, named));
      Expect(Save(TwoWays(named, {1, size})), size);
      Expect(Save(TwoWays(named, {1, -1})), size);
    }
  }
}

TEST_F(HeteroOrderTest, AlsoFromTheCache) {
  const std::string cache = folder_ / "cache";
  const std::string path = Save(TwoWays(true, {1, 3}));
  for (const auto expected : {LoadFacts::Cache::kMiss, LoadFacts::Cache::kHit}) {
    Expect(path, 3, cache);
    EXPECT_EQ(cached_, expected);
  }
}

TEST_F(HeteroOrderTest, TheFixtureIsTurnedRound) {
  ov::Core core;
  core.register_plugin(CpuPlugin(), "VCPU");
  const auto model = TwoWays(true, {1, 3});
  const auto compiled = core.compile_model(core.read_model(Save(model)), "HETERO:VCPU,CPU");
  EXPECT_NE(compiled.input(0).get_any_name(), model->input(0).get_any_name())
      << "HETERO keeps the order: these tests need another model to tell anything";
}

}  // namespace
}  // namespace switchyard
