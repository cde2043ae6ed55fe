#include "protocol/kserve/rest_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "protocol/http/test_body.h"

namespace switchyard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Decoded {
  Status status;
  DecodedRequest request;
  KserveOutputForm form;

  template <typename T>
  std::vector<T> Values(size_t input = 0) const {
    const TensorView& view = request.inputs[input].tensor;
    std::vector<T> values(view.bytes / sizeof(T));
    if (view.bytes > 0) std::memcpy(values.data(), view.data, view.bytes);
    return values;
  }
  std::vector<std::string> Strings(size_t input = 0) const {
    const auto& strings = request.inputs[input].tensor.strings;
    return {strings.begin(), strings.end()};
  }
};

const TimePoint kNow = TimePoint(std::chrono::hours(5));

const Signature kOneInput{.inputs = {TensorSpec{"x", ElementType::kFp32, {}}}, .outputs = {}};

Decoded Decode(const std::string& json, const std::string& binary = {}, bool has_length = false,
               const Signature& signature = kOneInput) {
  Decoded decoded;
  std::optional<uint64_t> length;
  if (has_length || !binary.empty()) length = json.size();
  decoded.status = DecodeKserveInfer(MakeBody(json + binary, length.value_or(0)), length, signature, kNow, decoded.request,
                                     decoded.form);
  return decoded;
}

std::string Input(const std::string& type, const std::string& shape, const std::string& rest) {
  return "{\"name\":\"x\",\"datatype\":\"" + type + "\",\"shape\":" + shape + (rest.empty() ? "" : ",") + rest + "}";
}
std::string Request(const std::string& inputs, const std::string& more = {}) {
  return "{" + more + "\"inputs\":[" + inputs + "]}";
}
Decoded DecodeData(const std::string& type, const std::string& data) {
  return Decode(Request(Input(type, "[1]", "\"data\":" + data)));
}

TEST(KserveRestDecode, ReadsEveryType) {
  EXPECT_THAT(DecodeData("BOOL", "[true,false]").Values<uint8_t>(), ElementsAre(1, 0));
  EXPECT_THAT(DecodeData("INT8", "[-128,127]").Values<int8_t>(), ElementsAre(-128, 127));
  EXPECT_THAT(DecodeData("INT16", "[-32768,32767]").Values<int16_t>(), ElementsAre(-32768, 32767));
  EXPECT_THAT(DecodeData("INT32", "[-2147483648,2147483647]").Values<int32_t>(), ElementsAre(INT32_MIN, INT32_MAX));
  EXPECT_THAT(DecodeData("INT64", "[-9223372036854775808,9223372036854775807]").Values<int64_t>(),
              ElementsAre(INT64_MIN, INT64_MAX));
  EXPECT_THAT(DecodeData("UINT8", "[0,255]").Values<uint8_t>(), ElementsAre(0, 255));
  EXPECT_THAT(DecodeData("UINT16", "[65535]").Values<uint16_t>(), ElementsAre(65535));
  EXPECT_THAT(DecodeData("UINT32", "[4294967295]").Values<uint32_t>(), ElementsAre(UINT32_MAX));
  EXPECT_THAT(DecodeData("UINT64", "[18446744073709551615,1]").Values<uint64_t>(), ElementsAre(UINT64_MAX, 1U));
  EXPECT_THAT(DecodeData("FP32", "[[0.1,[1],[]],[-2e3]]").Values<float>(), ElementsAre(0.1f, 1.0f, -2000.0f));
  EXPECT_THAT(DecodeData("FP64", "[0.1,18446744073709551615]").Values<double>(), ElementsAre(0.1, 18446744073709551615.0));
  EXPECT_THAT(DecodeData("BYTES", "[\"a\\u0000b\",[\"\\u00fc\"],\"\"]").Strings(),
              ElementsAre(std::string("a\0b", 3), "\xc3\xbc", ""));
  const Decoded special = DecodeData("FP32", "[\"NaN\",\"Infinity\",-Infinity,NaN]");
  const auto values = special.Values<float>();
  ASSERT_EQ(values.size(), 4U) << special.status;
  EXPECT_TRUE(std::isnan(values[0]) && std::isnan(values[3]));
  EXPECT_EQ(values[1], INFINITY);
  EXPECT_EQ(values[2], -INFINITY);
  EXPECT_EQ(special.request.inputs[0].tensor.origin, TensorView::Origin::kValues);
}

