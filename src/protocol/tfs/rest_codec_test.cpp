#include "protocol/tfs/rest_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <limits>

#include "protocol/http/test_body.h"
#include "tensor/half.h"

namespace switchyard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TensorSpec Spec(const std::string& name, ElementType type, size_t rank = 2) {
  TensorSpec spec{name, type, {}, 0};
  spec.shape.dims.assign(rank, Dimension::Dynamic());
  return spec;
}

struct Decoded {
  std::unique_ptr<Signature> signature = std::make_unique<Signature>();
  Status status;
  DecodedRequest request;
  bool rows = false;

  const TensorView& operator[](std::string_view name) const {
    static const TensorView none;
    for (const NamedTensor& input : request.inputs) {
      if (input.name == name) return input.tensor;
    }
    return none;
  }
  template <typename T>
  std::vector<T> Values(std::string_view name = "x") const {
    const TensorView& view = (*this)[name];
    std::vector<T> values(view.bytes / sizeof(T));
    if (view.bytes > 0) std::memcpy(values.data(), view.data, view.bytes);
    return values;
  }
  std::vector<std::string> Strings(std::string_view name = "x") const {
    const auto& strings = (*this)[name].strings;
    return {strings.begin(), strings.end()};
  }
  Shape ShapeOf(std::string_view name = "x") const { return (*this)[name].shape; }
  std::string Text() const { return std::string(Message(status)); }
};

Decoded Decode(const std::string& json, std::vector<TensorSpec> inputs = {Spec("x", ElementType::kFp32)}) {
  Decoded decoded;
  decoded.signature->inputs = std::move(inputs);
  decoded.status = DecodeTfsPredict(MakeBody(json), *decoded.signature, decoded.request, decoded.rows);
  return decoded;
}

// Large arrays of numbers are read by another way, which nobody should notice.
TEST(TfsRestDecode, LargeTensorsAreReadAsSmallOnesAre) {
  std::string image;
  for (int i = 0; i < 1500; ++i)
    image += (i == 0 ? "[[" : i % 100 == 0 ? "],[" : ",") + ("[" + std::to_string(i % 251) + ".5,0,1]");
  image += "]]";
  const std::vector<TensorSpec> one = {Spec("x", ElementType::kFp32, 4)};
  const auto expect = [](const Decoded& decoded, const Shape& shape) {
    ASSERT_TRUE(decoded.status.ok()) << decoded.status;
    EXPECT_EQ(decoded.ShapeOf(), shape);
    const std::vector<float> values = decoded.Values<float>();
    ASSERT_EQ(values.size() % 4500, 0U);
    EXPECT_EQ(values[3 * 1499], 1499 % 251 + 0.5f);
    EXPECT_EQ(values[values.size() - 1], 1);
  };
  expect(Decode("{\"instances\":[" + image + "," + image + "]}", one), {2, 15, 100, 3});
  expect(Decode("{\"instances\":[{\"x\":" + image + "},{\"x\":" + image + "}]}", one), {2, 15, 100, 3});
  expect(Decode("{\"inputs\":[" + image + "]}", one), {1, 15, 100, 3});
  expect(Decode("{\"inputs\":{\"x\":[" + image + "]}}", one), {1, 15, 100, 3});
  // Numbers that have to be cast or cut off, and what is no ndarray.
  const Decoded bytes = Decode("{\"inputs\":[" + image + "]}", {Spec("x", ElementType::kUint8, 4)});
  ASSERT_TRUE(bytes.status.ok()) << bytes.status;
  EXPECT_EQ(bytes.Values<uint8_t>()[3 * 1499], 1499 % 251);
  EXPECT_THAT(Decode("{\"instances\":[" + image + ",[[[1,2]]]]}", one).Text(), HasSubstr("arrays of"));
  EXPECT_THAT(Decode("{\"instances\":[{\"x\":" + image + "},{\"x\":[[[1,2]]]}]}", one).Text(), HasSubstr("arrays of"));
  EXPECT_THAT(Decode("{\"instances\":[" + image + ",1]}", one).Text(), HasSubstr("some elements are arrays"));
  EXPECT_THAT(Decode("{\"instances\":[" + image + "],}", one).Text(), HasSubstr("not valid json"));
  EXPECT_THAT(Decode("{\"inputs\":[" + image + "]}", {Spec("x", ElementType::kFp32), Spec("y", ElementType::kFp32)}).Text(),
              HasSubstr("each must be named"));
}

