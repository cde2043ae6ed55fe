#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <random>

#include <gmock/gmock.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include "kserve.pb.h"
#include "protocol/kserve/grpc_codec.h"

namespace switchyard::kserve {
namespace {

using google::protobuf::io::ArrayInputStream;
using inference::ModelInferRequest;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr TimePoint kNow = TimePoint(std::chrono::hours(5));

// A decoded message together with what its views point into.
struct Decoded {
  Status status;
  DecodedRequest request;
};

// In blocks of `block` bytes, as gRPC gives slices; -1: at once.
Decoded Decode(const std::string& bytes, int block = -1) {
  Decoded decoded;
  ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()), block);
  decoded.status = DecodeInferRequest(stream, bytes.size(), kNow, decoded.request);
  return decoded;
}
Decoded Decode(const ModelInferRequest& message, int block = -1) { return Decode(message.SerializeAsString(), block); }

std::string Fault(const Decoded& decoded) {
  return absl::StatusCodeToString(decoded.status.code()) + ": " + std::string(Message(decoded.status));
}

template <typename T>
std::vector<T> Elements(const TensorView& tensor) {
  std::vector<T> values(tensor.bytes / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), tensor.data, tensor.bytes);
  return values;
}

template <typename T>
std::string Raw(std::vector<T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

ModelInferRequest::InferInputTensor& AddInput(ModelInferRequest& message, const std::string& name, const std::string& datatype,
                                              std::vector<int64_t> shape) {
  auto& input = *message.add_inputs();
  input.set_name(name);
  input.set_datatype(datatype);
  for (const int64_t dim : shape) input.add_shape(dim);
  return input;
}

TEST(DecodeInferRequestTest, ReadsWhatClientsSend) {
  ModelInferRequest message;
  message.set_model_name("dummy");
  message.set_model_version("3");
  message.set_id("req-1");
  AddInput(message, "b", "FP32", {1, 2});
  AddInput(message, "c", "INT64", {-1});
  message.add_outputs()->set_name("a");
  message.add_raw_input_contents(Raw<float>({1.5f, -2}));
  message.add_raw_input_contents(Raw<int64_t>({7}));
  for (const int block : {-1, 1, 3, 16}) {
    const Decoded decoded = Decode(message, block);
    ASSERT_TRUE(decoded.status.ok()) << decoded.status;
    EXPECT_EQ(decoded.request.model_name, "dummy");
    EXPECT_EQ(decoded.request.version, 3);
    EXPECT_EQ(decoded.request.id, "req-1");
    EXPECT_THAT(decoded.request.requested_outputs, ElementsAre("a"));
    EXPECT_EQ(decoded.request.deadline, kNoDeadline);
    ASSERT_EQ(decoded.request.inputs.size(), 2u);
    const NamedTensor& b = decoded.request.inputs[0];
    EXPECT_EQ(b.name, "b");
    EXPECT_EQ(b.tensor.type, ElementType::kFp32);
    EXPECT_THAT(b.tensor.shape, ElementsAre(1, 2));
    EXPECT_EQ(b.tensor.origin, TensorView::Origin::kBytes);
    EXPECT_THAT(Elements<float>(b.tensor), ElementsAre(1.5f, -2));
    EXPECT_THAT(decoded.request.inputs[1].tensor.shape, ElementsAre(-1));
    EXPECT_THAT(Elements<int64_t>(decoded.request.inputs[1].tensor), ElementsAre(7));
  }
}

TEST(DecodeInferRequestTest, RawTensorsAreAlignedAndSmallOnesShareMemory) {
  ModelInferRequest message;
  for (int i = 0; i < 5; ++i) {
    AddInput(message, "in" + std::to_string(i), "UINT8", {3});
    message.add_raw_input_contents("abc");
  }
  AddInput(message, "large", "UINT8", {100000});
  message.add_raw_input_contents(std::string(100000, 'x'));
  const Decoded decoded = Decode(message, 1000);
  ASSERT_TRUE(decoded.status.ok());
  for (const NamedTensor& input : decoded.request.inputs) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(input.tensor.data) % kBufferAlignment, 0u);
  }
  EXPECT_EQ(decoded.request.memory.size(), 2u);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(decoded.request.inputs[5].tensor.data), 100000),
            std::string(100000, 'x'));
}

