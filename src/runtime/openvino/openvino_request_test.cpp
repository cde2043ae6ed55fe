#include <functional>
#include <future>
#include <numeric>

#include "device/fault.h"
#include "runtime/openvino/test_models.h"

namespace switchyard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr size_t kLarge = 20011;  // elements, so that FP32 is beyond the size that is copied

std::vector<float> Ramp(size_t size, float from = 0) {
  std::vector<float> values(size);
  std::iota(values.begin(), values.end(), from);
  return values;
}
std::vector<float> Plus(std::vector<float> values, float by) {
  for (float& value : values) value += by;
  return values;
}

class OpenVinoRequestTest : public OpenVinoTest {};

TEST_F(OpenVinoRequestTest, SmallFixedTensors) {
  auto request = MakeRequest(AddModel({1, 10}));
  const auto first = Run(*request, {View(Ramp(10), {1, 10})})[0];
  const auto second = Run(*request, {View(Ramp(10, 100), {1, 10})})[0];
  EXPECT_EQ(Values<float>(first), Ramp(10, 1)) << "a taken output is never written again";
  EXPECT_EQ(Values<float>(second), Ramp(10, 101));
  EXPECT_EQ(first.shape, (Shape{1, 10}));
  EXPECT_EQ(first.type, ElementType::kFp32);
}

TEST_F(OpenVinoRequestTest, LargeFixedTensorsAreWrittenWhereTheyStay) {
  auto request = MakeRequest(AddModel({1, kLarge}));
  std::vector<OutputTensor> taken;
  for (int i = 0; i < 4; ++i) {
    const auto input = Ramp(kLarge, i);
    taken.push_back(Run(*request, {View(input, {1, kLarge})})[0]);
  }
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Values<float>(taken[i]), Ramp(kLarge, i + 1));
}

TEST_F(OpenVinoRequestTest, OutputsOutliveRequestAndModel) {
  std::vector<OutputTensor> taken;
  for (const ov::PartialShape& shape : {ov::PartialShape{1, kLarge}, ov::PartialShape{1, -1}}) {
    auto request = MakeRequest(AddModel(shape));
    const auto input = Ramp(kLarge);
    taken.push_back(Run(*request, {View(input, {1, kLarge})})[0]);
    taken.push_back(Run(*request, {View(input, {1, kLarge})})[0]);
  }
  for (const auto& output : taken) EXPECT_EQ(Values<float>(output), Ramp(kLarge, 1));
}

TEST_F(OpenVinoRequestTest, OutputsThatNobodyTookAreOverwritten) {
  auto request = MakeRequest(AddModel({1, kLarge}));
  const auto first = Ramp(kLarge), second = Ramp(kLarge, 5);
  Run(*request, {View(first, {1, kLarge})}, 0);
  EXPECT_EQ(Values<float>(Run(*request, {View(second, {1, kLarge})})[0]), Ramp(kLarge, 6));
}

TEST_F(OpenVinoRequestTest, UnalignedInputsAreReadWhereTheyLie) {
  auto request = MakeRequest(AddModel({1, kLarge}));
  const auto values = Ramp(kLarge);
  std::vector<std::byte> raw(kLarge * sizeof(float) + 64);
  for (const size_t offset : {1, 2, 3, 7, 33}) {
    std::memcpy(raw.data() + offset, values.data(), kLarge * sizeof(float));
    TensorView view = View(values, {1, kLarge});
    view.data = raw.data() + offset;
    EXPECT_EQ(Values<float>(Run(*request, {view})[0]), Ramp(kLarge, 1)) << offset;
  }
}

TEST_F(OpenVinoRequestTest, DynamicShapesOfEverySizeInAnyOrder) {
  auto request = MakeRequest(AddModel({-1, 10}));
  std::vector<std::pair<OutputTensor, std::vector<float>>> taken;
  for (const size_t rows : {1, 3, 2000, 1, 1, 5000, 2000, 0, 2, 3000, 0, 1}) {
    const auto input = Ramp(rows * 10, static_cast<float>(taken.size()));
    taken.emplace_back(Run(*request, {View(input, {static_cast<int64_t>(rows), 10})})[0], Plus(input, 1));
    EXPECT_EQ(taken.back().first.shape, (Shape{static_cast<int64_t>(rows), 10}));
  }
  for (const auto& [output, expected] : taken) EXPECT_EQ(Values<float>(output), expected);
}

