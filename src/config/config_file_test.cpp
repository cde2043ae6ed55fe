#include "config/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace switchyard {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A file with one model "m" whose entry has `members` beside the name.
std::string OneModel(const std::string& members) {
  return R"({"model_config_list": [{"config": {"name": "m")" + (members.empty() ? "" : ", " + members) + "}}]}";
}

TEST(ConfigFileTest, ReadsThePublishedExample) {
  const auto file = ParseConfigFile(R"({"model_config_list": [
   {"config": {
      "name": "resnet",
      "base_path": "/opt/model",
      "batch_size": "1",
      "target_device": "HETERO:GPU,CPU"}
   }]
})",
                                    "/etc");
  ASSERT_TRUE(file.ok()) << file.status();
  ModelSettings expected;
  expected.name = "resnet";
  expected.base_path = "/opt/model";
  expected.batch_size = Dimension::Fixed(1);
  expected.target_device = "HETERO:GPU,CPU";
  ASSERT_EQ(file->models.size(), 1u);
  EXPECT_EQ(file->models[0], expected);
  EXPECT_TRUE(file->faulty_models.empty());
}

TEST(ConfigFileTest, ReadsEveryKey) {
  const auto file = ParseConfigFile(R"j({"$schema": "x", "model_config_list": [{"config": {
      "name": "m", "base_path": "models/m", "shape": {"in": "(-1,3)"}, "layout": {"in": "NC"}, "nireq": 4, "allow_cache": true,
      "model_version_policy": {"specific": {"versions": [3, 1]}},
      "plugin_config": {"NUM_STREAMS": 2, "X": 0.5, "Y": true, "Z": "z", "DEVICE_PROPERTIES": {"CPU": {"A": 1}}}}}],
      "mediapipe_config_list": [], "pipeline_config_list": [], "custom_node_library_config_list": [],
      "custom_loader_config_list": [],
      "monitoring": {"metrics": {"enable": true, "metrics_list": ["ovms_streams"]}}})j",
                                    "/etc/sy");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->models.size(), 1u);
  const ModelSettings& model = file->models[0];
  EXPECT_EQ(model.base_path, "/etc/sy/models/m");
  EXPECT_EQ(model.shapes.at("in").Wire(), (Shape{-1, 3}));
  EXPECT_EQ(model.layouts.at("in").model, "NC");
  EXPECT_EQ(model.nireq, 4u);
  EXPECT_TRUE(model.allow_cache);
  EXPECT_EQ(model.version_policy.versions, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(model.plugin_config.size(), 5u);
  EXPECT_TRUE(file->server.metrics_enable);
  EXPECT_EQ(file->server.metrics_list, (std::vector<std::string>{"ovms_streams"}));
}

TEST(ConfigFileTest, ReadsTheKeysAboutDevices) {
  const auto file = ParseConfigFile(R"({"model_config_list": [
      {"config": {"name": "m", "fallback_devices": ["HETERO:GPU,CPU", " CPU "], "standby": true, "device_timeout_ms": 10,
                  "load_timeout_ms": 60000, "strict_placement": true, "isolated_compile": true}},
      {"config": {"name": "n", "fallback_devices": "NPU,CPU", "standby": false, "device_timeout_ms": 3600000}},
      {"config": {"name": "o", "fallback_devices": [], "device_timeout_ms": 0}}],
      "device_plugins": {"VCPU": "plugins/libvcpu.so", "NVIDIA": "/opt/n.so"}})",
                                    "/etc/sy");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->models.size(), 3u);
  const ModelSettings& model = file->models[0];
  EXPECT_EQ(model.fallback_devices, (std::vector<std::string>{"HETERO:GPU,CPU", "CPU"}));
  EXPECT_EQ(model.standby, true);
  EXPECT_EQ(model.device_timeout_ms, 10u);
  EXPECT_EQ(model.load_timeout_ms, 60000u);
  EXPECT_EQ(file->models[1].load_timeout_ms, 1800000u);
  EXPECT_TRUE(model.strict_placement && model.isolated_compile);
  EXPECT_EQ(file->models[1].fallback_devices, (std::vector<std::string>{"NPU", "CPU"}));
  EXPECT_EQ(file->models[1].standby, false);
  EXPECT_EQ(file->models[1].device_timeout_ms, 3600000u);
  EXPECT_FALSE(file->models[1].strict_placement || file->models[1].isolated_compile);
  EXPECT_TRUE(file->models[2].fallback_devices.empty());
  EXPECT_FALSE(file->models[2].standby.has_value());
  const std::vector<std::pair<std::string, std::string>> plugins = {{"VCPU", "/etc/sy/plugins/libvcpu.so"},
                                                                    {"NVIDIA", "/opt/n.so"}};
  EXPECT_EQ(file->server.device_plugins, plugins);
}

