#include <cstring>
#include <functional>
#include <limits>
#include <random>

#include <gmock/gmock.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

#include "protocol/tfs/dtype.h"
#include "protocol/tfs/grpc_codec.h"
#include "tensorflow_serving.pb.h"

namespace switchyard::tfs {
namespace {

using google::protobuf::io::ArrayInputStream;
using tensorflow::TensorProto;
using tensorflow::serving::PredictRequest;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

struct Decoded {
  Status status;
  DecodedRequest request;
};

// In blocks of `block` bytes, as gRPC gives slices; -1: at once.
Decoded Decode(const std::string& bytes, int block = -1) {
  Decoded decoded;
  ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()), block);
  decoded.status = DecodePredictRequest(stream, bytes.size(), TimePoint(), decoded.request);
  return decoded;
}
Decoded Decode(const PredictRequest& message, int block = -1) { return Decode(message.SerializeAsString(), block); }

std::string Fault(const Status& status) {
  return absl::StatusCodeToString(status.code()) + ": " + std::string(Message(status));
}

template <typename T>
std::vector<T> Elements(const TensorView& tensor) {
  std::vector<T> values(tensor.bytes / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), tensor.data, tensor.bytes);
  return values;
}

TensorProto Tensor(tensorflow::DataType dtype, std::vector<int64_t> shape) {
  TensorProto tensor;
  tensor.set_dtype(dtype);
  for (const int64_t dim : shape) tensor.mutable_tensor_shape()->add_dim()->set_size(dim);
  return tensor;
}

// A request with the one input `b`.
PredictRequest With(TensorProto tensor) {
  PredictRequest message;
  message.mutable_model_spec()->set_name("dummy");
  (*message.mutable_inputs())["b"] = std::move(tensor);
  return message;
}

Signature OneInput(ElementType type, std::vector<Dimension> dims) { return {{TensorSpec{"b", type, {std::move(dims)}}}, {}}; }

TEST(DecodePredictRequestTest, ReadsTensorContent) {
  TensorProto tensor = Tensor(tensorflow::DT_FLOAT, {1, 2});
  const float values[] = {1.5f, -3};
  tensor.set_tensor_content(std::string(reinterpret_cast<const char*>(values), sizeof(values)));
  PredictRequest message = With(tensor);
  message.mutable_model_spec()->mutable_version()->set_value(4);
  message.mutable_model_spec()->set_signature_name("anything");
  message.add_output_filter("a");
  for (const int block : {-1, 1, 5}) {
    const Decoded decoded = Decode(message, block);
    ASSERT_TRUE(decoded.status.ok()) << decoded.status;
    EXPECT_EQ(decoded.request.model_name, "dummy");
    EXPECT_EQ(decoded.request.version, 4);
    EXPECT_THAT(decoded.request.requested_outputs, ElementsAre("a"));
    ASSERT_THAT(decoded.request.inputs, SizeIs(1));
    const TensorView& view = decoded.request.inputs[0].tensor;
    EXPECT_EQ(decoded.request.inputs[0].name, "b");
    EXPECT_EQ(view.type, ElementType::kFp32);
    EXPECT_THAT(view.shape, ElementsAre(1, 2));
    EXPECT_EQ(view.origin, TensorView::Origin::kBytes);
    EXPECT_THAT(Elements<float>(view), ElementsAre(1.5f, -3));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(view.data) % kBufferAlignment, 0u);
  }
}