TEST_F(OpenVinoRequestTest, AModelWithoutARankIsServedWithAShape) {
  // The CPU plugin takes no parameter of dynamic rank.
  auto request = MakeRequest(AddModel(ov::PartialShape::dynamic()),
                             {.shapes = {{"", {.dims = {Dimension::Dynamic(), Dimension::Fixed(2)}}}}});
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(Values<float>(Run(*request, {View(Ramp(6), {3, 2})})[0]), Ramp(6, 1));
}

TEST_F(OpenVinoRequestTest, ScalarsAndNothing) {
  auto scalar = MakeRequest(AddModel(ov::PartialShape{}));
  const auto output = Run(*scalar, {View({41.0f}, {})})[0];
  EXPECT_EQ(output.shape, Shape{});
  EXPECT_EQ(Values<float>(output), std::vector<float>{42});

  auto nothing = MakeRequest(AddModel({-1, 0}));
  const TensorView none = {.type = ElementType::kFp32, .shape = {3, 0}};
  const auto empty = Run(*nothing, {none})[0];
  EXPECT_EQ(empty.shape, (Shape{3, 0}));
  EXPECT_EQ(empty.bytes, 0u);
}

TEST_F(OpenVinoRequestTest, EveryElementType) {
  const auto model = [](ov::element::Type type) {
    auto input = Input("x", {3, 4}, type);
    auto swapped = std::make_shared<ops::Transpose>(input, ops::Constant::create(ov::element::i64, ov::Shape{2}, {1, 0}));
    return std::make_shared<ov::Model>(ov::OutputVector{Named(swapped, "y")}, ov::ParameterVector{input});
  };
  const std::vector<std::pair<ov::element::Type, ElementType>> types = {
      {ov::element::boolean, ElementType::kBool}, {ov::element::i8, ElementType::kInt8},
      {ov::element::i16, ElementType::kInt16},    {ov::element::i32, ElementType::kInt32},
      {ov::element::i64, ElementType::kInt64},    {ov::element::u8, ElementType::kUint8},
      {ov::element::u16, ElementType::kUint16},   {ov::element::u32, ElementType::kUint32},
      {ov::element::u64, ElementType::kUint64},   {ov::element::f16, ElementType::kFp16},
      {ov::element::bf16, ElementType::kBf16},    {ov::element::f32, ElementType::kFp32},
      {ov::element::f64, ElementType::kFp64}};
  for (const auto& [theirs, ours] : types) {
    SCOPED_TRACE(KserveName(ours));
    const auto loaded = Load(model(theirs));
    ASSERT_NE(loaded, nullptr);
    EXPECT_EQ(loaded->signature().inputs[0].type, ours);
    EXPECT_EQ(loaded->signature().outputs[0].type, ours);
    ov::Tensor input(theirs, {3, 4});
    auto* bytes = static_cast<uint8_t*>(input.data());
    for (size_t i = 0; i < input.get_byte_size(); ++i)
      bytes[i] = static_cast<uint8_t>(theirs == ov::element::boolean ? i % 2 : i + 1);
    ov::Core core;
    auto direct =
        core.compile_model(folder_ / "model.xml", "CPU", {ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY)})
            .create_infer_request();
    direct.set_input_tensor(input);
    direct.infer();
    const ov::Tensor expected = direct.get_output_tensor();

    auto request = *loaded->CreateInferRequest();
    const TensorView view = {
        .type = ours, .shape = {3, 4}, .data = reinterpret_cast<std::byte*>(bytes), .bytes = input.get_byte_size()};
    const auto output = Run(*request, {view})[0];
    ASSERT_EQ(output.bytes, expected.get_byte_size());
    EXPECT_EQ(std::memcmp(output.data, expected.data(), output.bytes), 0);
  }
}