TEST(KserveRestDecode, RefusesValuesThatDoNotFit) {
  const std::pair<const char*, const char*> unfit[] = {
      {"BOOL", "[1]"},
      {"BOOL", "[\"true\"]"},
      {"INT8", "[128]"},
      {"INT8", "[-129]"},
      {"UINT8", "[-1]"},
      {"UINT8", "[256]"},
      {"INT32", "[2147483648]"},
      {"INT64", "[9223372036854775808]"},
      {"UINT64", "[-1]"},
      {"UINT64", "[18446744073709551616]"},
      {"INT32", "[1.5]"},
      {"INT32", "[true]"},
      {"INT32", "[null]"},
      {"INT32", "[\"1\"]"},
      {"FP32", "[1e39]"},
      {"FP32", "[\"nan\"]"},
      {"FP32", "[{}]"},
      {"FP64", "[true]"},
      {"BYTES", "[1]"},
      {"BYTES", "[NaN]"},
      {"INT32", "[NaN]"},
      {"BOOL", "[Infinity]"},
      {"FP32", "NaN"},
      {"BYTES", "[{\"b64\":\"YWI=\"}]"},
      {"FP16", "[1]"},
      {"BF16", "[1]"},
      {"FP32", "1"},
      {"FP32", "null"},
      {"FP33", "[1]"},
      {"fp32", "[1]"},
  };
  for (const auto& [type, data] : unfit) {
    const Decoded decoded = DecodeData(type, data);
    EXPECT_EQ(decoded.status.code(), StatusCode::kInvalidArgument) << type << " " << data;
    EXPECT_THAT(std::string(Message(decoded.status)), HasSubstr("input name: x")) << type << " " << data;
  }
}

// Large arrays of numbers are read by another way, which nobody should notice.
TEST(KserveRestDecode, LargeTensorsAreReadAsSmallOnesAre) {
  std::string numbers, rows;
  std::vector<float> values;
  for (int i = 0; i < 6000; ++i) {
    const std::string number = std::to_string(i % 97) + (i % 3 == 0 ? ".125" : i % 3 == 1 ? "" : "e-1");
    numbers += (i == 0 ? "" : ",") + number;
    rows += (i == 0 ? "[" : i % 3 == 0 ? "],[" : ",") + number;
    values.push_back(std::stof(number));
  }
  rows += "]";
  const std::string flat = Input("FP32", "[6000]", "\"data\":[" + numbers + "]");
  const std::string nested = Input("FP32", "[2000,3]", "\"data\":[" + rows + "]");
  const Decoded both = Decode(Request(flat + "," + nested, "\"id\":\"7\",\"parameters\":{\"binary_data_output\":true},"));
  ASSERT_TRUE(both.status.ok()) << both.status;
  EXPECT_EQ(both.Values<float>(0), values);
  EXPECT_EQ(both.Values<float>(1), values);
  EXPECT_EQ(both.request.inputs[1].tensor.shape, (Shape{2000, 3}));
  EXPECT_EQ(both.request.id, "7");
  EXPECT_TRUE(both.form.binary_default);
  // Rows of different lengths, and words, are the other reader's: the shape says what they are.
  const std::string uneven = Input("FP32", "[6001]", "\"data\":[" + rows + ",[NaN]]");
  ASSERT_TRUE(Decode(Request(uneven)).status.ok());
  EXPECT_EQ(Decode(Request(uneven)).Values<float>().size(), 6001U);
  const std::string with_binary = R"({"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}})";
  const Decoded mixed = Decode(Request(with_binary + "," + uneven), std::string(4, '\0'));
  EXPECT_TRUE(mixed.status.ok()) << mixed.status;
  EXPECT_EQ(mixed.request.inputs.size(), 2U);
}