TEST(DecodeInferRequestTest, VersionsAndTheirFaults) {
  const auto with_version = [](const std::string& version) {
    ModelInferRequest message;
    message.set_model_version(version);
    return Decode(message);
  };
  EXPECT_EQ(with_version("").request.version, std::nullopt);
  EXPECT_EQ(with_version("0").request.version, std::nullopt);
  EXPECT_EQ(with_version("-1").request.version, -1);
  EXPECT_EQ(with_version("stable").request.label.name, "stable");
  EXPECT_TRUE(with_version("1x").request.label.or_number);
  EXPECT_EQ(with_version("99999999999999999999").request.label.name, "99999999999999999999") << "told as it came";
  // Of a request that is refused, too: it counts for the version that it names.
  ModelInferRequest faulty;
  faulty.set_model_version("3");
  AddInput(faulty, "b", "FP33", {1});
  EXPECT_EQ(Decode(faulty).status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Decode(faulty).request.version, 3);
  faulty.set_model_version("stable");
  EXPECT_EQ(Decode(faulty).request.label.name, "stable");
}

TEST(DecodeInferRequestTest, TypedContentsOfEveryDatatype) {
  ModelInferRequest message;
  auto contents = [&](const std::string& datatype) {
    return AddInput(message, "in", datatype, {2}).mutable_contents();
  };
  auto* content = contents("BOOL");
  content->add_bool_contents(true);
  content->add_bool_contents(false);
  for (const char* type : {"INT8", "INT16", "INT32"}) {
    content = contents(type);
    content->add_int_contents(-128);
    content->add_int_contents(127);
  }
  contents("INT64")->add_int64_contents(std::numeric_limits<int64_t>::min());
  for (const char* type : {"UINT8", "UINT16", "UINT32"}) contents(type)->add_uint_contents(255);
  contents("UINT64")->add_uint64_contents(std::numeric_limits<uint64_t>::max());
  contents("FP32")->add_fp32_contents(0.5f);
  contents("FP64")->add_fp64_contents(0.25);
  content = contents("BYTES");
  content->add_bytes_contents("one");
  content->add_bytes_contents(std::string("\0", 1));
  for (const int block : {-1, 1, 7}) {
    const Decoded decoded = Decode(message, block);
    ASSERT_TRUE(decoded.status.ok()) << decoded.status;
    const auto& inputs = decoded.request.inputs;
    EXPECT_THAT(Elements<uint8_t>(inputs[0].tensor), ElementsAre(1, 0));
    EXPECT_THAT(Elements<int8_t>(inputs[1].tensor), ElementsAre(-128, 127));
    EXPECT_THAT(Elements<int16_t>(inputs[2].tensor), ElementsAre(-128, 127));
    EXPECT_THAT(Elements<int32_t>(inputs[3].tensor), ElementsAre(-128, 127));
    EXPECT_THAT(Elements<int64_t>(inputs[4].tensor), ElementsAre(std::numeric_limits<int64_t>::min()));
    EXPECT_THAT(Elements<uint8_t>(inputs[5].tensor), ElementsAre(255));
    EXPECT_THAT(Elements<uint16_t>(inputs[6].tensor), ElementsAre(255));
    EXPECT_THAT(Elements<uint32_t>(inputs[7].tensor), ElementsAre(255));
    EXPECT_THAT(Elements<uint64_t>(inputs[8].tensor), ElementsAre(std::numeric_limits<uint64_t>::max()));
    EXPECT_THAT(Elements<float>(inputs[9].tensor), ElementsAre(0.5f));
    EXPECT_THAT(Elements<double>(inputs[10].tensor), ElementsAre(0.25));
    EXPECT_THAT(inputs[11].tensor.strings, ElementsAre("one", std::string_view("\0", 1)));
    EXPECT_EQ(inputs[0].tensor.origin, TensorView::Origin::kValues);
  }
}