TEST(TfsRestDecode, ReadsTheFourLayouts) {
  const std::vector<TensorSpec> two = {Spec("x", ElementType::kFp32), Spec("y", ElementType::kInt32)};
  const Decoded row = Decode(R"({"signature_name":"s","instances":[{"x":[1,2],"y":7},{"y":8,"x":[3,4.5]}]})", two);
  ASSERT_TRUE(row.status.ok()) << row.status;
  EXPECT_TRUE(row.rows);
  EXPECT_THAT(row.Values<float>("x"), ElementsAre(1, 2, 3, 4.5));
  EXPECT_EQ(row.ShapeOf("x"), (Shape{2, 2}));
  EXPECT_THAT(row.Values<int32_t>("y"), ElementsAre(7, 8));
  EXPECT_EQ(row.ShapeOf("y"), (Shape{2}));

  const Decoded unnamed = Decode(R"({"instances":[[[1,2],[3,4]],[[5,6],[7,8]],[[9,10],[11,12]]]})");
  ASSERT_TRUE(unnamed.status.ok()) << unnamed.status;
  EXPECT_EQ(unnamed.ShapeOf(), (Shape{3, 2, 2}));
  EXPECT_EQ(unnamed.Values<float>().back(), 12);
  EXPECT_EQ(Decode(R"({"instances":[1,2,3]})").ShapeOf(), (Shape{3}));

  const Decoded column = Decode(R"({"inputs":{"x":[[1,2]],"y":[[3],[4]]}})", two);
  ASSERT_TRUE(column.status.ok()) << column.status;
  EXPECT_FALSE(column.rows);
  EXPECT_EQ(column.ShapeOf("x"), (Shape{1, 2}));
  EXPECT_EQ(column.ShapeOf("y"), (Shape{2, 1}));

  EXPECT_EQ(Decode(R"({"inputs":[[1],[2]]})").ShapeOf(), (Shape{2, 1}));
  const Decoded scalar = Decode(R"({"inputs":5})");
  EXPECT_EQ(scalar.ShapeOf(), Shape());
  EXPECT_THAT(scalar.Values<float>(), ElementsAre(5));
  EXPECT_EQ(Decode(R"({"inputs":{"x":5}})").ShapeOf(), Shape());
  EXPECT_EQ(Decode(R"({"inputs":[]})").ShapeOf(), (Shape{0}));
  EXPECT_EQ(Decode(R"({"inputs":[[],[]]})").ShapeOf(), (Shape{2, 0}));
}