TEST_F(OpenVinoRequestTest, Strings) {
  for (const ov::PartialShape& shape : {ov::PartialShape{3}, ov::PartialShape{-1}}) {
    auto input = Input("text", shape, ov::element::string);
    auto request = MakeRequest(std::make_shared<ov::Model>(ov::OutputVector{Named(input, "text")}, ov::ParameterVector{input}));
    ASSERT_NE(request, nullptr);
    const std::vector<std::string_view> first = {"a", "", std::string_view("nul\0inside", 10)};
    const std::vector<std::string_view> second = {"a string that is too long to be kept inside of the object", "b", "c"};
    const auto one = Run(*request, {{.type = ElementType::kBytes, .shape = {3}, .strings = first}})[0];
    const auto two = Run(*request, {{.type = ElementType::kBytes, .shape = {3}, .strings = second}})[0];
    EXPECT_THAT(one.strings, ElementsAre(first[0], first[1], first[2]));
    EXPECT_THAT(two.strings, ElementsAre(second[0], second[1], second[2]));
    EXPECT_EQ(two.shape, Shape{3});
    if (!shape.is_static()) {
      EXPECT_THAT(Run(*request, {{.type = ElementType::kBytes, .shape = {0}}})[0].strings, ElementsAre());
      EXPECT_EQ(Run(*request, {{.type = ElementType::kBytes, .shape = {2}, .strings = absl::MakeSpan(first).subspan(0, 2)}})[0]
                    .strings.size(),
                2u);
    }
  }
}

TEST_F(OpenVinoRequestTest, OutputsThatHandOnAnInput) {
  for (const ov::PartialShape& shape : {ov::PartialShape{-1, 10}, ov::PartialShape{1, 10}, ov::PartialShape{2000, 10}}) {
    auto input = Input("b", shape);
    auto same = std::make_shared<ops::Reshape>(input, ops::Constant::create(ov::element::i64, ov::Shape{2}, {0, 0}), true);
    auto request = MakeRequest(
        std::make_shared<ov::Model>(ov::OutputVector{Named(PlusOne(input), "a"), input, same}, ov::ParameterVector{input}));
    ASSERT_NE(request, nullptr);
    std::vector<std::pair<std::vector<OutputTensor>, std::vector<float>>> taken;
    for (const int64_t rows : {1, 2000, 1, 2000, 2000, 1, 1}) {
      if (shape.is_static() && shape[0] != rows) continue;
      auto values =
          std::make_unique<std::vector<float>>(Ramp(static_cast<size_t>(rows) * 10, static_cast<float>(taken.size())));
      const auto expected = *values;
      ASSERT_TRUE(request->Bind({View(*values, {rows, 10})}).ok());
      ASSERT_TRUE(request->Infer().ok());
      std::fill(values->begin(), values->end(), -1.0f);
      values.reset();
      std::vector<OutputTensor> outputs;
      for (size_t i = 0; i < 3; ++i) outputs.push_back(*request->TakeOutput(i));
      taken.emplace_back(std::move(outputs), expected);
    }
    for (const auto& [outputs, expected] : taken) {
      EXPECT_EQ(Values<float>(outputs[0]), Plus(expected, 1)) << shape;
      EXPECT_EQ(Values<float>(outputs[1]), expected) << shape;
      EXPECT_EQ(Values<float>(outputs[2]), expected) << shape;
      EXPECT_EQ(outputs[2].shape, outputs[0].shape);
    }
  }
}

TEST_F(OpenVinoRequestTest, OneResultTwiceAndConstants) {
  for (const int64_t size : {int64_t{10}, int64_t{kLarge}}) {
    auto input = Input("b", {size});
    auto sum = PlusOne(input);
    auto constant = ops::Constant::create(ov::element::f32, ov::Shape{static_cast<size_t>(size)}, {7});
    auto request = MakeRequest(std::make_shared<ov::Model>(ov::OutputVector{sum, sum, constant}, ov::ParameterVector{input}));
    for (int i = 0; i < 3; ++i) {
      const auto values = Ramp(static_cast<size_t>(size), i);
      const auto outputs = Run(*request, {View(values, {size})}, 3);
      EXPECT_EQ(Values<float>(outputs[0]), Plus(values, 1));
      EXPECT_EQ(Values<float>(outputs[1]), Plus(values, 1));
      EXPECT_EQ(Values<float>(outputs[2]), std::vector<float>(static_cast<size_t>(size), 7));
    }
  }
}