TEST(DecodePredictRequestTest, EveryDtypeInItsValueField) {
  const auto values = [](tensorflow::DataType dtype, const std::function<void(TensorProto&)>& fill) {
    TensorProto tensor = Tensor(dtype, {2});
    fill(tensor);
    Decoded decoded = Decode(With(tensor));
    EXPECT_TRUE(decoded.status.ok()) << decoded.status;
    EXPECT_EQ(decoded.request.inputs[0].tensor.origin, TensorView::Origin::kValues);
    return decoded;
  };
  const auto view = [](const Decoded& decoded) -> const TensorView& { return decoded.request.inputs[0].tensor; };
  const auto ints = [](std::vector<int> each) {
    return [each](TensorProto& t) { t.mutable_int_val()->Add(each.begin(), each.end()); };
  };
  EXPECT_THAT(Elements<float>(view(values(tensorflow::DT_FLOAT, [](auto& t) { t.add_float_val(0.5f); }))), ElementsAre(0.5f));
  EXPECT_THAT(Elements<double>(view(values(tensorflow::DT_DOUBLE, [](auto& t) { t.add_double_val(0.5); }))), ElementsAre(0.5));
  EXPECT_THAT(Elements<int32_t>(view(values(tensorflow::DT_INT32, ints({-1, 2})))), ElementsAre(-1, 2));
  EXPECT_THAT(Elements<int16_t>(view(values(tensorflow::DT_INT16, ints({-1, 2})))), ElementsAre(-1, 2));
  EXPECT_THAT(Elements<int8_t>(view(values(tensorflow::DT_INT8, ints({-128, 127})))), ElementsAre(-128, 127));
  EXPECT_THAT(Elements<uint8_t>(view(values(tensorflow::DT_UINT8, ints({0, 255})))), ElementsAre(0, 255));
  EXPECT_THAT(Elements<uint16_t>(view(values(tensorflow::DT_UINT16, ints({0, 65535})))), ElementsAre(0, 65535));
  EXPECT_THAT(Elements<int64_t>(view(values(tensorflow::DT_INT64, [](auto& t) { t.add_int64_val(-7); }))), ElementsAre(-7));
  EXPECT_THAT(Elements<uint8_t>(view(values(tensorflow::DT_BOOL, [](auto& t) { t.add_bool_val(true); }))), ElementsAre(1));
  EXPECT_THAT(Elements<uint32_t>(view(values(tensorflow::DT_UINT32, [](auto& t) { t.add_uint32_val(~0u); }))),
              ElementsAre(~0u));
  EXPECT_THAT(Elements<uint64_t>(view(values(tensorflow::DT_UINT64, [](auto& t) { t.add_uint64_val(~0ull); }))),
              ElementsAre(~0ull));
  EXPECT_THAT(Elements<uint16_t>(view(values(tensorflow::DT_HALF, [](auto& t) { t.add_half_val(0x3C00); }))),
              ElementsAre(0x3C00));
  EXPECT_THAT(Elements<uint16_t>(view(values(tensorflow::DT_BFLOAT16, [](auto& t) { t.add_half_val(0xBF80); }))),
              ElementsAre(0xBF80));
  const Decoded strings = values(tensorflow::DT_STRING, [](auto& t) {
    t.add_string_val("one");
    t.add_string_val("");
  });
  EXPECT_THAT(view(strings).strings, ElementsAre("one", ""));
}

TEST(DecodePredictRequestTest, FaultsOfTensors) {
  const auto fault = [](const TensorProto& tensor) { return Fault(Decode(With(tensor)).status); };
  for (const auto dtype : {tensorflow::DT_COMPLEX64, tensorflow::DT_QINT8, tensorflow::DT_RESOURCE, tensorflow::DT_INVALID}) {
    EXPECT_THAT(fault(Tensor(dtype, {1})), HasSubstr("INVALID_ARGUMENT: Invalid input precision"));
  }
  TensorProto tensor = Tensor(tensorflow::DT_FLOAT, {1});
  tensor.mutable_tensor_shape()->set_unknown_rank(true);
  EXPECT_THAT(fault(tensor), HasSubstr("Invalid number of shape dimensions"));
  tensor = Tensor(tensorflow::DT_FLOAT, {1});
  tensor.add_int_val(1);
  EXPECT_THAT(fault(tensor), HasSubstr("values of DT_FLOAT in float_val alone; Actual: values in int_val; input name: b"));
  tensor = Tensor(tensorflow::DT_UINT8, {1});
  tensor.add_int_val(256);
  EXPECT_THAT(fault(tensor), HasSubstr("out of the range of DT_UINT8"));
  tensor = Tensor(tensorflow::DT_STRING, {1});
  tensor.set_tensor_content("text");
  EXPECT_THAT(fault(tensor), HasSubstr("strings in string_val"));
  // Nothing at all is the validator's to judge: it knows what was expected.
  const Decoded empty = Decode(With(Tensor(tensorflow::DT_FLOAT, {1})));
  ASSERT_TRUE(empty.status.ok());
  EXPECT_EQ(empty.request.inputs[0].tensor.origin, TensorView::Origin::kBytes);
  EXPECT_EQ(empty.request.inputs[0].tensor.bytes, 0u);
  EXPECT_THAT(Decode(With(Tensor(tensorflow::DT_FLOAT, {-3}))).request.inputs[0].tensor.shape, ElementsAre(-3));
}

TEST(DecodePredictRequestTest, VersionsAndLabels) {
  PredictRequest message;
  message.mutable_model_spec()->mutable_version()->set_value(0);
  EXPECT_EQ(Decode(message).request.version, std::nullopt);
  message.mutable_model_spec()->mutable_version()->set_value(-1);
  EXPECT_EQ(Decode(message).request.version, -1);
  message.mutable_model_spec()->set_version_label("stable");
  EXPECT_EQ(Decode(message).request.version, std::nullopt);
  EXPECT_EQ(Decode(message).request.label.name, "stable");
  EXPECT_FALSE(Decode(message).request.label.or_number);
}