TEST(DecodeInferRequestTest, FaultsOfTypedContents) {
  const auto fault = [](const std::string& datatype, const std::function<void(inference::InferTensorContents&)>& fill) {
    ModelInferRequest message;
    fill(*AddInput(message, "b", datatype, {1}).mutable_contents());
    return Fault(Decode(message));
  };
  EXPECT_THAT(fault("INT8", [](auto& c) { c.add_int_contents(128); }),
              HasSubstr("element 0 is out of the range of INT8; input name: b"));
  EXPECT_THAT(fault("UINT16", [](auto& c) { c.add_uint_contents(65536); }), HasSubstr("out of the range of UINT16"));
  EXPECT_THAT(fault("FP32", [](auto& c) { c.add_int_contents(1); }), HasSubstr("values of FP32 in fp32_contents alone"));
  EXPECT_THAT(fault("FP32",
                    [](auto& c) {
                      c.add_fp32_contents(1);
                      c.add_fp64_contents(1);
                    }),
              HasSubstr("and in other fields"));
  EXPECT_THAT(fault("FP16", [](auto& c) { c.add_fp32_contents(1); }), HasSubstr("INVALID_ARGUMENT: Invalid number of values"));
  EXPECT_THAT(fault("BF16", [](auto& c) { c.add_fp32_contents(1); }), HasSubstr("raw_input_contents"));
  EXPECT_THAT(fault("FLOAT", [](auto& c) { c.add_fp32_contents(1); }), HasSubstr("Invalid input precision"));
  EXPECT_THAT(fault("INVALID", [](auto& c) { c.add_fp32_contents(1); }), HasSubstr("Actual: INVALID; input name: b"));
  EXPECT_THAT(fault("", [](auto& c) { c.add_fp32_contents(1); }), HasSubstr("Invalid input precision"));
}

TEST(DecodeInferRequestTest, RawAndTypedContentsDoNotStandSideBySide) {
  ModelInferRequest message;
  AddInput(message, "typed", "INT32", {1}).mutable_contents()->add_int_contents(4);
  AddInput(message, "raw", "INT32", {1});
  message.add_raw_input_contents(Raw<int32_t>({5}));
  EXPECT_THAT(Fault(Decode(message)), HasSubstr("INVALID_ARGUMENT: Passing buffers both in"));
  message.mutable_inputs(0)->clear_contents();
  EXPECT_THAT(Fault(Decode(message)), HasSubstr("Size of raw_input_contents: 1 is different than number of inputs: 2"));
}

TEST(DecodeInferRequestTest, RawStringsCarryTheirLengths) {
  const auto with_raw = [](const std::string& raw) {
    ModelInferRequest message;
    AddInput(message, "s", "BYTES", {2});
    message.add_raw_input_contents(raw);
    return Decode(message);
  };
  const std::string one = Raw<uint32_t>({3}) + "abc";
  const std::string empty = Raw<uint32_t>({0});
  const Decoded decoded = with_raw(one + empty);
  ASSERT_TRUE(decoded.status.ok());
  EXPECT_THAT(decoded.request.inputs[0].tensor.strings, ElementsAre("abc", ""));
  EXPECT_THAT(Fault(with_raw(one + "\1")), HasSubstr("does not match expected format"));
  EXPECT_THAT(Fault(with_raw(Raw<uint32_t>({4}) + "abc")), HasSubstr("element: 0; input name: s"));
  EXPECT_THAT(Fault(with_raw(Raw<uint32_t>({0xFFFFFFFF}) + "abc")), HasSubstr("does not match expected format"));
  EXPECT_TRUE(with_raw("").status.ok());
}

