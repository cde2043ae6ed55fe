#include "config/model_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/config_file.h"
#include "config/text.h"

namespace switchyard {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kAny = Dimension::kUnbounded;

TEST(BatchSizeTest, ReadsNumbersRangesAndAny) {
  EXPECT_EQ(ParseBatchSize("4")->size, Dimension::Fixed(4));
  EXPECT_EQ(ParseBatchSize(" 4 ")->size, Dimension::Fixed(4));
  EXPECT_EQ(ParseBatchSize("-1")->size, Dimension::Dynamic());
  EXPECT_EQ(ParseBatchSize("1:8")->size, (Dimension{1, 8}));
  EXPECT_EQ(ParseBatchSize("0")->size, std::nullopt);
}

TEST(BatchSizeTest, NamesWhatCame) {
  for (const char* text :
       {"", "two", "-2", "-7", "8:1", "0:4", "1:", ":3", "1:2:3", "1.5", "+1", "99999999999999999999", "9223372036854775807"}) {
    const auto size = ParseBatchSize(text);
    ASSERT_FALSE(size.ok()) << text;
    EXPECT_THAT(std::string(Message(size.status())), HasSubstr(std::string("got \"") + text)) << text;
  }
  EXPECT_TRUE(ParseBatchSize(" auto ")->is_auto);
  EXPECT_FALSE(ParseBatchSize("4")->is_auto);
}

TEST(ShapeTest, ReadsEveryForm) {
  EXPECT_EQ(ParseShape("(1,3,224,224)")->ToShape(), (Shape{1, 3, 224, 224}));
  EXPECT_EQ(ParseShape("( 1 , 3 )")->ToShape(), (Shape{1, 3}));
  EXPECT_TRUE(ParseShape("()")->dims.empty());
  EXPECT_EQ(ParseShape("(-1,1:8,0)")->dims, (std::vector<Dimension>{{0, kAny}, {1, 8}, {0, 0}}));
}

TEST(ShapeTest, RefusesTheRest) {
  for (const char* text : {"", "(", ")", "1,3", "[1,3]", "(1,3", "(1,,3)", "(1,)", "(a)", "(-2)", "(3:2)", "(1)(2)", "{}"}) {
    const auto shape = ParseShape(text);
    ASSERT_FALSE(shape.ok()) << text;
    EXPECT_EQ(shape.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(Message(shape.status())), HasSubstr("expected")) << text;
  }
}

TEST(ShapeTest, ReadsAnObjectByInput) {
  const auto shapes = ParseShapes(R"j( {"a": "(1,10)", "b": "(-1,2)"})j");
  ASSERT_TRUE(shapes.ok());
  EXPECT_EQ(shapes->shapes.at("a").ToShape(), (Shape{1, 10}));
  EXPECT_EQ(shapes->shapes.at("b").Wire(), (Shape{-1, 2}));
  EXPECT_THAT(std::string(Message(ParseShapes(R"({"a": [1]})").status())),
              HasSubstr("\"a\": expected a string, got a list of 1"));
  EXPECT_THAT(std::string(Message(ParseShapes(R"({"a": "x"})").status())), HasSubstr("\"a\": expected a shape"));
  EXPECT_THAT(std::string(Message(ParseShapes(R"({"a": )").status())), HasSubstr("line 1, column"));
  EXPECT_THAT(std::string(Message(ParseShapes("{}").status())), HasSubstr("empty object"));
  EXPECT_FALSE(ParseShapes(R"j({"": "(1)"})j").ok());
}

TEST(ShapeTest, ReadsAuto) {
  EXPECT_EQ(ParseShapes("auto")->autos, std::set<std::string>{""});
  const auto mixed = ParseShapes(R"j({"a": "(1,10)", "b": "auto"})j");
  ASSERT_TRUE(mixed.ok());
  EXPECT_EQ(mixed->autos, std::set<std::string>{"b"});
  EXPECT_EQ(mixed->shapes.size(), 1u);
}

TEST(LayoutTest, ReadsEveryForm) {
  EXPECT_EQ(*ParseLayout("NHWC:NCHW"), (LayoutSetting{"NHWC", "NCHW"}));
  EXPECT_EQ(*ParseLayout("nhwc:nchw"), (LayoutSetting{"NHWC", "NCHW"}));
  EXPECT_EQ(*ParseLayout("NCHW"), (LayoutSetting{"", "NCHW"}));
  EXPECT_EQ(*ParseLayout("N..."), (LayoutSetting{"", "N..."}));
  EXPECT_EQ(*ParseLayout("N??C"), (LayoutSetting{"", "N??C"}));
  EXPECT_EQ(ParseLayouts(R"({"in": "NHWC:NCHW", "out": "NC"})")->at("out"), (LayoutSetting{"", "NC"}));
}

TEST(LayoutTest, RefusesTheRest) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {{"", "got \"\""},
               {":", "got \":\""},
               {"NHWC:", "NHWC:NCHW"},
               {"NCHW:NHWC:N", "got"},
               {"NXHW", "\"X\" in \"NXHW\" is none of"},
               {"NN", "N stands twice"},
               {"......", "stands twice"},
               {"N..", "\".\" in"},
               {"auto", "\"A\" in"}};
  for (const auto& c : cases) {
    const auto layout = ParseLayout(c.text);
    ASSERT_FALSE(layout.ok()) << c.text;
    EXPECT_THAT(std::string(Message(layout.status())), HasSubstr(c.message)) << c.text;
  }
}

