#include "device/property_rules.h"

#include <absl/strings/ascii.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "device/property_text.h"
#include "device/target.h"

namespace switchyard {
namespace {

constexpr std::string_view kDeviceProperties = "DEVICE_PROPERTIES";

struct Rule {
  enum class Kind { kNumber, kFraction, kSwitch, kWord, kType, kText };
  Kind kind;
  int64_t low = 0;
  int64_t high = 0;
  std::vector<std::string_view> words = {};  // kNumber: taken as well
};

Rule Number(int64_t low, int64_t high, std::vector<std::string_view> words = {}) {
  return {Rule::Kind::kNumber, low, high, std::move(words)};
}
Rule Word(std::vector<std::string_view> words) { return {Rule::Kind::kWord, 0, 0, std::move(words)}; }

using Rules = std::map<std::string_view, Rule>;

// Seen with OpenVINO 2026.4.1. Narrower than its plugins where they take what cannot be meant.
Rules MakeRules() {
  constexpr int64_t kInt = std::numeric_limits<int32_t>::max();
  constexpr int64_t kUnsigned = std::numeric_limits<uint32_t>::max();
  constexpr int64_t kAny = std::numeric_limits<int64_t>::max();
  Rules rules = {
      {"NUM_STREAMS", Number(1, 256, {"AUTO", "NUMA", "-1", "-2"})},
      {"INFERENCE_NUM_THREADS", Number(0, 4096)},
      {"COMPILATION_NUM_THREADS", Number(1, 4096)},
      {"PERFORMANCE_HINT_NUM_REQUESTS", Number(0, kInt)},
      {"AUTO_BATCH_TIMEOUT", Number(0, kUnsigned)},
      {"DYNAMIC_QUANTIZATION_GROUP_SIZE", Number(-1, kAny, {"18446744073709551615"})},
      {"CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE", {Rule::Kind::kFraction}},
      {"PERFORMANCE_HINT", Word({"LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT"})},
      {"EXECUTION_MODE_HINT", Word({"PERFORMANCE", "ACCURACY"})},
      {"INFERENCE_PRECISION_HINT", Word({"f32", "f16", "bf16", "dynamic", "undefined", "FP32", "FP16", "BF16"})},
      {"SCHEDULING_CORE_TYPE", Word({"ANY_CORE", "PCORE_ONLY", "ECORE_ONLY"})},
      {"MODEL_PRIORITY", Word({"LOW", "MEDIUM", "HIGH", "DEFAULT"})},
      {"CACHE_MODE", Word({"OPTIMIZE_SPEED", "OPTIMIZE_SIZE"})},
      {"LOG_LEVEL", Word({"LOG_NONE", "LOG_ERROR", "LOG_WARNING", "LOG_INFO", "LOG_DEBUG", "LOG_TRACE"})},
      {"SCHEDULE_POLICY", Word({"ROUND_ROBIN", "DEVICE_PRIORITY", "DEFAULT"})},
      {"CACHE_DIR", {Rule::Kind::kText}},
      {"MULTI_DEVICE_PRIORITIES", {Rule::Kind::kText}},
  };
  for (const std::string_view key :
       {"ENABLE_CPU_PINNING", "ENABLE_CPU_RESERVATION", "ENABLE_HYPER_THREADING", "ENABLE_MMAP", "PERF_COUNT",
        "CPU_DENORMALS_OPTIMIZATION", "ENABLE_STARTUP_FALLBACK", "ENABLE_RUNTIME_FALLBACK"}) {
    rules.emplace(key, Rule{Rule::Kind::kSwitch});
  }
  for (const std::string_view key : {"KV_CACHE_PRECISION", "KEY_CACHE_PRECISION", "VALUE_CACHE_PRECISION"}) {
    rules.emplace(
        key, Rule{Rule::Kind::kType, 0, 0, {"u8", "u4", "u3", "u2", "i8", "i4", "f16", "bf16", "f32", "dynamic", "undefined"}});
  }
  return rules;
}

const Rules& TheRules() {
  static const Rules rules = MakeRules();
  return rules;
}

bool Holds(const std::vector<std::string_view>& words, std::string_view text) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

template <typename T>
std::optional<T> Parse(std::string_view text) {
  T number{};
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<bool> ParseSwitch(std::string_view text) {
  const std::string upper = absl::AsciiStrToUpper({text.data(), text.size()});
  if (Holds({"YES", "TRUE", "ON", "1"}, upper)) return true;
  if (Holds({"NO", "FALSE", "OFF", "0"}, upper)) return false;
  return std::nullopt;
}

Verdict Judge(const Rule& rule, const std::string& text) {
  bool good = false;
  switch (rule.kind) {
    case Rule::Kind::kNumber: {
      const std::optional<int64_t> number = Parse<int64_t>(text);
      good = Holds(rule.words, text) || (number.has_value() && *number >= rule.low && *number <= rule.high);
      break;
    }
    case Rule::Kind::kFraction: {
      const std::optional<double> number = Parse<double>(text);
      good = number.has_value() && *number >= 0 && *number <= 1;
      break;
    }
    case Rule::Kind::kSwitch:
      good = ParseSwitch(text).has_value();
      break;
    case Rule::Kind::kWord:
      good = Holds(rule.words, text);
      break;
    case Rule::Kind::kType:  // which of them a device takes, it knows
      return Holds(rule.words, text) ? Verdict::kNotInTable : Verdict::kBad;
    case Rule::Kind::kText:
      good = text.find('\0') == std::string::npos;
      break;
  }
  return good ? Verdict::kGood : Verdict::kBad;
}

std::string Expected(const Rule& rule) {
  switch (rule.kind) {
    case Rule::Kind::kNumber: {
      std::string text = rule.high == std::numeric_limits<int64_t>::max()
                             ? fmt::format("a whole number from {}", rule.low)
                             : fmt::format("a whole number from {} to {}", rule.low, rule.high);
      if (Holds(rule.words, "AUTO")) text += ", AUTO or NUMA";
      return text;
    }
    case Rule::Kind::kFraction:
      return "a number from 0 to 1";
    case Rule::Kind::kSwitch:
      return "true or false";
    case Rule::Kind::kWord:
    case Rule::Kind::kType:
      return fmt::format("one of {}", fmt::join(rule.words, ", "));
    case Rule::Kind::kText:
      return "a text";
  }
  return "";
}

// Hostile texts can be long.
std::string Shown(const PropertyValue& value) {
  constexpr size_t kMost = 100;
  std::string text = ToText(value);
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return std::holds_alternative<std::string>(value.value) ? fmt::format("\"{}\"", text) : text;
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substituted = diagonal + (absl::ascii_toupper(a[i]) == absl::ascii_toupper(b[j]) ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

constexpr char kStreams[] = "NUM_STREAMS", kHint[] = "PERFORMANCE_HINT";
bool HasBoth(const PropertyMap& properties) { return properties.contains(kStreams) && properties.contains(kHint); }

// An old name gives way to its new one, unless the new one is there too: then it says nothing that counts.
void Rename(PropertyMap& properties, const std::string& old_name, std::string_view place, std::vector<std::string>* notes) {
  auto old = properties.extract(old_name);
  if (old.empty()) return;
  std::string name = old_name == "CPU_THREADS_NUM" ? "INFERENCE_NUM_THREADS" : "NUM_STREAMS";
  PropertyValue value = std::move(old.mapped());
  if (name == "NUM_STREAMS" && ToText(value) == old_name.substr(0, 3) + "_THROUGHPUT_AUTO") {
    name = "PERFORMANCE_HINT";
    value = PropertyValue{std::string("THROUGHPUT")};
  }
  const bool taken = !properties.try_emplace(name, std::move(value)).second;
  if (notes == nullptr) return;
  notes->push_back(taken ? fmt::format("plugin_config: {0}{1} is an old name of {2}, which is given too; {1} is not used",
                                       place, old_name, name)
                         : fmt::format("plugin_config: {}{} is an old name; {} is set in its place", place, old_name, name));
}

}  // namespace

PropertyMap WithoutOldNames(const PropertyMap& plugin_config, std::vector<std::string>* notes) {
  const auto rename = [&](PropertyMap& properties, std::string_view place) {
    for (const char* name : {"CPU_THROUGHPUT_STREAMS", "GPU_THROUGHPUT_STREAMS", "CPU_THREADS_NUM"}) {
      Rename(properties, name, place, notes);
    }
  };
  PropertyMap result = plugin_config;
  rename(result, "");
  const auto found = result.find(std::string(kDeviceProperties));
  auto* devices = found == result.end() ? nullptr : std::get_if<PropertyMap>(&found->second.value);
  if (devices == nullptr) return result;
  for (auto& [device, value] : *devices) {
    if (auto* properties = std::get_if<PropertyMap>(&value.value)) {
      rename(*properties, fmt::format("{}/{}/", kDeviceProperties, device));
    }
  }
  return result;
}

PropertyVerdict JudgeProperty(const std::string& key, const PropertyValue& value) {
  const bool is_object = std::holds_alternative<PropertyMap>(value.value);
  if (key == kDeviceProperties) {
    if (is_object) return {Verdict::kGood, ""};
    return {Verdict::kBad, fmt::format("{}: expected an object of objects, such as {{\"CPU\": {{\"NUM_STREAMS\": 2}}}}, got {}",
                                       key, Shown(value))};
  }
  if (is_object) {
    return {Verdict::kBad, fmt::format("{}: expected a string, number or boolean, got an object; objects stand only under {}",
                                       key, kDeviceProperties)};
  }
  const auto rule = TheRules().find(key);
  if (rule == TheRules().end()) return {};
  const Verdict verdict = Judge(rule->second, ToText(value));
  if (verdict != Verdict::kBad) return {verdict, ""};
  return {verdict, fmt::format("{}: expected {}, got {}", key, Expected(rule->second), Shown(value))};
}

std::string WhyNotSettable(std::string_view key) {
  static constexpr std::array<std::string_view, 33> kReadOnly = {"ACTIVE_DEVICES",
                                                                 "AVAILABLE_DEVICES",
                                                                 "COMPATIBILITY_CHECK",
                                                                 "DEVICE_ARCHITECTURE",
                                                                 "DEVICE_GOPS",
                                                                 "DEVICE_LUID",
                                                                 "DEVICE_PCI_INFO",
                                                                 "DEVICE_THERMAL",
                                                                 "DEVICE_TYPE",
                                                                 "DEVICE_UUID",
                                                                 "EXECUTION_DEVICES",
                                                                 "FULL_DEVICE_NAME",
                                                                 "GPU_CACHELINE_SIZE",
                                                                 "GPU_DEVICE_ID",
                                                                 "GPU_DEVICE_MAX_ALLOC_MEM_SIZE",
                                                                 "GPU_DEVICE_TOTAL_MEM_SIZE",
                                                                 "GPU_EXECUTION_UNITS_COUNT",
                                                                 "GPU_MEMORY_STATISTICS",
                                                                 "GPU_UARCH_VERSION",
                                                                 "LOADED_FROM_CACHE",
                                                                 "MAX_BATCH_SIZE",
                                                                 "NETWORK_NAME",
                                                                 "NPU_COMPILER_VERSION",
                                                                 "NPU_DEVICE_ALLOC_MEM_SIZE",
                                                                 "NPU_DEVICE_TOTAL_MEM_SIZE",
                                                                 "NPU_DRIVER_VERSION",
                                                                 "OPTIMAL_BATCH_SIZE",
                                                                 "OPTIMAL_NUMBER_OF_INFER_REQUESTS",
                                                                 "OPTIMIZATION_CAPABILITIES",
                                                                 "RANGE_FOR_ASYNC_INFER_REQUESTS",
                                                                 "RANGE_FOR_STREAMS",
                                                                 "SUPPORTED_METRICS",
                                                                 "SUPPORTED_PROPERTIES"};
  if (std::find(kReadOnly.begin(), kReadOnly.end(), key) != kReadOnly.end()) return "can only be read; take it out";
  if (key == "CACHE_ENCRYPTION_CALLBACKS" || key == "MODEL_PTR") return "takes no value that can be written here; take it out";
  if (key == "DEVICE_ID") return "is not for plugin_config: name the device in target_device, such as GPU.1";
  return "";
}

bool IsCoreProperty(std::string_view key) {
  static constexpr std::array<std::string_view, 7> kCore = {
      "AUTO_BATCH_TIMEOUT", "CACHE_DIR", "CACHE_MODE", "DEVICE_PROPERTIES", "ENABLE_MMAP", "NUM_STREAMS", "PERFORMANCE_HINT"};
  return std::find(kCore.begin(), kCore.end(), key) != kCore.end();
}

std::string CanonicalText(const std::string& key, const PropertyValue& value) {
  std::string text = ToText(value);
  const auto rule = TheRules().find(key);
  if (rule == TheRules().end() || rule->second.kind != Rule::Kind::kSwitch) return text;
  const std::optional<bool> is_on = ParseSwitch(text);
  if (!is_on.has_value()) return text;
  return *is_on ? "YES" : "NO";
}

std::string NearestKey(std::string_view key, const std::set<std::string>& known, std::optional<size_t> most) {
  // Nobody misspells a key at this length, and the comparison costs its length.
  if (key.size() > 128) return "";
  std::string nearest;
  size_t best = most.value_or(key.size() / 2) + 1;
  for (const std::string& candidate : known) {
    if (const size_t distance = EditDistance(key, candidate); distance < best) best = distance, nearest = candidate;
  }
  return nearest;
}

std::optional<std::string> StreamsAndHint(const PropertyMap& plugin_config) {
  std::vector<std::string> places;
  if (HasBoth(plugin_config)) places.push_back("");
  if (const auto found = plugin_config.find(std::string(kDeviceProperties)); found != plugin_config.end()) {
    if (const auto* devices = std::get_if<PropertyMap>(&found->second.value)) {
      for (const auto& [device, value] : *devices) {
        const auto* written = std::get_if<PropertyMap>(&value.value);
        if (written == nullptr) continue;
        // "GPU.1" has what stands for every "GPU" as well.
        const bool one = device.find('.') != std::string::npos;
        const PropertyMap own = one ? OwnProperties(plugin_config, CanonicalDevice(device)) : *written;
        // CUMULATIVE_THROUGHPUT is AUTO's: all of the devices, whatever each is told.
        const bool all = PropertyText(plugin_config, kHint) == "CUMULATIVE_THROUGHPUT";
        const bool across = !all && !HasBoth(plugin_config) &&
                            ((own.contains(kStreams) && plugin_config.contains(kHint)) ||
                             (own.contains(kHint) && plugin_config.contains(kStreams)));
        if (HasBoth(own) || across) places.push_back(fmt::format(" for {}", device));
      }
    }
  }
  if (places.empty()) return std::nullopt;
  return fmt::format(
      "plugin_config has both NUM_STREAMS and PERFORMANCE_HINT{}, which should not be used together; NUM_STREAMS is used, "
      "PERFORMANCE_HINT is not",
      fmt::join(places, ","));
}

void SettleHint(PropertyMap& properties) {
  const PropertyValue latency{std::string("LATENCY")}, throughput{std::string("THROUGHPUT")};
  if (properties.contains("NUM_STREAMS")) {
    properties.erase("PERFORMANCE_HINT");
  } else if (PropertyText(properties, "PERFORMANCE_HINT") == "CUMULATIVE_THROUGHPUT") {
    properties.insert_or_assign("PERFORMANCE_HINT", throughput);
  } else {
    properties.try_emplace("PERFORMANCE_HINT", latency);
  }
}

PropertyMap OwnProperties(const PropertyMap& plugin_config, const std::string& device) {
  const auto found = plugin_config.find(std::string(kDeviceProperties));
  const auto* devices = found == plugin_config.end() ? nullptr : std::get_if<PropertyMap>(&found->second.value);
  PropertyMap result;
  if (devices == nullptr) return result;
  const std::string kind = device.substr(0, device.find('.'));
  const auto take = [&](const PropertyValue& value) {
    const auto* properties = std::get_if<PropertyMap>(&value.value);
    if (properties == nullptr) return;
    for (const auto& [key, property] : *properties) result.insert_or_assign(key, property);
  };
  if (const auto general = devices->find(kind); general != devices->end()) take(general->second);
  for (const auto& [name, value] : *devices) {
    if (name != kind && CanonicalDevice(name) == device) take(value);
  }
  return result;
}

}  // namespace switchyard
