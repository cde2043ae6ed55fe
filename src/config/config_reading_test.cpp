#include "config/config_reading.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidjson/document.h>

#include "config/config_schema.h"

namespace switchyard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

std::vector<std::string> Pointers(const std::vector<ConfigFault>& faults) {
  std::vector<std::string> pointers;
  for (const ConfigFault& fault : faults) pointers.push_back(fault.pointer);
  return pointers;
}

std::string Config(const std::string& entries) { return R"({"model_config_list": [)" + entries + "]}"; }

TEST(ConfigReading, AGoodFileHasNoFaults) {
  const std::string text = Config(R"({"config": {"name": "m", "nireq": 2, "labels": {"stable": 3}, "aliases": ["n"]}})");
  const ConfigReading reading = ReadWholeConfig(text, "/etc");
  EXPECT_THAT(reading.faults, IsEmpty());
  ASSERT_EQ(reading.models.size(), 1u);
  EXPECT_EQ(reading.models[0].pointer, "/model_config_list/0/config");
  EXPECT_EQ(reading.file.models, (std::vector<ModelSettings>{reading.models[0].settings}));
  EXPECT_EQ(reading.models[0].settings.labels.at("stable"), 3);
  EXPECT_THAT(reading.models[0].settings.aliases, ElementsAre("n"));
}

TEST(ConfigReading, NamesEveryFaultAtOnce) {
  const std::string text = R"j({"model_config_list": [
      {"config": {"name": "a", "nireq": "two", "batchsize": 1, "shape": {"x": "(1,", "y": "(2,3)", "z": ")"}}},
      {"config": {"base_path": "b", "batch_size": "many", "layout": "NHWC:QQ"}},
      {"config": {"name": "c", "plugin_config": {"A": {"B": 1}, "C": [1]}, "labels": {"7": 1, "stable": 1}}},
      {"config": {"name": "c"}}, 7], "modelconfiglist": []})j";
  const ConfigReading reading = ReadWholeConfig(text, "/etc");
  EXPECT_THAT(Pointers(reading.faults),
              UnorderedElementsAre(
                  "/modelconfiglist", "/model_config_list/0/config/nireq", "/model_config_list/0/config/batchsize",
                  "/model_config_list/0/config/shape/x", "/model_config_list/0/config/shape/z", "/model_config_list/1/config",
                  "/model_config_list/1/config/batch_size", "/model_config_list/1/config/layout",
                  "/model_config_list/2/config/plugin_config/A", "/model_config_list/2/config/plugin_config/C",
                  "/model_config_list/2/config/labels/7", "/model_config_list/3/config/name", "/model_config_list/4"));
  for (const ConfigFault& fault : reading.faults) {
    EXPECT_NE(fault.expected, "") << fault.pointer;
    EXPECT_NE(fault.got, "") << fault.pointer;
    EXPECT_THAT(fault.expected, testing::Not(HasSubstr("got "))) << fault.pointer;
  }
}

TEST(ConfigReading, SaysWhatWasExpectedAndWhatCame) {
  const auto one = [](const std::string& member) {
    const auto faults = ReadWholeConfig(Config(R"({"config": {"name": "m", )" + member + "}}"), "/").faults;
    return faults.size() == 1 ? faults[0] : ConfigFault{std::to_string(faults.size()), "", ""};
  };
  EXPECT_EQ(one(R"("nireq": "two")"),
            (ConfigFault{"/model_config_list/0/config/nireq", "a non-negative integer", "the string \"two\""}));
  EXPECT_EQ(one(R"("nireq": 100001)").got, "the number 100001");
  EXPECT_THAT(one(R"("nirek": 1)").expected, HasSubstr("\"nireq\""));
  EXPECT_EQ(one(R"("nirek": 1)").got, "the unknown key \"nirek\"");
  EXPECT_EQ(one("\"shape\": \"(1,\"").pointer, "/model_config_list/0/config/shape");
  EXPECT_EQ(one(R"("aliases": ["n", "m"])").pointer, "/model_config_list/0/config/aliases/1");
  EXPECT_EQ(one(R"("labels": {"stable": 0})").expected, "the number of a version");
  EXPECT_EQ(one(R"("nireq": 2.0)").got, "the number 2.0");
  EXPECT_EQ(one(R"("nireq": 1e3)").got, "the number 1000.0");
  EXPECT_EQ(one(R"("low_latency_transformation": true)"),
            (ConfigFault{"/model_config_list/0/config/low_latency_transformation", "a value that this server takes",
                         "true: it makes a model that keeps state; set stateful to true as well"}));
  EXPECT_THAT(one(R"("custom_loader_options": {})").got, HasSubstr("remove it to serve the model"));
}