TEST(DecodeInferRequestTest, TheTimeoutParameterIsADeadline) {
  const auto deadline = [](const std::function<void(inference::InferParameter&)>& set) {
    ModelInferRequest message;
    set((*message.mutable_parameters())["timeout"]);
    (*message.mutable_parameters())["priority"].set_int64_param(1);
    return Decode(message);
  };
  const TimePoint expected = kNow + std::chrono::microseconds(250);
  EXPECT_EQ(deadline([](auto& p) { p.set_int64_param(250); }).request.deadline, expected);
  EXPECT_EQ(deadline([](auto& p) { p.set_uint64_param(250); }).request.deadline, expected);
  EXPECT_EQ(deadline([](auto& p) { p.set_string_param("250"); }).request.deadline, expected);
  EXPECT_EQ(deadline([](auto& p) { p.set_string_param("99999999999999999999"); }).request.deadline, kNoDeadline);
  EXPECT_EQ(deadline([](auto& p) { p.set_int64_param(0); }).request.deadline, kNoDeadline);
  EXPECT_EQ(deadline([](auto& p) { p.set_uint64_param(~uint64_t{0}); }).request.deadline, kNoDeadline);
  EXPECT_THAT(Fault(deadline([](auto& p) { p.set_int64_param(-1); })), HasSubstr("INVALID_ARGUMENT: Invalid parameter "
                                                                                 "timeout"));
  for (const char* text : {"soon", "", "-1", "+1", " 1", "1.0"}) {
    EXPECT_THAT(Fault(deadline([&](auto& p) { p.set_string_param(text); })), HasSubstr("Invalid parameter timeout"));
  }
  EXPECT_THAT(Fault(deadline([](auto& p) { p.set_double_param(1.5); })), HasSubstr("Invalid parameter timeout"));
}

TEST(DecodeInferRequestTest, ThePriorityParameter) {
  const auto decoded = [](const std::function<void(inference::InferParameter&)>& set) {
    ModelInferRequest message;
    set((*message.mutable_parameters())["priority"]);
    return Decode(message);
  };
  EXPECT_EQ(Decode(ModelInferRequest()).request.priority, 0u);
  EXPECT_EQ(decoded([](auto& p) { p.set_int64_param(1); }).request.priority, 1u);
  EXPECT_EQ(decoded([](auto& p) { p.set_uint64_param(7); }).request.priority, 7u);
  EXPECT_EQ(decoded([](auto& p) { p.set_string_param("3"); }).request.priority, 3u);
  EXPECT_GT(decoded([](auto& p) { p.set_uint64_param(~uint64_t{0}); }).request.priority, uint64_t{1} << 60);
  EXPECT_THAT(Fault(decoded([](auto& p) { p.set_int64_param(-1); })), HasSubstr("Invalid parameter priority"));
  EXPECT_THAT(Fault(decoded([](auto& p) { p.set_bool_param(true); })), HasSubstr("1 goes first"));
}