TEST(KserveRestDecode, FaultsOfLargeTensorsAreToldAsThoseOfSmallOnes) {
  std::string numbers;
  for (int i = 0; i < 6000; ++i) numbers += "1.5,";
  const auto told = [&](const std::string& type, const std::string& data) {
    return std::string(Message(Decode(Request(Input(type, "[1]", data))).status));
  };
  EXPECT_THAT(told("FP32", "\"data\":[" + numbers + "\"a\"]"), HasSubstr("\"a\" (string) is not a value of FP32"));
  EXPECT_THAT(told("INT8", "\"data\":[" + numbers + "1]"), HasSubstr("1.5 (number) is not a value of INT8"));
  EXPECT_THAT(told("BYTES", "\"data\":[" + numbers + "1]"), HasSubstr("1.5 (number) is not a value of BYTES"));
  EXPECT_THAT(told("FP32", "\"data\":[" + numbers + "]"), HasSubstr("not valid json"));
  EXPECT_THAT(told("FP32", "\"data\":[" + numbers + "01]"), HasSubstr("not valid json"));
  // Where nobody reads them, too.
  EXPECT_THAT(told("FP32", "\"data\":[1],\"more\":[" + numbers + ",]"), HasSubstr("not valid json"));
  EXPECT_TRUE(Decode(Request(Input("FP32", "[1]", "\"data\":[1],\"more\":[" + numbers + "1]"))).status.ok());
  EXPECT_THAT(told("FP32", "\"data\":[1],\"parameters\":{\"a\":[" + numbers + "1]}"), HasSubstr("not array"));
}

TEST(KserveRestDecode, RefusesFaultyStructure) {
  const std::string ok = Input("FP32", "[1]", "\"data\":[1]");
  EXPECT_TRUE(Decode(Request(ok)).status.ok());
  const std::string faulty[] = {
      "",
      "[]",
      "1",
      "\"x\"",
      "{}",
      "{\"inputs\":{}}",
      "{\"inputs\":[]}",
      "{\"inputs\":[1]}",
      "{\"inputs\":null}",
      Request("{\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]}"),
      Request("{\"name\":1,\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]}"),
      Request("{\"name\":\"x\",\"datatype\":\"FP32\",\"data\":[1]}"),
      Request("{\"name\":\"x\",\"shape\":[1],\"data\":[1]}"),
      Request("{\"name\":\"x\",\"shape\":[1],\"datatype\":7,\"data\":[1]}"),
      Request("{\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\"}"),
      Request(Input("FP32", "1", "\"data\":[1]")),
      Request(Input("FP32", "[1.5]", "\"data\":[1]")),
      Request(Input("FP32", "[\"1\"]", "\"data\":[1]")),
      Request(Input("FP32", "[99999999999999999999]", "\"data\":[1]")),
      Request(Input("FP32", "[1]", "\"data\":[1],\"parameters\":{\"binary_data_size\":4}")),
      Request(Input("FP32", "[1]", "\"data\":[1],\"parameters\":{\"shared_memory_region\":\"r\"}")),
      Request(Input("FP32", "[1]", "\"data\":[1],\"parameters\":[]")),
      Request(ok, "\"id\":7,"),
      Request(ok, "\"parameters\":7,"),
      Request(ok, "\"parameters\":{\"x\":null},"),
      Request(ok, "\"parameters\":{\"x\":{}},"),
      Request(ok, "\"parameters\":{\"timeout\":-1},"),
      Request(ok, "\"parameters\":{\"timeout\":\"\"},"),
      Request(ok, "\"parameters\":{\"timeout\":\"+1\"},"),
      Request(ok, "\"parameters\":{\"timeout\":\"1.0\"},"),
      Request(ok, "\"parameters\":{\"timeout\":1.5},"),
      Request(ok, "\"parameters\":{\"priority\":-1},"),
      Request(ok, "\"parameters\":{\"priority\":1.5},"),
      Request(ok, "\"parameters\":{\"priority\":\"high\"},"),
      Request(ok, "\"parameters\":{\"binary_data_output\":1},"),
      Request(ok, "\"outputs\":{},"),
      Request(ok, "\"outputs\":[1],"),
      Request(ok, "\"outputs\":[{}],"),
      Request(ok, "\"outputs\":[{\"name\":1}],"),
      Request(ok, "\"outputs\":[{\"name\":\"a\",\"parameters\":{\"classification\":3}}],"),
      Request(ok, "\"outputs\":[{\"name\":\"a\",\"parameters\":{\"binary_data\":\"yes\"}}],"),
      Request(ok, "\"outputs\":[{\"name\":\"a\",\"parameters\":{\"shared_memory_region\":\"r\"}}],"),
      Request(ok) + "x",
      Request(Input("FP32", "[1]", "\"data\":" + std::string(101, '[') + std::string(101, ']'))),
  };
  for (const std::string& json : faulty) {
    EXPECT_EQ(Decode(json).status.code(), StatusCode::kInvalidArgument) << json;
  }
}