TEST(ConfigReading, SaysWhatIsWrongBesideTheModels) {
  const std::string text =
      R"({"model_config_list": [], "monitoring": {"metrics": {"enable": true, "metrics_list": ["nope"]}}})";
  const auto faults = ReadWholeConfig(text, "/").faults;
  ASSERT_EQ(faults.size(), 1u) << ToText(faults);
  EXPECT_EQ(faults[0].pointer, "/monitoring/metrics/metrics_list/0");
  EXPECT_EQ(faults[0].expected, "a value that this server takes");
  EXPECT_THAT(faults[0].got, HasSubstr("the metric \"nope\" is not known"));
}

TEST(ConfigReading, AFaultOfOnePartHidesNoneOfAnother) {
  const std::string text = R"({"model_config_list": [{"config": {"name": "m", "nireq": "two", "plugin_config":
      {"NUM_STREAMS": 1, "DEVICE_PROPERTIES": {"CPU": {"A": [1], "B": 1, "C": null}, "GPU": 7}}}}],
      "device_plugins": {"x y": "a", "GOOD": "libgood.so", "BAD": 7},
      "logging": {"level": "LOUD"},
      "monitoring": {"metrics": {"metrics_list": ["nope", "ovms_requests_success", "neither", "ovms_requests_success", 3]}}})";
  const ConfigReading reading = ReadWholeConfig(text, "/etc");
  const std::string properties = "/model_config_list/0/config/plugin_config/DEVICE_PROPERTIES";
  EXPECT_THAT(
      Pointers(reading.faults),
      UnorderedElementsAre("/model_config_list/0/config/nireq", properties + "/CPU/A", properties + "/CPU/C",
                           properties + "/GPU", "/device_plugins/x y", "/device_plugins/BAD", "/logging/level",
                           "/monitoring/metrics", "/monitoring/metrics/metrics_list/0", "/monitoring/metrics/metrics_list/2",
                           "/monitoring/metrics/metrics_list/4", "/monitoring/metrics/metrics_list"))
      << ToText(reading.faults);
}

TEST(ConfigReading, WhatIsGoodBesideAFaultIsRead) {
  const std::string text = R"({"model_config_list": [{"config": {"name": "m", "nireq": "two"}}],
      "device_plugins": {"GOOD": "libgood.so"}})";
  const ConfigReading reading = ReadWholeConfig(text, "/etc");
  EXPECT_THAT(Pointers(reading.faults), ElementsAre("/model_config_list/0/config/nireq"));
  ASSERT_EQ(reading.file.server.device_plugins.size(), 1u) << "the devices of other models hang on it";
  EXPECT_EQ(reading.file.server.device_plugins[0].first, "GOOD");
}

TEST(ConfigReading, MembersThatBelongTogetherAreJudgedTogether) {
  const std::string text = Config(R"({"config": {"name": "m", "dynamic_batching":
      {"max_batch_size": 4, "priority_levels": 2, "default_priority_level": 3}}})");
  const auto faults = ReadWholeConfig(text, "/").faults;
  ASSERT_EQ(faults.size(), 1u) << ToText(faults);
  EXPECT_EQ(faults[0].pointer, "/model_config_list/0/config/dynamic_batching/default_priority_level");
  EXPECT_EQ(faults[0].expected, "an integer from 1 to 2");
}

TEST(ConfigReading, StrictnessMakesFaultsOfWarnings) {
  const std::string text = Config(R"j({"config": {"name": "m", "batch_size": 1, "shape": "(1,3,8,8)"}})j");
  EXPECT_THAT(ReadWholeConfig(text, "/").faults, IsEmpty());
  const auto faults = ReadWholeConfig(text, "/", true).faults;
  EXPECT_THAT(Pointers(faults), ElementsAre("/model_config_list/0/config/batch_size"));
  EXPECT_THAT(faults[0].expected, HasSubstr("none beside shape"));
  EXPECT_THAT(Pointers(ReadModelEntry(R"j({"batch_size": 1, "shape": "(1,3,8,8)"})j", "m", "/m", "/", true).faults),
              ElementsAre("/batch_size"));
}

TEST(ConfigReading, ManyFaultsTakeNoLongTime) {
  std::string members = R"({"config": {"name": "m")";
  for (int i = 0; i < 20000; ++i) members += fmt::format(R"(, "key/{}": 1)", i);
  const auto faults = ReadWholeConfig(Config(members + "}}"), "/").faults;
  ASSERT_EQ(faults.size(), 20000u);
  EXPECT_EQ(faults[7].pointer, "/model_config_list/0/config/key~17");
  EXPECT_LT(ToText(faults).size(), 100000u) << "an error names the first hundred";
}