TEST_F(OpenVinoRequestTest, OutputsGoToTheirPlaces) {
  const auto pass = [](const ov::PartialShape& shape) {
    auto input = Input("b", shape);
    auto sum = Named(PlusOne(input), "a");
    return std::make_shared<ov::Model>(ov::OutputVector{sum, input, sum}, ov::ParameterVector{input});
  };
  for (const ov::PartialShape& shape : {ov::PartialShape{-1, 10}, ov::PartialShape{1, 10}, ov::PartialShape{2000, 10}}) {
    auto request = MakeRequest(pass(shape));
    ASSERT_NE(request, nullptr);
    float step = 0;
    for (const int64_t rows : {1, 2000, 2000, 1, 2000, 2000}) {
      if (shape.is_static() && shape[0] != rows) continue;
      const auto count = static_cast<size_t>(rows) * 10;
      const auto values = Ramp(count, step++);
      // By turns: all in places, in places that are too small for some, and in none.
      std::vector<float> sum(count, -1), same(count + 3, -1), again(count, -1);
      const auto place = [&](std::vector<float>& to, size_t less = 0) {
        return OutputPlace{reinterpret_cast<std::byte*>(to.data()), to.size() * sizeof(float) - less};
      };
      std::vector<OutputPlace> places = {place(sum), place(same), place(again)};
      if (static_cast<int>(step) % 3 == 2) places = {place(sum, 1), place(same)};
      if (static_cast<int>(step) % 3 == 0) places.clear();
      ASSERT_TRUE(request->Bind({View(values, {rows, 10})}, places).ok());
      ASSERT_TRUE(request->Infer().ok());
      for (size_t i = 0; i < 3; ++i) {
        const auto output = request->TakeOutput(i);
        ASSERT_TRUE(output.ok()) << output.status();
        EXPECT_EQ(Values<float>(*output), i == 1 ? values : Plus(values, 1)) << shape << " " << i;
        EXPECT_EQ(output->shape, (Shape{rows, 10}));
        const bool fits = i < places.size() && places[i].bytes >= count * sizeof(float);
        EXPECT_EQ(output->owner == nullptr, fits);
        if (fits) {
          EXPECT_EQ(output->data, places[i].data);
        }
      }
      if (places.size() < 2) {
        EXPECT_EQ(sum[0], -1);
      }
      EXPECT_EQ(same[count], -1);
    }
  }
}

TEST_F(OpenVinoRequestTest, SeveralInputsOfSeveralSizes) {
  auto x = Input("x", {1, kLarge}), y = Input("y", {1});
  auto request = MakeRequest(std::make_shared<ov::Model>(
      ov::OutputVector{Named(std::make_shared<ops::Add>(x, y), "sum"), Named(PlusOne(y), "z")}, ov::ParameterVector{x, y}));
  for (const float by : {1.0f, 2.0f}) {
    const auto large = Ramp(kLarge);
    const auto outputs = Run(*request, {View(large, {1, kLarge}), View({by}, {1})}, 2);
    EXPECT_EQ(Values<float>(outputs[0]), Ramp(kLarge, by));
    EXPECT_EQ(Values<float>(outputs[1]), std::vector<float>{by + 1});
  }
}

TEST_F(OpenVinoRequestTest, AsynchronousInferencesChainInTheirCallbacks) {
  auto request = MakeRequest(AddModel({1, 10}));
  const auto values = Ramp(10);
  std::promise<void> ended;
  int runs = 0;
  std::vector<OutputTensor> outputs;
  std::function<void(Status)> next = [&](Status status) {
    ASSERT_TRUE(status.ok()) << status;
    outputs.push_back(*request->TakeOutput(0));
    if (++runs == 5) return ended.set_value();
    ASSERT_TRUE(request->Bind({View(values, {1, 10})}).ok());
    request->StartAsync(next);
  };
  ASSERT_TRUE(request->Bind({View(values, {1, 10})}).ok());
  request->StartAsync(next);
  ended.get_future().wait();
  for (const auto& output : outputs) EXPECT_EQ(Values<float>(output), Ramp(10, 1));
  // Infer() does not run the callback of an earlier StartAsync.
  EXPECT_EQ(Values<float>(Run(*request, {View(values, {1, 10})})[0]), Ramp(10, 1));
  EXPECT_EQ(runs, 5);
}

