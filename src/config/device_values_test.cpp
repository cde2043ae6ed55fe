#include "config/device_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/config_file.h"

namespace switchyard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(DeviceValuesTest, FallbackDevices) {
  EXPECT_THAT(*ParseFallbackDevices(""), IsEmpty());
  EXPECT_THAT(*ParseFallbackDevices("CPU"), ElementsAre("CPU"));
  EXPECT_THAT(*ParseFallbackDevices(" NPU , GPU.1,CPU "), ElementsAre("NPU", "GPU.1", "CPU"));
  EXPECT_THAT(*ParseFallbackDevices("BATCH:GPU(4)"), ElementsAre("BATCH:GPU(4)"));
  EXPECT_THAT(*ParseFallbackDevices("HETERO:GPU,CPU;CPU"), ElementsAre("HETERO:GPU,CPU", "CPU"));
  EXPECT_THAT(*ParseFallbackDevices("HETERO:GPU,CPU;"), ElementsAre("HETERO:GPU,CPU"));
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"HETERO:GPU,CPU", "separate entries by semicolons, as in \"HETERO:GPU,CPU;CPU\", or end a single one with a semicolon"},
      {"BATCH:GPU(4),CPU", "separate entries by semicolons"},
      {"NPU,,CPU", "entry 2 is empty; remove the extra comma"},
      {"NPU,", "entry 2 is empty"},
      {",", "entry 1 is empty"},
      {";", "entry 1 is empty; remove the extra semicolon"},
      {"NPU;;CPU", "entry 2 is empty; remove the extra semicolon"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(std::string(Message(ParseFallbackDevices(c.text).status())), HasSubstr(c.message)) << c.text;
  }
}

TEST(DeviceValuesTest, DeviceTimeout) {
  EXPECT_EQ(*ParseDeviceTimeout("0"), 0u);
  EXPECT_EQ(*ParseDeviceTimeout("10"), 10u);
  EXPECT_EQ(*ParseDeviceTimeout("3600000"), 3600000u);
  for (const char* text : {"", "1", "9", "3600001", "-1", "1.5", "10ms", "4294967306", "99999999999999999999"}) {
    EXPECT_THAT(std::string(Message(ParseDeviceTimeout(text).status())), HasSubstr("expected milliseconds from 10 to 3600000"))
        << text;
  }
}

TEST(DeviceValuesTest, NamesOfDevicePlugins) {
  DevicePlugins plugins;
  for (const char* name : {"NVIDIA", "V2", "MY_CPU", "CPU2"}) {
    EXPECT_TRUE(AddDevicePlugin(name, "/p.so", "", &plugins).ok()) << name;
  }
  for (const char* name :
       {"", "nvidia", "V.1", "V 1", "1V", "_V", "V:", "V,W", "\xff", "CPU", "GPU", "NPU", "AUTO", "MULTI", "HETERO", "BATCH"}) {
    EXPECT_FALSE(AddDevicePlugin(name, "/p.so", "", &plugins).ok()) << name;
  }
  EXPECT_EQ(plugins.size(), 4u);
  EXPECT_THAT(std::string(Message(AddDevicePlugin("V", std::string_view("a\0b", 3), "", &plugins))),
              HasSubstr("V: expected the path of the plugin's library, got \"a\\x00b\""));
}

TEST(DeviceValuesTest, APathMayHaveEqualSigns) {
  DevicePlugins plugins;
  ASSERT_TRUE(AddDevicePlugin(" V = /a=b.so ", &plugins).ok());
  EXPECT_EQ(plugins[0].second, "/a=b.so");
}

PropertyMap Nested(const std::string& json) {
  const auto properties = ParsePluginConfig("{\"DEVICE_PROPERTIES\": " + json + "}");
  EXPECT_TRUE(properties.ok()) << properties.status();
  if (!properties.ok()) return {};
  const auto* devices = std::get_if<PropertyMap>(&properties->at("DEVICE_PROPERTIES").value);
  return devices == nullptr ? PropertyMap{} : *devices;
}