// As KServe's own client writes them.
TEST(KserveRestDecode, NullIsTakenForLeftOut) {
  const std::string nothing = "\"id\":null,\"parameters\":null,\"outputs\":null,";
  const Decoded plain = Decode(Request(Input("FP32", "[1]", "\"parameters\":null,\"data\":[1]"), nothing));
  ASSERT_TRUE(plain.status.ok()) << plain.status;
  EXPECT_THAT(plain.Values<float>(), ElementsAre(1));
  EXPECT_TRUE(plain.request.id.empty() && plain.request.requested_outputs.empty());
  const std::string binary = Input("FP32", "[1]", "\"data\":null,\"parameters\":{\"binary_data_size\":4}");
  const Decoded behind = Decode(Request(binary, nothing), std::string("\0\0\x80\x3f", 4));
  ASSERT_TRUE(behind.status.ok()) << behind.status;
  EXPECT_THAT(behind.Values<float>(), ElementsAre(1));
  const std::string outputs = "\"outputs\":[{\"name\":\"a\",\"parameters\":null}],";
  EXPECT_THAT(Decode(Request(Input("FP32", "[1]", "\"data\":[1]"), outputs)).request.requested_outputs, ElementsAre("a"));
  EXPECT_TRUE(Decode("{\"inputs\":null}", {}, false, {}).status.ok()) << "of a model without inputs";
  // Of what must be there, it is missing.
  const auto told = [](const std::string& json) { return std::string(Message(Decode(json).status)); };
  EXPECT_THAT(told("{\"inputs\":null}"), HasSubstr("\"inputs\" is missing"));
  EXPECT_THAT(told(Request(Input("FP32", "null", "\"data\":[1]"))), HasSubstr("\"shape\" is missing"));
  EXPECT_THAT(told(Request(Input("FP32", "[1]", "\"data\":null"))), HasSubstr("\"data\" is missing"));
}

TEST(KserveRestDecode, BareWordsAreNumbersAlone) {
  const std::string ok = Input("FP32", "[1]", "\"data\":[NaN]");
  EXPECT_TRUE(Decode(Request(ok, "\"parameters\":{\"x\":NaN},")).status.ok()) << "nobody asks for it";
  EXPECT_EQ(DecodeData("BYTES", "[\"NaN\"]").Strings(), std::vector<std::string>{"NaN"});
  const auto told = [](const std::string& json) { return std::string(Message(Decode(json).status)); };
  EXPECT_THAT(told(Request(ok, "\"id\":NaN,")), HasSubstr("\"id\" must be a string, not number"));
  EXPECT_THAT(told(Request(ok, "\"parameters\":NaN,")), HasSubstr("must be an object, not number"));
  EXPECT_THAT(told(Request(ok, "\"parameters\":{\"sequence_id\":NaN},")), HasSubstr("or a string, not NaN"));
  EXPECT_THAT(told(Request(ok, "NaN:1,")), HasSubstr("not valid json"));
  EXPECT_THAT(told(Request(Input("BYTES", "[1]", "\"data\":[NaN]"))), HasSubstr("NaN (number) is not a value of BYTES"));
}

TEST(KserveRestDecode, NoBinaryBytesNeedNoHeader) {
  for (const char* type : {"FP32", "BYTES"}) {
    for (const char* data : {"", "\"data\":null,"}) {
      const std::string empty = std::string(data) + "\"parameters\":{\"binary_data_size\":0}";
      const Decoded decoded = Decode(Request(Input(type, "[0]", empty)));
      ASSERT_TRUE(decoded.status.ok()) << decoded.status;
      EXPECT_EQ(decoded.request.inputs[0].tensor.bytes, 0U);
      EXPECT_TRUE(decoded.request.inputs[0].tensor.strings.empty());
    }
  }
}

TEST(KserveRestDecode, AForgottenHeaderIsNamed) {
  const std::string json = Request(Input("FP32", "[1]", "\"parameters\":{\"binary_data_size\":4}"));
  EXPECT_THAT(std::string(Message(Decode(json + "\xFF\xFF\x7F\x3F").status)), HasSubstr("Inference-Header-Content-Length"));
}