TEST(DecodeInferRequestTest, ParametersSayTheSequence) {
  const auto with = [](const std::map<std::string, std::function<void(inference::InferParameter&)>>& parameters) {
    ModelInferRequest message;
    for (const auto& [name, set] : parameters) set((*message.mutable_parameters())[name]);
    return Decode(message);
  };
  const auto yes = [](auto& p) { p.set_bool_param(true); };
  EXPECT_EQ(with({}).request.sequence, nullptr);
  EXPECT_EQ(with({{"sequence", yes}, {"sequence_length", yes}}).request.sequence, nullptr);
  const Decoded first = with({{"sequence_id", [](auto& p) { p.set_int64_param(7); }}, {"sequence_start", yes}});
  ASSERT_TRUE(first.status.ok() && first.request.sequence != nullptr);
  EXPECT_EQ(first.request.sequence->id, (SequenceId{7, ""}));
  EXPECT_TRUE(first.request.sequence->start && !first.request.sequence->end && first.request.sequence->by_parameters);
  const Decoded last = with({{"sequence_id", [](auto& p) { p.set_string_param("seven"); }}, {"sequence_end", yes}});
  EXPECT_EQ(last.request.sequence->id, (SequenceId{0, "seven"}));
  EXPECT_TRUE(!last.request.sequence->start && last.request.sequence->end);
  const Decoded large = with({{"sequence_id", [](auto& p) { p.set_uint64_param(~uint64_t{0}); }}});
  EXPECT_EQ(large.request.sequence->id.number, ~uint64_t{0});
  EXPECT_THAT(Fault(with({{"sequence_id", [](auto& p) { p.set_int64_param(-7); }}})), HasSubstr("parameter sequence_id"));
  EXPECT_THAT(Fault(with({{"sequence_id", yes}})), HasSubstr("INVALID_ARGUMENT: Invalid parameter sequence_id"));
  EXPECT_THAT(Fault(with({{"sequence_end", [](auto& p) { p.set_int64_param(1); }}})), HasSubstr("parameter sequence_end"));
}

TEST(DecodeInferRequestTest, WhatIsNotServedIsRefused) {
  ModelInferRequest message;
  message.set_id("late");
  (*message.add_outputs()->mutable_parameters())["classification"].set_int64_param(3);
  const Decoded decoded = Decode(message);
  EXPECT_THAT(Fault(decoded), HasSubstr("INVALID_ARGUMENT: The classification extension is not supported"));
  EXPECT_EQ(decoded.request.id, "late");
  auto& classification = (*message.mutable_outputs(0)->mutable_parameters())["classification"];
  classification.set_int64_param(0);
  EXPECT_TRUE(Decode(message).status.ok());
  classification.set_int64_param(-1);
  EXPECT_THAT(Fault(Decode(message)), HasSubstr("classification"));
  classification.set_string_param("1");
  EXPECT_THAT(Fault(Decode(message)), HasSubstr("classification"));
}

TEST(DecodeInferRequestTest, WhatLiesInSharedMemoryIsSaid) {
  ModelInferRequest message;
  const auto share = [](auto& tensor, int64_t bytes, int64_t offset) {
    auto& parameters = *tensor.mutable_parameters();
    parameters["shared_memory_region"].set_string_param("r");
    parameters["shared_memory_byte_size"].set_int64_param(bytes);
    if (offset != 0) parameters["shared_memory_offset"].set_uint64_param(static_cast<uint64_t>(offset));
  };
  AddInput(message, "first", "FP32", {1});
  share(AddInput(message, "second", "FP32", {2}), 8, 64);
  AddInput(message, "third", "BYTES", {1});
  message.add_outputs()->set_name("here");
  message.add_outputs()->set_name("there");
  share(*message.mutable_outputs(1), 40, 0);
  message.add_raw_input_contents(Raw<float>({1}));
  message.add_raw_input_contents(std::string("\1\0\0\0x", 5));
  const Decoded decoded = Decode(message);
  ASSERT_TRUE(decoded.status.ok()) << decoded.status;
  EXPECT_THAT(Elements<float>(decoded.request.inputs[0].tensor), ElementsAre(1));
  EXPECT_THAT(decoded.request.inputs[2].tensor.strings, ElementsAre("x"));
  ASSERT_NE(decoded.request.shared, nullptr);
  const SharedTensors& shared = *decoded.request.shared;
  ASSERT_EQ(shared.inputs.size(), 1u);
  EXPECT_EQ(shared.inputs[0].index, 1u);
  EXPECT_EQ(shared.inputs[0].place.region, "r");
  EXPECT_EQ(shared.inputs[0].place.bytes, 8u);
  EXPECT_EQ(shared.inputs[0].place.offset, 64u);
  ASSERT_EQ(shared.outputs.size(), 1u);
  EXPECT_EQ(shared.outputs[0].index, 1u);
  EXPECT_EQ(shared.outputs[0].place.offset, 0u);

  message.add_raw_input_contents("more");
  EXPECT_THAT(Fault(Decode(message)), HasSubstr("number of inputs: 2 that are not in shared memory"));
  message.clear_raw_input_contents();
  message.mutable_inputs(1)->mutable_contents()->add_fp32_contents(1);
  EXPECT_THAT(Fault(Decode(message)), HasSubstr("both values and shared_memory_region; input name: second"));
  EXPECT_EQ(Decode(ModelInferRequest()).request.shared, nullptr);
}