TEST(TfsRestDecode, ConvertsToTheModelsType) {
  const auto convert = [](ElementType type, const std::string& values) {
    return Decode("{\"inputs\":[" + values + "]}", {Spec("x", type)});
  };
  EXPECT_THAT(convert(ElementType::kInt32, "1.9,-1.9,3e2").Values<int32_t>(), ElementsAre(1, -1, 300));
  EXPECT_THAT(convert(ElementType::kUint8, "255.5").Values<uint8_t>(), ElementsAre(255));
  EXPECT_THAT(convert(ElementType::kInt64, "9223372036854775807").Values<int64_t>(), ElementsAre(INT64_MAX));
  EXPECT_THAT(convert(ElementType::kUint64, "18446744073709551615").Values<uint64_t>(), ElementsAre(UINT64_MAX));
  EXPECT_THAT(convert(ElementType::kFp16, "0.5,1").Values<uint16_t>(), ElementsAre(FloatToHalf(0.5f), FloatToHalf(1.0f)));
  EXPECT_THAT(convert(ElementType::kBf16, "0.5").Values<uint16_t>(), ElementsAre(FloatToBfloat16(0.5f)));
  EXPECT_THAT(convert(ElementType::kBool, "true,false,1,0").Values<uint8_t>(), ElementsAre(1, 0, 1, 0));
  EXPECT_THAT(Decode(R"({"instances":[true,false]})", {Spec("x", ElementType::kBool)}).Values<uint8_t>(), ElementsAre(1, 0));
  for (const auto& [type, value] :
       std::vector<std::pair<ElementType, std::string>>{{ElementType::kInt8, "128"},
                                                        {ElementType::kInt8, "-129.5"},
                                                        {ElementType::kUint8, "-1"},
                                                        {ElementType::kUint8, "256"},
                                                        {ElementType::kInt32, "true"},
                                                        {ElementType::kInt32, "NaN"},
                                                        {ElementType::kInt64, "9223372036854775808"},
                                                        {ElementType::kUint64, "18446744073709551616"},
                                                        {ElementType::kFp16, "70000"},
                                                        {ElementType::kFp32, "1e300"},
                                                        {ElementType::kBool, "2"},
                                                        {ElementType::kFp32, "true"},
                                                        {ElementType::kBytes, "1"},
                                                        {ElementType::kBytes, "NaN"}}) {
    EXPECT_EQ(convert(type, value).status.code(), StatusCode::kInvalidArgument) << value;
  }
}

TEST(TfsRestDecode, BareWordsAreNumbersAlone) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_THAT(Decode(R"({"instances":[Infinity,1]})", {Spec("x", ElementType::kFp32, 1)}).Values<float>(), ElementsAre(inf, 1));
  EXPECT_THAT(Decode(R"({"instances":[[-Infinity],[1]]})").Values<float>(), ElementsAre(-inf, 1));
  EXPECT_THAT(Decode(R"({"instances":[{"x":[Infinity,2]}]})").Values<float>(), ElementsAre(inf, 2));
  EXPECT_THAT(Decode(R"({"instances":[{"x":1},{"x":Infinity}]})").Values<float>(), ElementsAre(1, inf));
  EXPECT_THAT(Decode(R"({"inputs":{"x":Infinity}})").Values<float>(), ElementsAre(inf));
  EXPECT_THAT(Decode(R"({"inputs":-Infinity})").Values<float>(), ElementsAre(-inf));
  EXPECT_THAT(Decode(R"({"inputs":[[1],["Infinity"]]})").Values<float>(), ElementsAre(1, inf));
  const std::vector<TensorSpec> bytes = {Spec("x", ElementType::kBytes, 1)};
  EXPECT_THAT(Decode(R"({"instances":["NaN"]})", bytes).Strings(), ElementsAre("NaN"));
  EXPECT_THAT(Decode(R"({"instances":[NaN]})", bytes).Text(), HasSubstr("NaN (number) is not a value of BYTES"));
  EXPECT_THAT(Decode(R"({"instances":[{"x":1},NaN]})").Text(), HasSubstr("must be objects, but there is NaN (number)"));
  EXPECT_THAT(Decode(R"({"inputs":{NaN:[1]}})").Text(), HasSubstr("not valid json"));
}

