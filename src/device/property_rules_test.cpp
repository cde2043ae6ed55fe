#include "device/property_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

PropertyValue Text(const std::string& text) { return {text}; }
PropertyValue Number(int64_t number) { return {number}; }

Verdict VerdictOf(const std::string& key, const PropertyValue& value) { return JudgeProperty(key, value).verdict; }

TEST(PropertyRulesTest, StreamsAreANumberThatCanBeMeantOrAWord) {
  for (const PropertyValue& good : {Number(1), Number(256), Number(-1), Number(-2), Text("2"), Text("AUTO"), Text("NUMA")}) {
    EXPECT_EQ(VerdictOf("NUM_STREAMS", good), Verdict::kGood) << CanonicalText("NUM_STREAMS", good);
  }
  for (const PropertyValue& bad :
       {Number(-7), Number(0), Number(257), Number(100000), Text("auto"), Text("2.5"), Text(""), Text("99999999999999999999"),
        Text(" 2"), PropertyValue{true}, PropertyValue{2.5}, PropertyValue{PropertyMap{}}}) {
    EXPECT_EQ(VerdictOf("NUM_STREAMS", bad), Verdict::kBad) << CanonicalText("NUM_STREAMS", bad);
  }
  EXPECT_THAT(JudgeProperty("NUM_STREAMS", Number(-7)).message,
              AllOf(HasSubstr("NUM_STREAMS: expected"), HasSubstr("from 1 to 256, AUTO or NUMA"), HasSubstr("got -7")));
}

TEST(PropertyRulesTest, CommonKeys) {
  const std::vector<std::pair<std::string, std::vector<PropertyValue>>> good = {
      {"PERFORMANCE_HINT", {Text("LATENCY"), Text("THROUGHPUT"), Text("CUMULATIVE_THROUGHPUT")}},
      {"INFERENCE_NUM_THREADS", {Number(0), Number(4096), Text("4")}},
      {"INFERENCE_PRECISION_HINT", {Text("f32"), Text("f16"), Text("bf16"), Text("dynamic"), Text("undefined")}},
      {"ENABLE_CPU_PINNING", {PropertyValue{true}, Text("YES"), Text("false"), Number(1)}},
      {"AUTO_BATCH_TIMEOUT", {Number(0), Text("1000")}},
      {"MODEL_PRIORITY", {Text("HIGH")}},
      {"SCHEDULE_POLICY", {Text("ROUND_ROBIN"), Text("DEFAULT")}},
      {"LOG_LEVEL", {Text("LOG_INFO")}},
      {"CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE", {PropertyValue{0.5}, Number(1)}},
      {"DYNAMIC_QUANTIZATION_GROUP_SIZE", {Number(32), Number(-1), Text("18446744073709551615")}},
      {"DEVICE_PROPERTIES", {PropertyValue{PropertyMap{}}}},
      {"CACHE_DIR", {Text("/tmp"), Text("")}}};
  for (const auto& [key, values] : good) {
    for (const PropertyValue& value : values) EXPECT_EQ(VerdictOf(key, value), Verdict::kGood) << key;
  }
  const std::vector<std::pair<std::string, std::vector<PropertyValue>>> bad = {
      {"PERFORMANCE_HINT", {Text("latency"), Text("FAST"), Text("")}},
      {"INFERENCE_NUM_THREADS", {Number(-1), Number(4097), Text("four")}},
      {"INFERENCE_PRECISION_HINT", {Text("i8"), Text("f64"), Number(32)}},
      {"ENABLE_CPU_PINNING", {Text("maybe"), Number(2)}},
      {"AUTO_BATCH_TIMEOUT", {Number(-5)}},
      {"MODEL_PRIORITY", {Text("TOP")}},
      {"KV_CACHE_PRECISION", {Text("x")}},
      {"CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE", {PropertyValue{1.5}}},
      {"CACHE_DIR", {Text(std::string("a\0b", 3))}},
      {"DEVICE_PROPERTIES", {Number(1)}}};
  for (const auto& [key, values] : bad) {
    for (const PropertyValue& value : values) {
      EXPECT_EQ(VerdictOf(key, value), Verdict::kBad) << key;
      EXPECT_THAT(JudgeProperty(key, value).message, AllOf(HasSubstr(key), HasSubstr("expected"), HasSubstr("got")));
    }
  }
}

TEST(PropertyRulesTest, OnlyTheDeviceKnowsTheRest) {
  EXPECT_EQ(VerdictOf("KV_CACHE_PRECISION", Text("i8")), Verdict::kNotInTable);
  EXPECT_EQ(VerdictOf("GPU_QUEUE_THROTTLE", Text("LOW")), Verdict::kNotInTable);
}