TEST_F(OpenVinoRequestTest, MisuseAndFailingInferencesAreErrors) {
  auto x = Input("x", {-1}), y = Input("y", {-1});
  auto request = MakeRequest(
      std::make_shared<ov::Model>(ov::OutputVector{Named(std::make_shared<ops::Add>(x, y), "sum")}, ov::ParameterVector{x, y}));
  EXPECT_EQ(request->Infer().code(), StatusCode::kInternal);
  EXPECT_FALSE(request->TakeOutput(0).ok());
  EXPECT_FALSE(request->Bind({}).ok());
  const auto six = Ramp(6), four = Ramp(4);
  EXPECT_THAT(Message(request->Bind({View(six, {7}), View(six, {6})})), HasSubstr("Input x"));

  ASSERT_TRUE(request->Bind({View(six, {6}), View(four, {4})}).ok());
  const Status failed = request->Infer();
  EXPECT_EQ(failed.code(), StatusCode::kInvalidArgument) << "the caller chose the shapes";
  EXPECT_EQ(FaultOf(failed), Fault::kNone);
  EXPECT_THAT(Message(failed), HasSubstr("The shapes of the inputs do not fit each other in the model"));
  EXPECT_THAT(Message(failed), HasSubstr("mismatch"));
  EXPECT_THAT(Message(failed), ::testing::Not(HasSubstr("src/")));
  EXPECT_FALSE(request->TakeOutput(0).ok());
  ASSERT_TRUE(request->Bind({View(six, {6}), View(four, {4})}).ok());
  std::promise<Status> ended;
  request->StartAsync([&](Status status) { ended.set_value(std::move(status)); });
  EXPECT_EQ(ended.get_future().get().code(), StatusCode::kInvalidArgument);
  const auto twice = [](std::vector<float> values) {
    for (float& value : values) value *= 2;
    return values;
  };
  EXPECT_EQ(Values<float>(Run(*request, {View(six, {6}), View(six, {6})})[0]), twice(six)) << "a failure leaves no trace";
}

TEST_F(OpenVinoRequestTest, OnlyShapeInferenceIsTheCallersFault) {
  // Another check of the plugin's: it may be the caller's fault or not.
  auto x = Input("x", {-1});
  const auto five = ops::Constant::create(ov::element::i64, {}, {5});
  auto top = std::make_shared<ops::TopK>(x, five, 0, ops::TopK::Mode::MAX, ops::TopK::SortType::SORT_VALUES);
  auto request = MakeRequest(std::make_shared<ov::Model>(ov::OutputVector{Named(top->output(0), "t")}, ov::ParameterVector{x}));
  const auto three = Ramp(3);
  ASSERT_TRUE(request->Bind({View(three, {3})}).ok());
  const Status failed = request->Infer();
  EXPECT_EQ(failed.code(), StatusCode::kInternal) << failed;
  EXPECT_EQ(FaultOf(failed), Fault::kModel);
  EXPECT_THAT(Message(failed), HasSubstr("exceeds the axis dimension"));
  EXPECT_THAT(Message(failed), ::testing::Not(HasSubstr("src/")));
}

TEST_F(OpenVinoRequestTest, VirtualDevices) {
  for (const char* target : {"BATCH:CPU(2)", "HETERO:CPU"}) {
    SCOPED_TRACE(target);
    const auto loaded =
        Load(AddModel({1, 10}), {.target_device = target, .plugin_config = {{"AUTO_BATCH_TIMEOUT", {int64_t{1}}}}});
    ASSERT_NE(loaded, nullptr);
    EXPECT_FALSE(loaded->facts().cpu_only);
    EXPECT_EQ(loaded->facts().execution_devices, std::vector<std::string>{"CPU"});
    auto request = *loaded->CreateInferRequest();
    for (const float from : {0.0f, 5.0f}) {
      EXPECT_EQ(Values<float>(Run(*request, {View(Ramp(10, from), {1, 10})})[0]), Ramp(10, from + 1));
    }
    auto large =
        MakeRequest(AddModel({1, kLarge}), {.target_device = target, .plugin_config = {{"AUTO_BATCH_TIMEOUT", {int64_t{1}}}}});
    for (const float from : {0.0f, 5.0f}) {
      const auto values = Ramp(kLarge, from);
      EXPECT_EQ(Values<float>(Run(*large, {View(values, {1, kLarge})})[0]), Ramp(kLarge, from + 1));
    }
  }
}

}  // namespace
}  // namespace switchyard