TEST(VersionPolicyTest, ReadsEveryKind) {
  EXPECT_EQ(ParseVersionPolicy(R"({"all": {}})")->kind, VersionPolicy::Kind::kAll);
  EXPECT_EQ(ParseVersionPolicy(R"({"latest": {"num_versions": 3}})")->latest_count, 3u);
  EXPECT_EQ(ParseVersionPolicy(R"({"specific": {"versions": [5, 1, 5]}})")->versions, (std::vector<int64_t>{1, 5}));
}

TEST(VersionPolicyTest, RefusesTheRest) {
  for (const char* text :
       {"", "all", "1", "{}", R"({"all": {}, "latest": {"num_versions": 1}})", R"({"all": 1})", R"({"newest": {}})",
        R"({"latest": {}})", R"({"latest": {"num_versions": 0}})", R"({"latest": {"num_versions": -1}})", R"({"latest": 1})",
        R"({"specific": {"versions": []}})", R"({"specific": {"versions": [0]}})", R"({"specific": {"versions": ["1"]}})",
        R"({"specific": {"versions": [1], "x": 1}})"}) {
    const auto policy = ParseVersionPolicy(text);
    ASSERT_FALSE(policy.ok()) << text;
    EXPECT_THAT(std::string(Message(policy.status())), HasSubstr("expected")) << text;
  }
}

TEST(PluginConfigTest, KeepsTypes) {
  const auto properties =
      ParsePluginConfig(R"({"A": "x", "B": true, "C": 2, "D": 0.5, "DEVICE_PROPERTIES": {"CPU": {"E": 1}}})");
  ASSERT_TRUE(properties.ok()) << properties.status();
  const PropertyMap expected = {{"A", {std::string("x")}},
                                {"B", {true}},
                                {"C", {int64_t{2}}},
                                {"D", {0.5}},
                                {"DEVICE_PROPERTIES", {PropertyMap{{"CPU", {PropertyMap{{"E", {int64_t{1}}}}}}}}}};
  EXPECT_EQ(*properties, expected);
}

TEST(PluginConfigTest, ConvertsValues) {
  const struct {
    const char* json;
    PropertyMap properties;
  } cases[] = {
      {R"({"INFERENCE_NUM_THREADS": "8"})", {{"INFERENCE_NUM_THREADS", {int64_t{8}}}}},
      {R"({"AUTO_BATCH_TIMEOUT": "200"})", {{"AUTO_BATCH_TIMEOUT", {int64_t{200}}}}},
      {R"({"AUTO_BATCH_TIMEOUT": 200})", {{"AUTO_BATCH_TIMEOUT", {int64_t{200}}}}},
      {R"({"ENABLE_CPU_PINNING": "false"})", {{"ENABLE_CPU_PINNING", {false}}}},
      {R"({"DEVICE_PROPERTIES": {"CPU": {"INFERENCE_NUM_THREADS": "2"}}})",
       {{"DEVICE_PROPERTIES", {PropertyMap{{"CPU", {PropertyMap{{"INFERENCE_NUM_THREADS", {int64_t{2}}}}}}}}}}},
  };
  for (const auto& c : cases) {
    const auto properties = ParsePluginConfig(c.json);
    ASSERT_TRUE(properties.ok()) << c.json << properties.status();
    EXPECT_EQ(*properties, c.properties) << c.json;
  }
}