TEST(TfsRestDecode, ReadsStrings) {
  const std::vector<TensorSpec> bytes = {Spec("x", ElementType::kBytes, 1)};
  EXPECT_THAT(Decode(R"({"instances":["a",{"b64":"YWI="}]})", bytes).Strings(), ElementsAre("a", "ab"));
  EXPECT_THAT(Decode(R"({"instances":[{"b64":"YWI="},"a"]})", bytes).Strings(), ElementsAre("ab", "a"));
  EXPECT_THAT(Decode(R"({"instances":[{"x":{"b64":"/w=="}}]})", bytes).Strings(), ElementsAre("\xff"));
  const Decoded scalar = Decode(R"({"inputs":{"b64":"YWI="}})", bytes);
  EXPECT_THAT(scalar.Strings(), ElementsAre("ab"));
  EXPECT_EQ(scalar.ShapeOf(), Shape());
  EXPECT_EQ(Decode(R"({"inputs":[["a"],["b"]]})", bytes).ShapeOf(), (Shape{2, 1}));
  EXPECT_THAT(Decode(R"({"instances":[{"b64":"%"}]})", bytes).Text(), HasSubstr("base64"));
  EXPECT_THAT(Decode(R"({"instances":[{"b64":"YWI="}]})").Text(), HasSubstr("Invalid input precision"));
  EXPECT_THAT(Decode(R"({"instances":["text"]})").Text(), HasSubstr("Invalid input precision"));
}

TEST(TfsRestDecode, EncodedPicturesTakeTheTensorsPlace) {
  const std::vector<TensorSpec> image = {Spec("x", ElementType::kFp32, 4)};
  for (const char* json :
       {R"({"instances":[{"b64":"YWI="},{"b64":"Yw=="}]})", R"({"instances":[{"x":{"b64":"YWI="}},{"x":{"b64":"Yw=="}}]})",
        R"({"inputs":{"x":[{"b64":"YWI="},{"b64":"Yw=="}]}})", R"({"inputs":[[{"b64":"YWI="}],[{"b64":"Yw=="}]]})"}) {
    const Decoded decoded = Decode(json, image);
    EXPECT_THAT(decoded.Strings(), ElementsAre("ab", "c")) << json << decoded.Text();
    EXPECT_EQ(decoded.ShapeOf(), Shape{2}) << json;
  }
  EXPECT_EQ(Decode(R"({"inputs":{"x":{"b64":"YWI="}}})", image).ShapeOf(), Shape{1});
  EXPECT_THAT(Decode(R"({"inputs":[{"b64":"YWI="},1]})", image).Text(), HasSubstr("Could not parse"));
  EXPECT_THAT(Decode(R"({"inputs":[1,{"b64":"YWI="}]})", image).Text(), HasSubstr("Invalid input precision"));
  EXPECT_THAT(Decode(R"({"instances":["text"]})", image).Text(), HasSubstr("Invalid input precision"));
}

TEST(TfsRestDecode, TextsTakeThePlaceOfRowsOfBytes) {
  const std::vector<TensorSpec> rows = {Spec("x", ElementType::kUint8, 2)};
  const Decoded decoded = Decode(R"({"instances":["a",{"b64":"YWI="}]})", rows);
  EXPECT_THAT(decoded.Strings(), ElementsAre("a", "ab")) << decoded.Text();
  EXPECT_EQ(decoded.ShapeOf(), Shape{2});
  EXPECT_EQ(Decode(R"({"instances":[[1,2],[3,4]]})", rows).ShapeOf(), (Shape{2, 2}));
}