TEST(KserveRestDecode, ReadsWhatIsSaidAboutTheRequest) {
  const std::string ok = Input("FP32", "[1,-1]", "\"data\":[1]");
  Decoded decoded =
      Decode(Request(ok,
                     "\"id\":\"7\",\"unknown\":[{}],\"parameters\":{\"timeout\":2500,\"priority\":3,\"x\":1.5,\"s\":\"t\"},"
                     "\"outputs\":[{\"name\":\"b\",\"parameters\":{\"binary_data\":true}},{\"name\":\"a\"}],"));
  ASSERT_TRUE(decoded.status.ok()) << decoded.status;
  EXPECT_EQ(decoded.request.id, "7");
  EXPECT_EQ(decoded.request.deadline, kNow + std::chrono::microseconds(2500));
  EXPECT_EQ(decoded.request.priority, 3u);
  EXPECT_THAT(decoded.request.requested_outputs, ElementsAre("b", "a"));
  EXPECT_TRUE(decoded.form.IsBinary("b"));
  EXPECT_FALSE(decoded.form.IsBinary("a"));
  EXPECT_EQ(decoded.request.inputs[0].name, "x");
  EXPECT_EQ(decoded.request.inputs[0].tensor.shape, (Shape{1, -1}));
  EXPECT_EQ(Decode(Request(ok, "\"parameters\":{\"timeout\":0},")).request.deadline, kNoDeadline);
  for (const char* longest : {"9223372036854775807", "18446744073709551615", "\"99999999999999999999\""}) {
    const Decoded never = Decode(Request(ok, std::string("\"parameters\":{\"timeout\":") + longest + "},"));
    ASSERT_TRUE(never.status.ok()) << never.status;
    EXPECT_EQ(never.request.deadline, kNoDeadline);
  }
  // As text, which some clients make of every parameter.
  const Decoded text = Decode(Request(ok, "\"parameters\":{\"timeout\":\"2500\",\"priority\":\"3\"},"));
  ASSERT_TRUE(text.status.ok()) << text.status;
  EXPECT_EQ(text.request.deadline, kNow + std::chrono::microseconds(2500));
  EXPECT_EQ(text.request.priority, 3u);
  decoded = Decode(Request(
      ok,
      "\"parameters\":{\"binary_data_output\":true},\"outputs\":[{\"name\":\"a\",\"parameters\":{\"binary_data\":false}}],"));
  EXPECT_FALSE(decoded.form.IsBinary("a"));
  EXPECT_TRUE(decoded.form.IsBinary("any"));
}

TEST(KserveRestDecode, ParametersSayTheSequence) {
  const auto with = [](const std::string& parameters) {
    return Decode(Request(Input("FP32", "[1]", "\"data\":[1]"), "\"parameters\":{" + parameters + "},"));
  };
  EXPECT_EQ(with("").request.sequence, nullptr);
  const Decoded first = with("\"sequence_id\":18446744073709551615,\"sequence_start\":true,\"sequence_end\":false");
  ASSERT_TRUE(first.status.ok() && first.request.sequence != nullptr) << first.status;
  EXPECT_EQ(first.request.sequence->id, (SequenceId{~uint64_t{0}, ""}));
  EXPECT_TRUE(first.request.sequence->start && !first.request.sequence->end && first.request.sequence->by_parameters);
  EXPECT_EQ(with("\"sequence_id\":\"seven\"").request.sequence->id, (SequenceId{0, "seven"}));
  for (const char* faulty : {"\"sequence_id\":-1", "\"sequence_id\":1.5", "\"sequence_id\":true", "\"sequence_start\":1"}) {
    EXPECT_EQ(with(faulty).status.code(), StatusCode::kInvalidArgument) << faulty;
  }
}

TEST(KserveRestDecode, AModelWithoutInputsNeedsNone) {
  for (const char* body : {"{}", "{\"inputs\":[]}", "{\"id\":\"7\",\"outputs\":[{\"name\":\"c\"}]}"}) {
    const Decoded decoded = Decode(body, {}, true, {});
    EXPECT_TRUE(decoded.status.ok()) << decoded.status;
    EXPECT_TRUE(decoded.request.inputs.empty());
    EXPECT_THAT(std::string(Message(Decode(body).status)), HasSubstr("no inputs found"));
    EXPECT_THAT(std::string(Message(Decode(body, "xy", true, {}).status)), HasSubstr("longer than its inputs"));
  }
}