TEST(ConfigFileTest, TakesDefaults) {
  const auto file = ParseConfigFile("\xEF\xBB\xBF" + OneModel(""), "/etc/sy");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->models.at(0).base_path, "/etc/sy/m");
  EXPECT_EQ(file->models[0].version_policy, VersionPolicy{});
  EXPECT_FALSE(file->models[0].batch_size.has_value());
  EXPECT_TRUE(ParseConfigFile(R"({"model_config_list": []})", "/")->models.empty());
  EXPECT_TRUE(ParseConfigFile(R"({"model_config_list": [], "monitoring": {}})", "/").ok());
}

TEST(ConfigFileTest, BatchSizeInEveryForm) {
  const auto size = [](const std::string& json) {
    const auto file = ParseConfigFile(OneModel("\"batch_size\": " + json), "/");
    return file.ok() && file->models.size() == 1 ? file->models[0].batch_size : std::nullopt;
  };
  EXPECT_EQ(size("1"), Dimension::Fixed(1));
  EXPECT_EQ(size("\"1\""), Dimension::Fixed(1));
  EXPECT_EQ(size("-1"), Dimension::Dynamic());
  EXPECT_EQ(size("\"-1\""), Dimension::Dynamic());
  EXPECT_EQ(size("\"1:8\""), (Dimension{1, 8}));
  EXPECT_EQ(size("0"), std::nullopt);
  EXPECT_EQ(size("4, \"shape\": \"(1,3)\""), std::nullopt) << "a shape takes its place";
}

TEST(ConfigFileTest, TheFirstOfTwoEntriesWithOneNameCounts) {
  const auto file = ParseConfigFile(R"({"model_config_list": [{"config": {"name": "m", "base_path": "/a"}},
      {"config": {"name": "m", "base_path": "/b"}}, {"config": {"name": "n"}}]})",
                                    "/");
  ASSERT_TRUE(file.ok());
  ASSERT_EQ(file->models.size(), 2u);
  EXPECT_EQ(file->models[0].base_path, "/a");
  EXPECT_EQ(file->models[1].name, "n");
  EXPECT_TRUE(file->faulty_models.empty());
}

TEST(ConfigFileTest, AModelWhoseAliasIsTakenIsFaulty) {
  const auto file = ParseConfigFile(R"({"model_config_list": [{"config": {"name": "a", "aliases": ["b"]}},
      {"config": {"name": "b", "aliases": ["x"]}}, {"config": {"name": "c", "aliases": ["y", "x"]}}]})",
                                    "/");
  ASSERT_TRUE(file.ok());
  ASSERT_EQ(file->models.size(), 1u);
  EXPECT_EQ(file->models[0].name, "b");
  ASSERT_EQ(file->faulty_models.size(), 2u);
  EXPECT_EQ(
      file->faulty_models[0].reason,
      R"(/model_config_list/0/config/aliases/0: expected a name that no other model has, got "b", which is a model's name)");
  EXPECT_EQ(
      file->faulty_models[1].reason,
      R"(/model_config_list/2/config/aliases/1: expected a name that no other model has, got "x", an alias of model "b")");
}