TEST(DecodePredictRequestTest, OfEqualKeysTheLastCounts) {
  TensorProto first = Tensor(tensorflow::DT_INT32, {1});
  first.add_int_val(1);
  TensorProto second = Tensor(tensorflow::DT_INT32, {1});
  second.add_int_val(2);
  PredictRequest other;
  (*other.mutable_inputs())["c"] = first;
  const Decoded decoded =
      Decode(With(first).SerializeAsString() + other.SerializeAsString() + With(second).SerializeAsString());
  ASSERT_TRUE(decoded.status.ok()) << decoded.status;
  ASSERT_THAT(decoded.request.inputs, SizeIs(2));
  EXPECT_EQ(decoded.request.inputs[0].name, "c");
  EXPECT_THAT(Elements<int32_t>(decoded.request.inputs[1].tensor), ElementsAre(2));
}

TEST(ExpandValuesTest, TheLastValueStandsForTheRest) {
  TensorProto tensor = Tensor(tensorflow::DT_FLOAT, {1, 10});
  tensor.add_float_val(3);
  tensor.add_float_val(4);
  Decoded decoded = Decode(With(tensor));
  ASSERT_TRUE(ExpandValues(OneInput(ElementType::kFp32, {Dimension::Fixed(1), Dimension::Fixed(10)}), decoded.request).ok());
  EXPECT_THAT(Elements<float>(decoded.request.inputs[0].tensor), ElementsAre(3, 4, 4, 4, 4, 4, 4, 4, 4, 4));

  tensor = Tensor(tensorflow::DT_INT8, {100000});
  tensor.add_int_val(-6);
  decoded = Decode(With(tensor));
  ASSERT_TRUE(ExpandValues(OneInput(ElementType::kInt8, {Dimension::Dynamic()}), decoded.request).ok());
  EXPECT_THAT(Elements<int8_t>(decoded.request.inputs[0].tensor), testing::AllOf(SizeIs(100000), Each(-6)));
}

TEST(ExpandValuesTest, TheLastStringStandsForTheRest) {
  TensorProto tensor = Tensor(tensorflow::DT_STRING, {2, 2});
  tensor.add_string_val("a");
  tensor.add_string_val("bc");
  Decoded decoded = Decode(With(tensor));
  const Signature native = OneInput(ElementType::kBytes, {Dimension::Dynamic(), Dimension::Fixed(2)});
  ASSERT_TRUE(ExpandValues(native, decoded.request).ok());
  EXPECT_THAT(decoded.request.inputs[0].tensor.strings, ElementsAre("a", "bc", "bc", "bc"));

  // In place of rows and of pictures: as many as the batch takes.
  tensor = Tensor(tensorflow::DT_STRING, {3});
  tensor.add_string_val("a");
  const Dimension any = Dimension::Dynamic();
  for (const Signature& signature : {OneInput(ElementType::kUint8, {any, any}),
                                     OneInput(ElementType::kFp32, {Dimension::Fixed(3), any, any, Dimension::Fixed(3)})}) {
    decoded = Decode(With(tensor));
    ASSERT_TRUE(ExpandValues(signature, decoded.request).ok());
    EXPECT_THAT(decoded.request.inputs[0].tensor.strings, ElementsAre("a", "a", "a"));
  }
  for (const Signature& other : {OneInput(ElementType::kBytes, {Dimension::Fixed(2)}), OneInput(ElementType::kFp32, {any}),
                                 OneInput(ElementType::kUint8, {Dimension::Fixed(1), any})}) {
    decoded = Decode(With(tensor));
    ASSERT_TRUE(ExpandValues(other, decoded.request).ok());
    EXPECT_THAT(decoded.request.inputs[0].tensor.strings, ElementsAre("a"));
  }

  // None, and a text that would take more than a gigabyte, alone and with what other inputs take.
  tensor.clear_string_val();
  decoded = Decode(With(tensor));
  ASSERT_TRUE(ExpandValues(OneInput(ElementType::kBytes, {any}), decoded.request).ok());
  EXPECT_THAT(decoded.request.inputs[0].tensor.strings, SizeIs(0));
  for (const auto& [size, count] : {std::pair<size_t, int64_t>{1 << 20, 1024}, {0, int64_t{1} << 30}, {0, int64_t{1} << 60}}) {
    tensor = Tensor(tensorflow::DT_STRING, {count});
    tensor.add_string_val(std::string(size, 'x'));
    decoded = Decode(With(tensor));
    const Status status = ExpandValues(OneInput(ElementType::kBytes, {any}), decoded.request);
    EXPECT_THAT(Fault(status), HasSubstr("INVALID_ARGUMENT: Invalid content size of tensor proto")) << size;
  }
}