TEST(TfsRestDecode, SaysWhatIsWrong) {
  const std::vector<TensorSpec> two = {Spec("x", ElementType::kFp32), Spec("y", ElementType::kFp32)};
  struct Fault {
    std::string json;
    std::string says;
    std::vector<TensorSpec> inputs = {Spec("x", ElementType::kFp32)};
  };
  const Fault faults[] = {
      {"", "not valid json"},
      {"{", "not valid json"},
      {"[1]", "should be JSON object"},
      {"{}", "row or column format"},
      {R"({"instances":[1],"inputs":[1]})", "row or column format"},
      {R"({"instances":1})", "not an array"},
      {R"({"instances":[]})", "Missing instances"},
      {R"({"instances":[null]})", "named or nonamed"},
      {R"({"instances":[true]})", "named or nonamed"},
      {R"({"instances":[{"x":1},2]})", "named instances"},
      {R"({"instances":[{"x":1,"y":1},{"x":1}]})", "different batch sizes - instances[1] has no value for y", two},
      {R"({"instances":[{"x":1,"y":1},{"x":2},{"y":2}]})", "instances[1] has no value for y", two},
      {R"({"instances":[{"x":1},{"x":2,"y":1}]})", "instances[0] has no value for y", two},
      {R"({"instances":[{},{"x":1}]})", "instances[0] has no value for x"},
      {R"({"instances":[{"x":1},{}]})", "instances[1] has no value for x"},
      {R"({"instances":[{"x":1},{},{"x":1,"x":2}]})", "instances[1] has no value for x"},
      {R"({"instances":[{"x":1,"x":2}]})", "instances[0] has several values for x"},
      {R"({"instances":[{"x":1,"y":1},{"y":1,"y":2,"x":2}]})", "instances[1] has several values for y", two},
      {R"({"instances":[1]})", "expected format", two},
      {R"({"inputs":[1]})", "expected format", two},
      {R"({"inputs":"a"})", "inputs is not a JSON object", two},
      {R"({"inputs":null})", "inputs is not a JSON object"},
      {R"({"inputs":{}})", "missing inputs"},
      {R"({"instances":[[1,2],[3]]})", "Not valid ndarray"},
      {R"({"instances":[[1,2],3]})", "Not valid ndarray"},
      {R"({"instances":[1,[2]]})", "Not valid ndarray"},
      {R"({"instances":[[1],[[2]]]})", "Not valid ndarray"},
      {R"({"instances":[[[1]],[2]]})", "Not valid ndarray"},
      {R"({"instances":[[],[1]]})", "Not valid ndarray"},
      {R"({"instances":[[[1],[2]],[[3]]]})", "Not valid ndarray"},
      {R"({"instances":[[1,null]]})", "Not valid ndarray"},
      {R"({"instances":[[1,{}]]})", "Not valid ndarray"},
      {R"({"instances":[{"x":[1]},{"x":[1,2]}]})", "Not valid ndarray"},
      {R"({"instances":[{"x":[1]},{"x":1}]})", "Not valid ndarray"},
      {R"({"inputs":{"x":[[1],2]}})", "Not valid ndarray"},
      {R"({"inputs":{"x":{}}})", "Not valid ndarray"},
      {"{\"inputs\":" + std::string(101, '[') + std::string(101, ']') + "}", "depth"},
  };
  for (const Fault& fault : faults) {
    const Decoded decoded = Decode(fault.json, fault.inputs);
    EXPECT_EQ(decoded.status.code(), StatusCode::kInvalidArgument) << fault.json;
    EXPECT_THAT(decoded.Text(), HasSubstr(fault.says)) << fault.json;
  }
}

TEST(TfsRestDecode, AModelWithoutInputsNeedsNone) {
  for (const char* body : {R"({"inputs":{}})", R"({"instances":[{}]})"}) {
    const Decoded decoded = Decode(body, {});
    EXPECT_TRUE(decoded.status.ok()) << decoded.status;
    EXPECT_TRUE(decoded.request.inputs.empty());
  }
  EXPECT_THAT(Decode(R"({"instances":[{},{}]})", {}).Text(), HasSubstr("Expected: one instance; Actual: 2"));
  EXPECT_THAT(Decode("{}", {}).Text(), HasSubstr("row or column format"));
}

TEST(TfsRestDecode, LeavesUnknownInputsToTheValidator) {
  const Decoded decoded = Decode(R"({"instances":[{"x":1,"z":"?"},{"x":1,"z":[]}]})");
  ASSERT_TRUE(decoded.status.ok()) << decoded.status;
  ASSERT_EQ(decoded.request.inputs.size(), 2U);
  EXPECT_EQ(decoded["z"].type, ElementType::kUndefined);
}