TEST(ConfigFileTest, AFaultOfTheSchemaCondemnsTheFile) {
  const std::string config = "/model_config_list/0/config";
  const struct {
    std::string text;
    std::string message;
  } cases[] = {
      {OneModel(R"("nireq": "two")"), config + "/nireq: expected a non-negative integer, got the string \"two\""},
      {OneModel(R"("nireq": -1)"), config + "/nireq: expected a non-negative integer, got the number -1"},
      {OneModel(R"("nireq": 1.5)"), config + "/nireq: expected a non-negative integer, got the number 1.5"},
      {OneModel(R"("nirec": 1)"), config + "/nirec: the key \"nirec\" is not known here; did you mean \"nireq\"?"},
      {OneModel(R"("stateful": "yes")"), config + "/stateful: expected a boolean, got the string \"yes\""},
      {OneModel(R"("max_sequence_number": 0)"), config + "/max_sequence_number: expected an integer from 1 to 1000000"},
      {OneModel(R"("sequence_idle_seconds": -1)"), config + "/sequence_idle_seconds: expected an integer from 0 to 4294967295"},
      {OneModel(R"("base_path": 1)"), config + "/base_path: expected a string, got the number 1"},
      {OneModel(R"("target_device": null)"), config + "/target_device: expected a string, got null"},
      {OneModel(R"("allow_cache": "yes")"), config + "/allow_cache: expected a boolean, got the string \"yes\""},
      {OneModel(R"("batch_size": true)"), config + "/batch_size: expected an integer of at least -1, or a string"},
      {OneModel(R"("batch_size": -2)"), config + "/batch_size: expected an integer of at least -1"},
      {OneModel(R"("shape": [1, 3])"), config + "/shape: expected a string such as \"(1,3,224,224)\", or an object"},
      {OneModel(R"("shape": {"a": 1})"), config + "/shape/a: expected a string such as \"(1,3,224,224)\", got the number 1"},
      {OneModel(R"("layout": 1)"), config + "/layout: expected a string such as \"NHWC:NCHW\""},
      {OneModel(R"("plugin_config": "x")"), config + "/plugin_config: expected an object, got the string \"x\""},
      {OneModel(R"("plugin_config": {"A": {"B": 1}})"), config + "/plugin_config/A: expected a string, a boolean or a number"},
      {OneModel(R"("plugin_config": {"DEVICE_PROPERTIES": {"CPU": 1}})"),
       config + "/plugin_config/DEVICE_PROPERTIES/CPU: expected an object of properties, got the number 1"},
      {OneModel(R"("model_version_policy": "all")"), config + "/model_version_policy: expected exactly one of"},
      {OneModel(R"("model_version_policy": {})"), config + "/model_version_policy: expected exactly one of"},
      {OneModel(R"("model_version_policy": {"all": {}, "latest": {"num_versions": 1}})"),
       config + "/model_version_policy: expected exactly one of"},
      {OneModel(R"("model_version_policy": {"latest": {"num_versions": 0}})"),
       "/latest/num_versions: expected an integer from 1"},
      {OneModel(R"("model_version_policy": {"latest": {}})"), "/latest: expected the key \"num_versions\", which is required"},
      {OneModel(R"("model_version_policy": {"specific": {"versions": [1, "x"]}})"),
       "/specific/versions/1: expected an integer from 1"},
      {OneModel(R"("fallback_devices": 1)"),
       config + "/fallback_devices: expected a list of devices such as [\"NPU\", \"CPU\"]"},
      {OneModel(R"("fallback_devices": ["CPU", 1])"),
       config + "/fallback_devices/1: expected a device, such as \"CPU\", got the number 1"},
      {OneModel(R"("fallback_device": "CPU")"), "did you mean \"fallback_devices\"?"},
      {OneModel(R"("standby": "yes")"), config + "/standby: expected a boolean, got the string \"yes\""},
      {OneModel(R"("strict_placement": 1)"), config + "/strict_placement: expected a boolean"},
      {OneModel(R"("isolated_compile": null)"), config + "/isolated_compile: expected a boolean"},
      {OneModel(R"("device_timeout_ms": "1")"), config + "/device_timeout_ms: expected 0, or an integer from 10 to 3600000"},
      {OneModel(R"("device_timeout_ms": 3600001)"), "expected 0, or an integer from 10 to 3600000, got the number 3600001"},
      {R"({"model_config_list": [], "device_plugins": ["a"]})", "/device_plugins: expected an object of paths by device"},
      {R"({"model_config_list": [], "device_plugins": {"VCPU": 1}})",
       "/device_plugins/VCPU: expected the path of a library, got the number 1"},
      {R"({"model_config_list": [], "device_plugins": {"GPU": "a.so"}})",
       "/device_plugins: \"GPU\" is a device of OpenVINO itself; give the plugin another name"},
      {R"({"model_config_list": [], "device_plugins": {"vcpu": "a.so"}})",
       "/device_plugins: expected a device's name of upper-case letters, digits and _, such as NVIDIA; got \"vcpu\""},
      {R"({"model_config_list": [], "device_plugins": {"VCPU": ""}})", "/device_plugins: VCPU: expected the path"},
      {R"({"model_config_list": [], "device_plugins": {"VCPU": "a.so", "VCPU": "b.so"}})",
       "/device_plugins: VCPU has two paths, \"/a.so\" and \"/b.so\"; give it one"},
      {"[]", "the top level: expected an object, got an empty list"},
      {"{}", "the top level: expected the key \"model_config_list\", which is required"},
      {R"({"model_config_list": [], "model_config_lists": []})", "did you mean \"model_config_list\"?"},
      {R"({"model_config_list": {}})",
       "/model_config_list: expected a list of {\"config\": {...}} objects, got an empty object"},
      {R"({"model_config_list": [{"config": {"name": "a"}}, {}]})", "/model_config_list/1: expected the key \"config\""},
      {R"({"model_config_list": [{"config": {}}]})", config + ": expected the key \"name\", which is required"},
      {R"({"model_config_list": [{"config": {"name": ""}}]})",
       config + "/name: expected a string that is not empty, got the string \"\""},
      {R"({"model_config_list": [], "pipeline_config_list": [{}]})",
       "/pipeline_config_list: expected an empty list, because this version serves no pipelines, got a list of 1"},
      {R"({"model_config_list": [], "mediapipe_config_list": [{"name": "g"}]})",
       "/mediapipe_config_list: expected an empty list"},
      {R"({"model_config_list": [], "custom_loader_config_list": {}})", "/custom_loader_config_list: expected an empty list"},
      {R"({"model_config_list": [], "custom_node_library_config_list": [1]})",
       "/custom_node_library_config_list: expected an empty"},
      {R"({"model_config_list": [], "monitoring": {"metrics": {}}})", "/monitoring/metrics: expected the key \"enable\""},
      {R"({"model_config_list": [], "monitoring": {"metrics": {"enable": 1}}})",
       "/monitoring/metrics/enable: expected a boolean"},
      {R"({"model_config_list": [], "monitoring": {"metrics": {"enable": true, "metrics_list": "x"}}})",
       "/monitoring/metrics/metrics_list: expected a list of strings, got the string \"x\""},
  };
  for (const auto& c : cases) {
    const auto file = ParseConfigFile(c.text, "/");
    ASSERT_FALSE(file.ok()) << c.text;
    EXPECT_THAT(std::string(Message(file.status())), HasSubstr(c.message)) << c.text;
  }
}