TEST(ConfigReading, TextThatIsNoJsonIsOneFault) {
  const auto faults = ReadWholeConfig("{\n  \"model_config_list\": [,]}", "/").faults;
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].expected, "JSON");
  EXPECT_THAT(faults[0].got, HasSubstr("line 2"));
  EXPECT_THAT(Pointers(ReadWholeConfig("[]", "/").faults), ElementsAre(""));
  EXPECT_THAT(Pointers(ReadWholeConfig(R"({"model_config_list": [], "device_plugins": {"x y": "a"}})", "/").faults),
              ElementsAre("/device_plugins/x y"));
}

TEST(ConfigReading, ModelsShareNoName) {
  const auto faults = ReadWholeConfig(Config(R"({"config": {"name": "a", "aliases": ["x"]}},
      {"config": {"name": "b", "aliases": ["a", "y"]}}, {"config": {"name": "x"}})"),
                                      "/")
                          .faults;
  EXPECT_THAT(Pointers(faults), ElementsAre("/model_config_list/1/config/aliases/0", "/model_config_list/2/config/name"));
  EXPECT_THAT(faults[1].got, HasSubstr("/model_config_list/0/config/aliases/0"));
}

TEST(ConfigReading, AnEntryAlone) {
  const EntryReading plain = ReadModelEntry(R"({"nireq": 3})", "m", "/models/m", "/etc");
  EXPECT_THAT(plain.faults, IsEmpty());
  EXPECT_EQ(plain.model.settings.name, "m");
  EXPECT_EQ(plain.model.settings.base_path, "/models/m");
  EXPECT_EQ(plain.model.settings.nireq, 3u);
  EXPECT_EQ(ReadModelEntry(R"({"config": {"base_path": "x"}})", "m", "", "/etc").model.settings.base_path, "/etc/x");
  EXPECT_THAT(Pointers(ReadModelEntry("{}", "m", "", "/").faults), ElementsAre(""));
  EXPECT_THAT(Pointers(ReadModelEntry(R"({"name": "n", "nireq": -1, "base_path": "x"})", "m", "", "/").faults),
              UnorderedElementsAre("/name", "/nireq"));
  EXPECT_THAT(Pointers(ReadModelEntry("nonsense", "m", "/x", "/").faults), ElementsAre(""));
  EXPECT_THAT(Pointers(ReadModelEntry("7", "m", "/x", "/").faults), ElementsAre(""));
}

// The walk over the schema must know every keyword that the schema is written in.
void CheckKeywords(const rapidjson::Value& node) {
  static const std::set<std::string> known = {
      "$schema", "title",   "description", "x-expected", "type",     "properties", "required",      "additionalProperties",
      "items",   "minimum", "maximum",     "minLength",  "minItems", "maxItems",   "minProperties", "maxProperties",
      "enum"};
  for (const auto& member : node.GetObject()) {
    const std::string name = member.name.GetString();
    EXPECT_EQ(known.count(name), 1u) << name << ": teach it to SchemaFaults";
    if (name == "properties") {
      for (const auto& property : member.value.GetObject()) CheckKeywords(property.value);
    } else if (member.value.IsObject()) {
      CheckKeywords(member.value);
    }
  }
}

TEST(ConfigReading, KnowsTheKeywordsOfTheSchema) {
  rapidjson::Document schema;
  schema.Parse(ConfigSchemaText().data(), ConfigSchemaText().size());
  ASSERT_TRUE(schema.IsObject());
  CheckKeywords(schema);
}

TEST(ConfigReading, AnEntryWhoseNameIsTakenIsJudgedLikeTheOthers) {
  const ConfigReading reading = ReadWholeConfig(R"({"model_config_list": [{"config": {"name": "a", "base_path": "/a"}},
      {"config": {"name": "a", "base_path": "/b", "nireq": "x", "layout": "NXYZ"}}]})",
                                                "/");
  std::vector<std::string> pointers;
  for (const ConfigFault& fault : reading.faults) pointers.push_back(fault.pointer);
  EXPECT_THAT(pointers, testing::UnorderedElementsAre("/model_config_list/1/config/name", "/model_config_list/1/config/nireq",
                                                      "/model_config_list/1/config/layout"));
  EXPECT_EQ(reading.models.size(), 2u);
}

}  // namespace
}  // namespace switchyard
