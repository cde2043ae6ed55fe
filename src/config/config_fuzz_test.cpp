// Mutated config files, the same ones in every run: whatever comes, the answer is settings or a message.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "base/log.h"
#include "config/config_file.h"

namespace switchyard {
namespace {

constexpr const char* kSeeds[] = {
    R"({"model_config_list": [{"config": {"name": "resnet", "base_path": "/opt/model", "batch_size": "1",
        "target_device": "HETERO:GPU,CPU"}}]})",
    R"j({"model_config_list": [{"config": {"name": "m", "shape": {"in": "(-1,3,1:8)"}, "layout": "NHWC:NCHW", "nireq": 4,
        "model_version_policy": {"specific": {"versions": [3, 1]}}, "allow_cache": true, "standby": true,
        "fallback_devices": ["NPU", "CPU"], "device_timeout_ms": 500,
        "plugin_config": {"NUM_STREAMS": 2, "CPU_THROUGHPUT_STREAMS": "4", "DEVICE_PROPERTIES": {"CPU": {"A": 1}}}}}],
        "device_plugins": {"VCPU": "a.so"}, "pipeline_config_list": [],
        "monitoring": {"metrics": {"enable": true, "metrics_list": ["ovms_streams"]}}})j",
};

constexpr const char* kPieces[] = {"{",
                                   "}",
                                   "[",
                                   "]",
                                   ":",
                                   ",",
                                   "\"",
                                   "\\",
                                   "null",
                                   "-1",
                                   "1e999",
                                   "-9223372036854775808",
                                   "18446744073709551616",
                                   "{}",
                                   "[]",
                                   "\"\\u0000\"",
                                   "\"\\ud800\"",
                                   "true",
                                   "0.5",
                                   "\"(\"",
                                   "\n",
                                   "\xff",
                                   "\xc3",
                                   "{\"\": {\"\": []}}",
                                   "\"config\":",
                                   "\"all\": {},"};

std::string Mutate(std::string text, std::mt19937* random) {
  const auto below = [&](size_t limit) { return static_cast<size_t>((*random)() % limit); };
  const size_t changes = 1 + below(6);
  for (size_t i = 0; i < changes && !text.empty(); ++i) {
    const size_t at = below(text.size());
    switch (below(6)) {
      case 0: text[at] = static_cast<char>(below(256)); break;
      case 1: text.erase(at, 1 + below(8)); break;
      case 2: text.insert(at, kPieces[below(std::size(kPieces))]); break;
      case 3: text.insert(at, text.substr(below(text.size()), below(40))); break;
      case 4: text.replace(at, below(12), kPieces[below(std::size(kPieces))]); break;
      case 5: text.resize(at); break;
    }
  }
  return text;
}

// Swaps one whole value, so that the text stays JSON and reaches the schema and what lies behind it.
std::string MutateValue(const std::string& text, std::mt19937* random) {
  const size_t start = text.find(": ", (*random)() % text.size());
  if (start == std::string::npos) return text;
  const size_t end = text.find_first_of(",}", start);
  return text.substr(0, start + 2) + kPieces[(*random)() % std::size(kPieces)] + text.substr(end);
}

TEST(ConfigFuzzTest, MutatedFilesGiveSettingsOrAMessage) {
  ASSERT_TRUE(ConfigureLog(LogLevel::kError, "").ok());
  std::mt19937 random(20240601);
  size_t accepted = 0;
  size_t refused = 0;
  for (int i = 0; i < 3000; ++i) {
    const std::string seed = kSeeds[i % 2];
    const std::string text = i % 3 == 0 ? MutateValue(seed, &random) : Mutate(seed, &random);
    const auto file = ParseConfigFile(text, "/base");
    if (file.ok()) {
      ++accepted;
      for (const FaultyModel& model : file->faulty_models) EXPECT_FALSE(model.reason.empty()) << text;
    } else {
      ++refused;
      EXPECT_FALSE(Message(file.status()).empty()) << text;
    }
  }
  // Both sides are reached, or the mutations have become too weak or too strong to say anything.
  EXPECT_GT(accepted, 100u);
  EXPECT_GT(refused, 1000u);
  ASSERT_TRUE(ConfigureLog(LogLevel::kInfo, "").ok());
}

TEST(ConfigFuzzTest, MutatedPluginConfigsGivePropertiesOrAMessage) {
  std::mt19937 random(7);
  const std::string seeds[] = {
      R"({"NUM_STREAMS": 2, "PERFORMANCE_HINT": "LATENCY", "DEVICE_PROPERTIES": {"CPU": {"A": 1}, "GPU": {}}})",
      R"({"DEVICE_PROPERTIES": "{CPU:{NUM_STREAMS:2,A:b},GPU:{}}"})"};
  for (int i = 0; i < 2000; ++i) {
    const std::string& seed = seeds[i / 2 % 2];
    const std::string text = i % 2 == 0 ? MutateValue(seed, &random) : Mutate(seed, &random);
    const auto properties = ParsePluginConfig(text);
    EXPECT_TRUE(properties.ok() || !Message(properties.status()).empty()) << text;
  }
}

}  // namespace
}  // namespace switchyard