TEST(DecodeInferRequestTest, FaultyPlacesInSharedMemory) {
  using Parameter = inference::InferParameter;
  const std::vector<std::map<std::string, std::function<void(Parameter&)>>> faulty = {
      {{"shared_memory_region", [](auto& p) { p.set_string_param("r"); }}},
      {{"shared_memory_byte_size", [](auto& p) { p.set_int64_param(4); }}},
      {{"shared_memory_offset", [](auto& p) { p.set_int64_param(0); }}},
      {{"shared_memory_region", [](auto& p) { p.set_int64_param(1); }},
       {"shared_memory_byte_size", [](auto& p) { p.set_int64_param(4); }}},
      {{"shared_memory_region", [](auto& p) { p.set_string_param("r"); }},
       {"shared_memory_byte_size", [](auto& p) { p.set_int64_param(-4); }}},
      {{"shared_memory_region", [](auto& p) { p.set_string_param("r"); }},
       {"shared_memory_byte_size", [](auto& p) { p.set_bool_param(true); }}},
      {{"shared_memory_region", [](auto& p) { p.set_string_param("r"); }},
       {"shared_memory_byte_size", [](auto& p) { p.set_int64_param(4); }},
       {"shared_memory_offset", [](auto& p) { p.set_double_param(1); }}}};
  for (const auto& parameters : faulty) {
    ModelInferRequest of_input, of_output;
    auto& input = AddInput(of_input, "b", "FP32", {1});
    auto& output = *of_output.add_outputs();
    for (const auto& [key, set] : parameters) {
      set((*input.mutable_parameters())[key]);
      set((*output.mutable_parameters())[key]);
    }
    for (const ModelInferRequest* message : {&of_input, &of_output}) {
      const Decoded decoded = Decode(*message);
      EXPECT_EQ(decoded.status.code(), StatusCode::kInvalidArgument) << message->ShortDebugString();
      EXPECT_THAT(Fault(decoded), HasSubstr("shared_memory_"));
    }
  }
}

TEST(DecodeInferRequestTest, RepeatedFieldsMergeAsInProtobuf) {
  ModelInferRequest first;
  first.set_model_name("old");
  ModelInferRequest second;
  second.set_model_name("new");
  auto& input = AddInput(second, "b", "FP32", {1});
  input.mutable_contents()->add_fp32_contents(1);
  ModelInferRequest::InferInputTensor more;
  more.add_shape(2);
  more.mutable_contents()->add_fp32_contents(2);
  // One input written as two halves, and unpacked values beside packed ones.
  const std::string halves = input.SerializeAsString() + more.SerializeAsString() + "\x18\x05" +
                             std::string("\x2a\x05\x35\x00\x00\x40\x40", 7);
  second.clear_inputs();
  const std::string bytes = first.SerializeAsString() + second.SerializeAsString() + "\x2a" +
                            std::string(1, static_cast<char>(halves.size())) + halves +
                            // Fields that nobody knows: 100 as a varint, 101 as a group with one field.
                            std::string("\xa0\x06\x01\xab\x06\x08\x01\xac\x06", 9);
  const Decoded decoded = Decode(bytes);
  ASSERT_TRUE(decoded.status.ok()) << decoded.status;
  EXPECT_EQ(decoded.request.model_name, "new");
  ASSERT_EQ(decoded.request.inputs.size(), 1u);
  EXPECT_THAT(decoded.request.inputs[0].tensor.shape, ElementsAre(1, 2, 5));
  EXPECT_THAT(Elements<float>(decoded.request.inputs[0].tensor), ElementsAre(1, 2, 3));
}