TEST(PropertyRulesTest, MessagesStayShort) {
  EXPECT_LT(JudgeProperty("PERFORMANCE_HINT", Text(std::string(100000, 'x'))).message.size(), 400u);
}

TEST(PropertyRulesTest, KeysThatCannotBeSet) {
  EXPECT_THAT(WhyNotSettable("FULL_DEVICE_NAME"), HasSubstr("only be read"));
  EXPECT_THAT(WhyNotSettable("OPTIMAL_NUMBER_OF_INFER_REQUESTS"), HasSubstr("only be read"));
  EXPECT_THAT(WhyNotSettable("DEVICE_ID"), HasSubstr("target_device"));
  EXPECT_EQ(WhyNotSettable("NUM_STREAMS"), "");
}

TEST(PropertyRulesTest, NearestKeys) {
  const std::set<std::string> known = {"NUM_STREAMS", "PERFORMANCE_HINT", "PERF_COUNT"};
  EXPECT_EQ(NearestKey("NUM_STREAM", known), "NUM_STREAMS");
  EXPECT_EQ(NearestKey("num_streams", known), "NUM_STREAMS");
  EXPECT_EQ(NearestKey("PERFORMANCE_HNIT", known), "PERFORMANCE_HINT");
  EXPECT_EQ(NearestKey("FOO", known), "");
  EXPECT_EQ(NearestKey("PERFORMANCE_HNIT", known, 1), "") << "two letters differ";
  EXPECT_EQ(NearestKey(std::string(100000, 'N'), known), "");
}

TEST(PropertyRulesTest, SwitchesAreWrittenOneWay) {
  for (const PropertyValue& value : {PropertyValue{true}, Text("true"), Text("On"), Number(1), Text("YES")}) {
    EXPECT_EQ(CanonicalText("ENABLE_MMAP", value), "YES");
  }
  EXPECT_EQ(CanonicalText("ENABLE_MMAP", Text("off")), "NO");
  EXPECT_EQ(CanonicalText("NUM_STREAMS", Number(1)), "1");
  EXPECT_EQ(CanonicalText("GPU_ANY", PropertyValue{true}), "YES");
}

TEST(PropertyRulesTest, StreamsBesideAHintAreWarnedOf) {
  const PropertyMap both = {{"NUM_STREAMS", Number(2)}, {"PERFORMANCE_HINT", Text("LATENCY")}};
  ASSERT_TRUE(StreamsAndHint(both).has_value());
  EXPECT_THAT(*StreamsAndHint(both), AllOf(HasSubstr("NUM_STREAMS"), HasSubstr("PERFORMANCE_HINT")));
  const PropertyMap nested = {{"DEVICE_PROPERTIES", {PropertyMap{{"GPU", {both}}}}}};
  ASSERT_TRUE(StreamsAndHint(nested).has_value());
  EXPECT_THAT(*StreamsAndHint(nested), HasSubstr("for GPU"));
  EXPECT_EQ(StreamsAndHint({{"NUM_STREAMS", Number(2)}}), std::nullopt);
  EXPECT_EQ(StreamsAndHint({}), std::nullopt);
  const PropertyMap refined = {{"PERFORMANCE_HINT", Text("THROUGHPUT")},
                               {"DEVICE_PROPERTIES", {PropertyMap{{"CPU", {PropertyMap{{"NUM_STREAMS", Number(2)}}}}}}}};
  ASSERT_TRUE(StreamsAndHint(refined).has_value()) << "a hint for all, and streams for one device";
  EXPECT_THAT(*StreamsAndHint(refined), HasSubstr("for CPU"));
  const PropertyMap reverse = {
      {"NUM_STREAMS", Number(2)},
      {"DEVICE_PROPERTIES", {PropertyMap{{"CPU", {PropertyMap{{"PERFORMANCE_HINT", Text("THROUGHPUT")}}}}}}}};
  ASSERT_TRUE(StreamsAndHint(reverse).has_value());
  EXPECT_THAT(*StreamsAndHint(reverse), HasSubstr("for CPU"));
  const PropertyMap by_number = {{"DEVICE_PROPERTIES",
                                  {PropertyMap{{"GPU", {PropertyMap{{"NUM_STREAMS", Number(2)}}}},
                                               {"GPU.1", {PropertyMap{{"PERFORMANCE_HINT", Text("LATENCY")}}}},
                                               {"CPU", {PropertyMap{{"PERFORMANCE_HINT", Text("LATENCY")}}}}}}}};
  ASSERT_TRUE(StreamsAndHint(by_number).has_value());
  EXPECT_THAT(*StreamsAndHint(by_number), AllOf(HasSubstr("for GPU.1,"), ::testing::Not(HasSubstr("CPU"))));
  PropertyMap all = refined;
  all["PERFORMANCE_HINT"] = Text("CUMULATIVE_THROUGHPUT");
  EXPECT_EQ(StreamsAndHint(all), std::nullopt) << "all devices at once, each with its streams";
}