TEST(TfsRestDecode, ReadsAnImageOfNumbers) {
  std::string json = "{\"instances\":[[";
  for (int c = 0; c < 3; ++c) {
    json += c == 0 ? "[" : ",[";
    for (int y = 0; y < 224; ++y) {
      json += y == 0 ? "[" : ",[";
      for (int x = 0; x < 224; ++x) json += (x == 0 ? "0.123456" : ",0.123456") + std::to_string(x);
      json += "]";
    }
    json += "]";
  }
  json += "]]}";
  const Decoded decoded = Decode(json, {Spec("x", ElementType::kFp32, 4)});
  ASSERT_TRUE(decoded.status.ok()) << decoded.status;
  EXPECT_EQ(decoded.ShapeOf(), (Shape{1, 3, 224, 224}));
  EXPECT_EQ(decoded.Values<float>()[223], 0.123456223f);
}

// One finished call with these outputs.
struct Finished {
  Signature signature;
  InferCall call;

  void Add(const std::string& name, ElementType type, Shape shape, const void* data, size_t bytes) {
    auto spec = std::make_unique<TensorSpec>(Spec(name, type));
    call.outputs.push_back(
        NamedOutput{spec.get(), {type, std::move(shape), static_cast<const std::byte*>(data), bytes, {}, nullptr}});
    specs.push_back(std::move(spec));
  }
  void AddStrings(const std::string& name, Shape shape, std::vector<std::string> strings) {
    Add(name, ElementType::kBytes, std::move(shape), nullptr, 0);
    call.outputs.back().tensor.strings = std::move(strings);
  }
  std::vector<std::unique_ptr<TensorSpec>> specs;
};

TEST(TfsRestEncode, WritesRowsAndColumns) {
  const float values[] = {1, 2, 3, 4};
  const int32_t numbers[] = {5, 6};
  Finished one;
  one.Add("a", ElementType::kFp32, {2, 2}, values, sizeof(values));
  EXPECT_EQ(*EncodeTfsPredict(one.call, true), R"({"predictions":[[1.0,2.0],[3.0,4.0]]})");
  EXPECT_EQ(*EncodeTfsPredict(one.call, false), R"({"outputs":[[1.0,2.0],[3.0,4.0]]})");
  one.Add("b", ElementType::kInt32, {2}, numbers, sizeof(numbers));
  EXPECT_EQ(*EncodeTfsPredict(one.call, true), R"({"predictions":[{"a":[1.0,2.0],"b":5},{"a":[3.0,4.0],"b":6}]})");
  EXPECT_EQ(*EncodeTfsPredict(one.call, false), R"({"outputs":{"a":[[1.0,2.0],[3.0,4.0]],"b":[5,6]}})");
  one.Add("c", ElementType::kInt32, {1, 2}, numbers, sizeof(numbers));
  EXPECT_EQ(EncodeTfsPredict(one.call, true).status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(EncodeTfsPredict(one.call, false).ok());
}

TEST(TfsRestEncode, WritesScalarsEmptiesAndStrings) {
  const float value = 0.5f;
  Finished scalar;
  scalar.Add("a", ElementType::kFp32, {}, &value, sizeof(value));
  EXPECT_EQ(*EncodeTfsPredict(scalar.call, false), R"({"outputs":0.5})");
  EXPECT_EQ(EncodeTfsPredict(scalar.call, true).status().code(), StatusCode::kInvalidArgument);
  Finished empty;
  empty.Add("a", ElementType::kFp32, {2, 0}, &value, 0);
  EXPECT_EQ(*EncodeTfsPredict(empty.call, true), R"({"predictions":[[],[]]})");
  Finished text;
  text.AddStrings("a", {2}, {"x\"", "\xff"});
  EXPECT_EQ(*EncodeTfsPredict(text.call, true), R"({"predictions":["x\"",{"b64":"/w=="}]})");
  Finished bytes;
  bytes.AddStrings("a_bytes", {1}, {"ab"});
  EXPECT_EQ(*EncodeTfsPredict(bytes.call, false), R"({"outputs":[{"b64":"YWI="}]})");
}

}  // namespace
}  // namespace switchyard