TEST(KserveRestDecode, LeavesBinaryWhereItLies) {
  const std::string json = Request(Input("FP16", "[2]", "\"parameters\":{\"binary_data_size\":4}") + "," +
                                   Input("INT64", "[2]", "\"data\":[1,2]") + "," + Input("UINT8", "[3]", ""));
  HttpBody body = MakeBody(json + "ABCDxyz", json.size());
  const auto* begin = reinterpret_cast<const std::byte*>(body.data()) + json.size();
  Decoded decoded;
  decoded.status = DecodeKserveInfer(std::move(body), json.size(), kOneInput, kNow, decoded.request, decoded.form);
  ASSERT_TRUE(decoded.status.ok()) << decoded.status;
  EXPECT_EQ(decoded.request.inputs[0].tensor.data, begin);
  EXPECT_EQ(decoded.request.inputs[0].tensor.bytes, 4U);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(begin) % kBufferAlignment, 0U);
  EXPECT_THAT(decoded.Values<int64_t>(1), ElementsAre(1, 2));
  EXPECT_EQ(decoded.request.inputs[2].tensor.data, begin + 4);
  EXPECT_EQ(decoded.request.inputs[2].tensor.origin, TensorView::Origin::kBytes);
}

TEST(KserveRestDecode, ReadsBinaryStrings) {
  const std::string two("\2\0\0\0ab\0\0\0\0", 10);
  EXPECT_THAT(Decode(Request(Input("BYTES", "[2]", "\"parameters\":{\"binary_data_size\":10}")), two).Strings(),
              ElementsAre("ab", ""));
  EXPECT_THAT(Decode(Request(Input("BYTES", "[1]", "")), two.substr(0, 6)).Strings(), ElementsAre("ab"));
  EXPECT_FALSE(Decode(Request(Input("BYTES", "[2]", "")), two).status.ok());
  for (const size_t cut : {1, 3, 5, 7}) {
    const Decoded decoded = Decode(Request(Input("BYTES", "[1]", "")), two.substr(0, cut));
    EXPECT_THAT(std::string(Message(decoded.status)), HasSubstr("does not match expected format")) << cut;
  }
}

TEST(KserveRestDecode, RefusesFaultyBinary) {
  const auto sized = [](const char* size) {
    return Request(Input("FP32", "[2]", std::string("\"parameters\":{\"binary_data_size\":") + size + "}"));
  };
  const std::string eight(8, 'x');
  EXPECT_TRUE(Decode(sized("8"), eight).status.ok());
  EXPECT_FALSE(Decode(sized("8"), eight + "surplus").status.ok());
  EXPECT_FALSE(Decode(sized("9"), eight).status.ok());
  EXPECT_FALSE(Decode(sized("-8"), eight).status.ok());
  EXPECT_FALSE(Decode(sized("\"8\""), eight).status.ok());
  EXPECT_FALSE(Decode(sized("8.5"), eight).status.ok());
  EXPECT_FALSE(Decode(sized("8")).status.ok());
  EXPECT_FALSE(Decode(sized("8"), "", true).status.ok());
  EXPECT_FALSE(Decode(Request(Input("FP32", "[-2]", "")), eight).status.ok());
  EXPECT_FALSE(Decode(Request(Input("FP32", "[4611686018427387904,4]", "")), eight).status.ok());
  EXPECT_FALSE(Decode(Request(Input("FP32", "[1]", "\"data\":[1]")), eight).status.ok());
  DecodedRequest request;
  KserveOutputForm form;
  EXPECT_FALSE(DecodeKserveInfer(MakeBody("{}"), 3, kOneInput, kNow, request, form).ok());
}

TEST(KserveRestDecode, ReadsTheHeader) {
  EXPECT_EQ(*ParseJsonLength(std::nullopt), std::nullopt);
  EXPECT_EQ(*ParseJsonLength("17"), 17U);
  for (const char* bad : {"", "-1", "+1", "1.5", "x", "1x", " 1", "99999999999999999999", "9223372036854775807"}) {
    EXPECT_EQ(ParseJsonLength(bad).status().code(), StatusCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace switchyard