TEST(DecodeInferRequestTest, MalformedMessagesAreToldAsSuch) {
  const std::string malformed = "INVALID_ARGUMENT: The message could not be decoded as inference.ModelInferRequest";
  EXPECT_THAT(Fault(Decode(std::string("\x0a\x05"
                                       "ab",
                                       4))),
              HasSubstr(malformed));                                                             // a length beyond the end
  // Two gigabytes that are not there.
  EXPECT_THAT(Fault(Decode(std::string("\x3a\xff\xff\xff\xff\x07", 6))), HasSubstr(malformed));
  EXPECT_THAT(Fault(Decode(std::string("\0", 1))), HasSubstr(malformed));
  EXPECT_THAT(Fault(Decode(std::string("\x0a\x02\xff\xfe", 4))), HasSubstr(malformed));  // not UTF-8
  EXPECT_THAT(Fault(Decode(std::string(1000, '\x2b'))), HasSubstr(malformed));           // groups within groups
  EXPECT_THAT(Fault(Decode(std::string("\x0c", 1))), HasSubstr(malformed));              // the end of no group
  EXPECT_THAT(Fault(Decode(std::string("\x2a\x04\x2a\x02\x32\x03", 6))), HasSubstr(malformed));
  std::string many;
  for (int i = 0; i < 5000; ++i) many += std::string("\x2a\x00", 2);
  EXPECT_THAT(Fault(Decode(many)), HasSubstr(malformed));
  ModelInferRequest deep;
  AddInput(deep, "b", "FP32", std::vector<int64_t>(65, 1));
  EXPECT_THAT(Fault(Decode(deep)), HasSubstr("Invalid number of shape dimensions"));
  EXPECT_TRUE(Decode(std::string()).status.ok());
}

// Whatever comes, it ends with an answer; and what protobuf itself refuses is refused here.
TEST(DecodeInferRequestTest, MutatedMessagesNeverCrash) {
  ModelInferRequest message;
  message.set_model_name("dummy");
  message.set_id("1");
  (*message.mutable_parameters())["timeout"].set_int64_param(10);
  (*message.mutable_parameters())["other"].set_double_param(2);
  AddInput(message, "b", "FP32", {1, 4}).mutable_contents()->add_fp32_contents(1);
  AddInput(message, "i", "INT8", {3}).mutable_contents()->add_int_contents(-5);
  AddInput(message, "s", "BYTES", {2}).mutable_contents()->add_bytes_contents("text");
  message.add_outputs()->set_name("a");
  ModelInferRequest raw;
  AddInput(raw, "r", "BYTES", {1});
  raw.add_raw_input_contents(Raw<uint32_t>({3}) + "abc");
  const std::string goods[] = {message.SerializeAsString(), raw.SerializeAsString()};
  for (const std::string& good : goods) ASSERT_TRUE(Decode(good).status.ok());
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = goods[i % 2];
    if (i % 4 == 0) bytes.resize(random() % bytes.size());
    for (int flips = random() % 4; flips >= 0 && !bytes.empty(); --flips) {
      bytes[random() % bytes.size()] ^= static_cast<char>(1 << random() % 8);
    }
    const Decoded decoded = Decode(bytes, i % 3 == 0 ? 5 : -1);
    google::protobuf::LogSilencer quiet;
    ModelInferRequest parsed;
    if (!parsed.ParseFromString(bytes)) {
      EXPECT_FALSE(decoded.status.ok()) << i;
    }
    for (const NamedTensor& input : decoded.request.inputs) {
      for (const std::string_view string : input.tensor.strings) EXPECT_LE(string.size(), bytes.size());
    }
  }
}

}  // namespace
}  // namespace switchyard::kserve