TEST(PluginConfigTest, NamesTheProperty) {
  const struct {
    const char* json;
    const char* message;
  } cases[] = {
      {"", "expected a JSON object"},
      {"LATENCY", "line 1, column 1"},
      {"[]", "got an empty list"},
      {R"({"NUM_STREAMS": null})", "NUM_STREAMS: expected a string, a boolean or a number"},
      {R"({"CPU": {"NUM_STREAMS": 1}})", "only under DEVICE_PROPERTIES), got an object"},
      {R"({"DEVICE_PROPERTIES": {"CPU": 1}})", "DEVICE_PROPERTIES/CPU: expected an object of properties, got the number 1"},
      {R"({"DEVICE_PROPERTIES": {"CPU": {"A": {"B": 1}}}})", "DEVICE_PROPERTIES/CPU: A: expected a string"},
      {R"({"INFERENCE_NUM_THREADS": "many"})", "INFERENCE_NUM_THREADS: expected a whole number, got the string \"many\""},
      {R"({"ENABLE_CPU_PINNING": "maybe"})", "ENABLE_CPU_PINNING: expected true or false"},
      {R"({"A": 18446744073709551615})", "at most 9223372036854775807"},
  };
  for (const auto& c : cases) {
    const auto properties = ParsePluginConfig(c.json);
    ASSERT_FALSE(properties.ok()) << c.json;
    EXPECT_THAT(std::string(Message(properties.status())), HasSubstr(c.message)) << c.json;
  }
}

TEST(BasePathTest, IsAbsoluteAndNormal) {
  EXPECT_EQ(*ResolveBasePath("/opt/model/", "/etc"), "/opt/model");
  EXPECT_EQ(*ResolveBasePath("model", "/etc"), "/etc/model");
  EXPECT_EQ(*ResolveBasePath("../model//x", "/etc/y"), "/etc/model/x");
  EXPECT_EQ(*ResolveBasePath("/", ""), "/");
  EXPECT_EQ(ResolveBasePath("model", "")->front(), '/');
  EXPECT_FALSE(ResolveBasePath("", "/etc").ok());
  for (const char* cloud : {"s3://b/m", "gs://b/m", "az://b/m", "azfs://b/m"})
    EXPECT_EQ(*ResolveBasePath(cloud, "/etc"), cloud);
  EXPECT_EQ(*ResolveBasePath("s3://host:1/b/m//", "/etc"), "s3://host:1/b/m");
  EXPECT_FALSE(ResolveBasePath("gs://", "/etc").ok());
}

TEST(ModelNameTest, IsOneThatClientsCanAskFor) {
  for (const std::string name : {"m", "a/b", "..a", "a..", "a/...", "Ünï cödé"}) EXPECT_TRUE(CheckModelName(name).ok()) << name;
  EXPECT_TRUE(CheckModelName(std::string(kLongestName, 'a')).ok());
  for (const std::string name : {"", ".", "..", "../a", "a/../b", "a/.", "a\n"})
    EXPECT_FALSE(CheckModelName(name).ok()) << name;
  EXPECT_FALSE(CheckModelName(std::string(kLongestName + 1, 'a')).ok());
  EXPECT_THAT(std::string(Message(CheckModelName("n\xE9"))), ::testing::HasSubstr("expected a name in UTF-8, got \"n\\xe9\""));
}

TEST(TextTest, QuotesWhatStrangersWrote) {
  EXPECT_EQ(Quote("a\x1b[0m\n"), "\"a\\x1b[0m\\x0a\"");
  EXPECT_EQ(Quote(std::string(200, 'x')), "\"" + std::string(80, 'x') + "...\"");
  EXPECT_EQ(Quote("Gerät 装置 \U0001F680"), "\"Gerät 装置 \U0001F680\"");
  EXPECT_EQ(Quote("\xff\xc3"), "\"\\xff\\xc3\"");
  EXPECT_EQ(Quote("\xc0\xaf"), "\"\\xc0\\xaf\"") << "longer than it needs to be";
  EXPECT_EQ(Quote("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"") << "half of a pair";
  EXPECT_EQ(Quote("\xc2\x9b"), "\"\\xc2\\x9b\"") << "a control character of 8 bits";
  EXPECT_EQ(Quote(std::string(79, 'x') + "é"), "\"" + std::string(79, 'x') + "...\"") << "no half characters";
  EXPECT_EQ(Nearest("nirec", {"name", "nireq"}), "nireq");
  EXPECT_EQ(Nearest("bogus", {"name", "nireq"}), "");
}

}  // namespace
}  // namespace switchyard