TEST(DeviceValuesTest, DevicePropertiesAsOpenVinosText) {
  const PropertyMap expected = {
      {"CPU", {PropertyMap{{"NUM_STREAMS", {std::string("2")}}, {"INFERENCE_NUM_THREADS", {int64_t{3}}}}}},
      {"GPU.1", {PropertyMap{{"PERFORMANCE_HINT", {std::string("LATENCY")}}}}},
      {"NPU", {PropertyMap{}}}};
  EXPECT_EQ(Nested(R"("{CPU:{NUM_STREAMS:2,INFERENCE_NUM_THREADS:3},GPU.1:{PERFORMANCE_HINT:LATENCY},NPU:{}}")"), expected);
  EXPECT_EQ(
      Nested(R"(" { CPU : { NUM_STREAMS : 2 , INFERENCE_NUM_THREADS:3 } , GPU.1:{ PERFORMANCE_HINT: LATENCY }, NPU: { } } ")"),
      expected);
  const std::string json = R"("{\"CPU\": {\"NUM_STREAMS\": \"2\", \"INFERENCE_NUM_THREADS\": \"3\"}, \"NPU\": {},)"
                           R"( \"GPU.1\": {\"PERFORMANCE_HINT\": \"LATENCY\"}}")";
  EXPECT_EQ(Nested(json), expected) << "JSON in a string";
  EXPECT_EQ(Nested(R"("{CPU:{CACHE_DIR:c:/x y}}")"),
            (PropertyMap{{"CPU", {PropertyMap{{"CACHE_DIR", {std::string("c:/x y")}}}}}}));
  EXPECT_EQ(Nested(R"("{}")"), PropertyMap{});
}

TEST(DeviceValuesTest, FaultsOfOpenVinosTextArePlaced) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"", "DEVICE_PROPERTIES: expected an opening brace at the end in \"\"; write an object, or text such as"},
      {"CPU", "expected an opening brace at \"CPU\""},
      {"{", "expected a device at the end"},
      {"{CPU}", "expected a colon at \"}\""},
      {"{CPU:2}", "expected an opening brace at \"2}\""},
      {"{CPU:{", "expected a property at the end"},
      {"{CPU:{A:1}", "expected a comma or a closing brace at the end"},
      {"{CPU:{A:1", "expected a comma or a closing brace at the end"},
      {"{CPU:{A:}}", "expected a value at \"}}\""},
      {"{CPU:{:1}}", "expected a property at \":1}}\""},
      {"{CPU:{A:1,}}", "expected a property at \"}}\""},
      {"{CPU:{A:{B:1}}}", "expected a value at \"{B:1}}}\""},
      {"{CPU:{A:1}}x", "expected nothing behind the last brace at \"x\""},
      {"{CPU:{A:1},CPU:{}}", "\"CPU\" stands twice in"},
      {"{CPU:{A:1,A:2}}", "\"A\" stands twice in"},
      {"{CPU:{INFERENCE_NUM_THREADS:x}}", "DEVICE_PROPERTIES/CPU: INFERENCE_NUM_THREADS: expected a whole number"},
      {"{\\\"CPU\\\": 1}", "DEVICE_PROPERTIES/CPU: expected an object of properties, got the number 1"},
      {"{\\\"CPU", "DEVICE_PROPERTIES: invalid JSON at line 1"},
      {"[\\\"CPU\\\"]", "DEVICE_PROPERTIES: expected an object, got a list of 1"},
  };
  for (const auto& c : cases) {
    const auto properties = ParsePluginConfig("{\"DEVICE_PROPERTIES\": \"" + std::string(c.text) + "\"}");
    ASSERT_FALSE(properties.ok()) << c.text;
    EXPECT_THAT(std::string(Message(properties.status())), HasSubstr(c.message)) << c.text;
  }
}

}  // namespace
}  // namespace switchyard