TEST(PropertyRulesTest, OldNamesGiveWay) {
  const struct {
    PropertyMap given, properties;
    std::string note;
  } cases[] = {
      {{{"CPU_THROUGHPUT_STREAMS", Text("CPU_THROUGHPUT_AUTO")}},
       {{"PERFORMANCE_HINT", Text("THROUGHPUT")}},
       "plugin_config: CPU_THROUGHPUT_STREAMS is an old name; PERFORMANCE_HINT is set in its place"},
      {{{"GPU_THROUGHPUT_STREAMS", Text("GPU_THROUGHPUT_AUTO")}},
       {{"PERFORMANCE_HINT", Text("THROUGHPUT")}},
       "plugin_config: GPU_THROUGHPUT_STREAMS is an old name; PERFORMANCE_HINT is set in its place"},
      {{{"CPU_THROUGHPUT_STREAMS", Text("4")}},
       {{"NUM_STREAMS", Text("4")}},
       "plugin_config: CPU_THROUGHPUT_STREAMS is an old name; NUM_STREAMS is set in its place"},
      {{{"GPU_THROUGHPUT_STREAMS", Number(4)}, {"NUM_STREAMS", Number(2)}},
       {{"NUM_STREAMS", Number(2)}},
       "plugin_config: GPU_THROUGHPUT_STREAMS is an old name of NUM_STREAMS, which is given too; GPU_THROUGHPUT_STREAMS is not "
       "used"},
      {{{"DEVICE_PROPERTIES", {PropertyMap{{"CPU", {PropertyMap{{"CPU_THREADS_NUM", Number(2)}}}}}}}},
       {{"DEVICE_PROPERTIES", {PropertyMap{{"CPU", {PropertyMap{{"INFERENCE_NUM_THREADS", Number(2)}}}}}}}},
       "plugin_config: DEVICE_PROPERTIES/CPU/CPU_THREADS_NUM is an old name; INFERENCE_NUM_THREADS is set in its place"},
  };
  for (const auto& c : cases) {
    std::vector<std::string> notes;
    EXPECT_EQ(WithoutOldNames(c.given, &notes), c.properties);
    EXPECT_THAT(notes, ::testing::ElementsAre(c.note));
  }
  EXPECT_EQ(WithoutOldNames({{"NUM_STREAMS", Number(2)}}), (PropertyMap{{"NUM_STREAMS", Number(2)}}));
}

TEST(PropertyRulesTest, HintsAreSettledForOneDevice) {
  const auto settled = [](PropertyMap properties) {
    SettleHint(properties);
    return properties;
  };
  EXPECT_EQ(settled({}), (PropertyMap{{"PERFORMANCE_HINT", Text("LATENCY")}}));
  EXPECT_EQ(settled({{"PERFORMANCE_HINT", Text("CUMULATIVE_THROUGHPUT")}}),
            (PropertyMap{{"PERFORMANCE_HINT", Text("THROUGHPUT")}}));
  EXPECT_EQ(settled({{"NUM_STREAMS", Number(2)}, {"PERFORMANCE_HINT", Text("LATENCY")}}),
            (PropertyMap{{"NUM_STREAMS", Number(2)}}));
  EXPECT_EQ(settled({{"PERFORMANCE_HINT", Text("THROUGHPUT")}}), (PropertyMap{{"PERFORMANCE_HINT", Text("THROUGHPUT")}}));
}

TEST(PropertyRulesTest, ADevicesOwnProperties) {
  const PropertyMap config = {{"NUM_STREAMS", Number(9)},
                              {"DEVICE_PROPERTIES",
                               {PropertyMap{{"GPU", {PropertyMap{{"NUM_STREAMS", Number(1)}, {"PERF_COUNT", Text("YES")}}}},
                                            {"GPU.1", {PropertyMap{{"NUM_STREAMS", Number(2)}}}},
                                            {"CPU", {PropertyMap{{"NUM_STREAMS", Number(4)}}}}}}}};
  EXPECT_EQ(OwnProperties(config, "GPU.0"), (PropertyMap{{"NUM_STREAMS", Number(1)}, {"PERF_COUNT", Text("YES")}}));
  EXPECT_EQ(OwnProperties(config, "GPU.1"), (PropertyMap{{"NUM_STREAMS", Number(2)}, {"PERF_COUNT", Text("YES")}}));
  EXPECT_EQ(OwnProperties(config, "CPU"), (PropertyMap{{"NUM_STREAMS", Number(4)}}));
  EXPECT_EQ(OwnProperties(config, "NPU"), PropertyMap{});
}

}  // namespace
}  // namespace switchyard
