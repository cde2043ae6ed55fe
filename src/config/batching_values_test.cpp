#include "config/batching_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/config_file.h"

namespace switchyard {
namespace {

using ::testing::HasSubstr;

TEST(BatchingValuesTest, Values) {
  const auto all = ParseDynamicBatching(
      R"({"max_batch_size": 16, "max_delay_us": 2000, "priority_levels": 8, "default_priority_level": 3})");
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(*all, (DynamicBatching{.max_batch_size = 16, .max_delay_us = 2000, .priority = {.levels = 8, .standard = 3}}));
  const auto least = ParseDynamicBatching(R"({"max_batch_size": 4})");
  ASSERT_TRUE(least.ok()) << least.status();
  EXPECT_EQ(*least, (DynamicBatching{.max_batch_size = 4, .max_delay_us = 0, .priority = {.levels = 3, .standard = 2}}));
  EXPECT_EQ(ParseDynamicBatching(R"({"max_batch_size": 4, "priority_levels": 1})")->priority.standard, 1u);
  EXPECT_EQ(ParseDynamicBatching(R"({"max_batch_size": 4, "priority_levels": 10})")->priority.standard, 5u);
}

TEST(BatchingValuesTest, Faults) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"", "expected an object such as {\"max_batch_size\": 16, \"max_delay_us\": 2000}"},
      {"16", "expected an object such as"},
      {"{}", "max_batch_size is missing"},
      {R"({"max_batch_size": 0})", "max_batch_size: expected an integer from 1 to 4096, got the number 0"},
      {R"({"max_batch_size": "16"})", "max_batch_size: expected an integer from 1 to 4096, got the string \"16\""},
      {R"({"max_batch_size": 4097})", "max_batch_size: expected an integer from 1 to 4096"},
      {R"({"max_batch_size": 4, "max_delay_us": -1})", "max_delay_us: expected an integer from 0 to 10000000"},
      {R"({"max_batch_size": 4, "max_delay_us": 1.5})", "max_delay_us: expected an integer from 0 to 10000000"},
      {R"({"max_batch_size": 4, "priority_levels": 0})", "priority_levels: expected an integer from 1 to 1000"},
      {R"({"max_batch_size": 4, "default_priority_level": 4})", "default_priority_level: expected an integer from 1 to 3"},
      {R"({"max_batch_size": 4, "delay": 1})", "\"delay\" is no key of it; expected max_batch_size, max_delay_us"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(std::string(Message(ParseDynamicBatching(c.text).status())), HasSubstr(c.message)) << c.text;
  }
}

std::string ConfigFault(const std::string& keys) {
  const auto file =
      ParseConfigFile(R"({"model_config_list": [{"config": {"name": "m", "base_path": "/m", )" + keys + "}}]}", "/");
  if (!file.ok()) return std::string(Message(file.status()));
  return file->faulty_models.empty() ? "" : file->faulty_models.front().reason;
}

TEST(BatchingValuesTest, InAConfigFile) {
  EXPECT_EQ(ConfigFault(R"("dynamic_batching": {"max_batch_size": 8, "max_delay_us": 100})"), "");
  EXPECT_EQ(ConfigFault(R"("dynamic_batching": {"max_batch_size": 8}, "batch_size": 8)"), "");
  const struct {
    const char* keys;
    const char* message;
  } cases[] = {
      {R"("dynamic_batching": 8)", "/model_config_list/0/config/dynamic_batching: expected an object such as"},
      {R"("dynamic_batching": {})", "expected the key \"max_batch_size\""},
      {R"("dynamic_batching": {"max_batch_size": 8, "max_dely_us": 1})", "did you mean \"max_delay_us\""},
      {R"("dynamic_batching": {"max_batch_size": 5000})", "expected an integer from 1 to 4096"},
      {R"("dynamic_batching": {"max_batch_size": 8, "default_priority_level": 9})",
       "dynamic_batching: default_priority_level: expected an integer from 1 to 3, got the number 9"},
      {R"("dynamic_batching": {"max_batch_size": 8}, "shape": "auto")", "dynamic_batching: cannot stand beside shape \"auto\""},
      {R"("dynamic_batching": {"max_batch_size": 8}, "batch_size": "auto")",
       "dynamic_batching: cannot stand beside batch_size \"auto\""},
      {R"x("dynamic_batching": {"max_batch_size": 8}, "target_device": "batch:CPU(4)")x",
       "dynamic_batching: cannot stand beside target_device \"batch:CPU(4)\", which joins calls itself"},
      {R"x("dynamic_batching": {"max_batch_size": 8}, "fallback_devices": ["BATCH:GPU(4)"])x",
       "cannot stand beside the fallback device \"BATCH:GPU(4)\""},
  };
  for (const auto& c : cases) EXPECT_THAT(ConfigFault(c.keys), HasSubstr(c.message)) << c.keys;
}

}  // namespace
}  // namespace switchyard