TEST(ConfigFileTest, AFaultOfOneModelCondemnsThatModel) {
  const struct {
    const char* members;
    const char* message;
  } cases[] = {
      {R"("shape": "1,3")", "/shape: expected a shape in parentheses"},
      {R"j("shape": {"a": "(x)"})j", "/shape: \"a\": expected dimensions"},
      {R"("batch_size": "many")", "/batch_size: expected a number, -1, a range such as 1:8, or auto; got \"many\""},
      {R"("layout": "NXYZ")", "/layout: expected a layout"},
      {R"("nireq": 100001)", "/nireq: expected an integer from 0 to 100000, got the number 100001"},
      {R"("plugin_config": {"INFERENCE_NUM_THREADS": "x"})", "/plugin_config: INFERENCE_NUM_THREADS: expected a whole number"},
      {R"("fallback_devices": "NPU,,CPU")", "/fallback_devices: entry 2 is empty; remove the extra comma"},
      {R"("fallback_devices": ["NPU", ""])", "/fallback_devices: entry 2 is empty; name a device"},
      {R"("device_timeout_ms": 9)", "/device_timeout_ms: expected milliseconds from 10 to 3600000, or 0"},
      {R"("plugin_config": {"DEVICE_PROPERTIES": "{CPU:{NUM_STREAMS}}"})",
       "/plugin_config: DEVICE_PROPERTIES: expected a colon at \"}}\""},
      {R"("mean": "one")", "/mean: expected a finite number"},
      {R"("color_format": "RGB")", "/color_format: expected two of RGB"},
      {R"("graph_path": "g.pbtxt")", "/graph_path is a key"},
      {R"("custom_loader_options": {"loader_name": "x"})", "/custom_loader_options is a key"},
      {R"("base_path": "s3://")", "/base_path: expected s3://BUCKET/FOLDER or s3://HOST:PORT/BUCKET/FOLDER"},
      {R"("base_path": "gs://a b/m")", "/base_path: expected gs://BUCKET/FOLDER, got"},
      {R"("base_path": "a\u0000b")", "/base_path: expected a folder"},
  };
  for (const auto& c : cases) {
    const auto file = ParseConfigFile(
        R"({"model_config_list": [{"config": {"name": "good"}}, {"config": {"name": "m", )" + std::string(c.members) + "}}]}",
        "/");
    ASSERT_TRUE(file.ok()) << c.members << file.status();
    EXPECT_EQ(file->models.size(), 1u) << c.members;
    ASSERT_EQ(file->faulty_models.size(), 1u) << c.members;
    EXPECT_EQ(file->faulty_models[0].name, "m");
    EXPECT_THAT(file->faulty_models[0].reason, AllOf(HasSubstr("/model_config_list/1/config/"), HasSubstr(c.message)))
        << c.members;
  }
}

TEST(ConfigFileTest, InvalidJsonIsPlaced) {
  const struct {
    std::string text;
    const char* message;
  } cases[] = {
      {"", "line 1, column 1"},
      {"{\n  \"model_config_list\": [\n  }", "line 3, column 3"},
      {R"({"model_config_list": []} x)", "line 1, column 27"},
      {std::string("{}\0{}", 5), "line 1, column 3 (byte 2): a NUL byte"},
      {"{\"\xff\": 1}", "line 1, column"},
      {std::string(100000, '['), "nested deeper than 100 levels"},
      {R"({"model_config_list": )" + std::string(100000, '{'), "nested deeper than 100 levels"},
  };
  for (const auto& c : cases) {
    const auto file = ParseConfigFile(c.text, "/");
    ASSERT_FALSE(file.ok()) << c.text.substr(0, 80);
    EXPECT_THAT(std::string(Message(file.status())), AllOf(HasSubstr("invalid JSON at"), HasSubstr(c.message)));
  }
}

TEST(ConfigFileTest, HugeTextIsRefused) {
  const std::string text(kMaxConfigFileBytes + 1, ' ');
  EXPECT_THAT(std::string(Message(ParseConfigFile(text, "/").status())), HasSubstr("at most 67108864 bytes"));
}

TEST(ConfigFileTest, LoadsAFile) {
  std::string folder = (std::filesystem::temp_directory_path() / "config_test_XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/config.json";
  std::ofstream(path) << OneModel("");
  EXPECT_EQ(LoadConfigFile(path)->models.at(0).base_path, folder + "/m");
  std::ofstream(path) << "{";
  EXPECT_THAT(std::string(Message(LoadConfigFile(path).status())), AllOf(HasSubstr(path), HasSubstr("line 1, column 2")));
  EXPECT_THAT(std::string(Message(LoadConfigFile(folder).status())), HasSubstr("got a folder"));
  EXPECT_EQ(Message(LoadConfigFile("").status()), "The path of the config file is empty; name the file");
  EXPECT_THAT(std::string(Message(LoadConfigFile(folder + "/none.json").status())), HasSubstr("No such file"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace switchyard