TEST(ExpandValuesTest, NothingGrowsThatTheModelDoesNotTake) {
  TensorProto tensor = Tensor(tensorflow::DT_FLOAT, {1, 1000000});
  tensor.add_float_val(3);
  Decoded decoded = Decode(With(tensor));
  ASSERT_TRUE(ExpandValues(OneInput(ElementType::kFp32, {Dimension::Fixed(1), Dimension::Fixed(10)}), decoded.request).ok());
  EXPECT_EQ(decoded.request.inputs[0].tensor.bytes, 4u);
  ASSERT_TRUE(ExpandValues(OneInput(ElementType::kFp64, {Dimension::Dynamic(), Dimension::Dynamic()}), decoded.request).ok());
  EXPECT_EQ(decoded.request.inputs[0].tensor.bytes, 4u);
  ASSERT_TRUE(ExpandValues({}, decoded.request).ok());
  EXPECT_EQ(decoded.request.inputs[0].tensor.bytes, 4u);

  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{1 << 20, 257}, {int64_t{1} << 40, 1}}) {
    tensor = Tensor(tensorflow::DT_FLOAT, shape);
    tensor.add_float_val(3);
    decoded = Decode(With(tensor));
    const Status status =
        ExpandValues(OneInput(ElementType::kFp32, {Dimension::Dynamic(), Dimension::Dynamic()}), decoded.request);
    EXPECT_THAT(Fault(status), HasSubstr("INVALID_ARGUMENT: Invalid content size of tensor proto"));
  }
  // A size that overflows, or a negative one, is left to the validator.
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{int64_t{1} << 40, int64_t{1} << 40}, {-1, 4}}) {
    tensor = Tensor(tensorflow::DT_FLOAT, shape);
    tensor.add_float_val(3);
    decoded = Decode(With(tensor));
    EXPECT_TRUE(ExpandValues(OneInput(ElementType::kFp32, {Dimension::Dynamic(), Dimension::Dynamic()}), decoded.request).ok());
    EXPECT_EQ(decoded.request.inputs[0].tensor.bytes, 4u);
  }
}

TEST(DtypeTest, NumbersAreTensorFlows) {
  for (int number = tensorflow::DataType_MIN; number <= tensorflow::DataType_MAX; ++number) {
    const auto type = FromDtypeNumber(number);
    if (!type) continue;
    EXPECT_EQ(DtypeNumber(*type), number);
    EXPECT_EQ(DtypeName(*type), tensorflow::DataType_Name(number));
    const ValueField field = ValueFieldOf(*type);
    EXPECT_EQ(TensorProto::descriptor()->FindFieldByNumber(static_cast<int>(field.number))->name(), field.name);
  }
  EXPECT_EQ(DtypeNumber(ElementType::kUndefined), 0);
}

TEST(DecodePredictRequestTest, MutatedMessagesNeverCrash) {
  TensorProto tensor = Tensor(tensorflow::DT_FLOAT, {1, 4});
  tensor.add_float_val(1);
  PredictRequest message = With(tensor);
  tensor = Tensor(tensorflow::DT_STRING, {2});
  tensor.add_string_val("text");
  (*message.mutable_inputs())["s"] = tensor;
  tensor = Tensor(tensorflow::DT_INT8, {3});
  tensor.set_tensor_content("abc");
  tensor.add_int_val(300);
  (*message.mutable_inputs())["i"] = tensor;
  message.mutable_model_spec()->mutable_version()->set_value(1);
  message.add_output_filter("a");
  const std::string good = message.SerializeAsString();
  ASSERT_TRUE(Decode(good).status.ok());
  const Signature signature = OneInput(ElementType::kFp32, {Dimension::Fixed(1), Dimension::Fixed(4)});
  std::mt19937 random(11);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = good;
    const bool cut_only = i % 4 == 0;
    if (cut_only) bytes.resize(random() % bytes.size());
    for (int flips = cut_only ? 0 : 1 + random() % 4; flips > 0; --flips) {
      bytes[random() % bytes.size()] ^= static_cast<char>(1 << random() % 8);
    }
    Decoded decoded = Decode(bytes, i % 3 == 0 ? 5 : -1);
    // Flipped bits may break what stands in fields that are not read here; a cut breaks the whole.
    PredictRequest parsed;
    if (cut_only && !parsed.ParseFromString(bytes)) {
      EXPECT_FALSE(decoded.status.ok()) << i;
    }
    if (decoded.status.ok()) {
      EXPECT_TRUE(ExpandValues(signature, decoded.request).ok());
    }
  }
}

}  // namespace
}  // namespace switchyard::tfs
