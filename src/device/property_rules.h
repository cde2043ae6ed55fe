// What is known of plugin_config's properties without asking a device: the values of the common ones, the keys that can only
// be read, and how NUM_STREAMS and PERFORMANCE_HINT go together. Pure functions. Plugins judge too late and too little: some
// values abort or hang a process, and virtual devices take unknown keys in silence.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.h"

namespace switchyard {

enum class Verdict {
  kGood,
  kBad,
  kNotInTable,  // only the device can tell
};

struct PropertyVerdict {
  Verdict verdict = Verdict::kNotInTable;
  std::string message;  // kBad: "NUM_STREAMS: expected ..., got ..."
};

// `plugin_config` with today's names for those of old releases (CPU_THROUGHPUT_STREAMS, ...), also under DEVICE_PROPERTIES. A
// new name that is given too goes first. `notes` gets a sentence for each.
PropertyMap WithoutOldNames(const PropertyMap& plugin_config, std::vector<std::string>* notes = nullptr);

// Judges one value of `key`. An object is bad everywhere but under DEVICE_PROPERTIES, whose entries are not looked into.
PropertyVerdict JudgeProperty(const std::string& key, const PropertyValue& value);

// Why `key` cannot be set, as a sentence without the key ("can only be read"); empty when nothing is known against it.
std::string WhyNotSettable(std::string_view key);

// Taken whatever the device: they are OpenVINO's own (CACHE_DIR, ENABLE_MMAP, ...), and no device lists them all.
bool IsCoreProperty(std::string_view key);

// The value as text that every plugin reads: switches as YES or NO, whatever way they were written; "" for an object.
std::string CanonicalText(const std::string& key, const PropertyValue& value);

// The key of `known` that is most like `key`, letters in any case; empty when none is like it. `most` bounds the number of
// letters that differ; unset: half of the key's.
std::string NearestKey(std::string_view key, const std::set<std::string>& known, std::optional<size_t> most = std::nullopt);

// The warning, when NUM_STREAMS and PERFORMANCE_HINT come together at the top level or for one device, there or with what the
// top level says for all; it names both.
std::optional<std::string> StreamsAndHint(const PropertyMap& plugin_config);

// What is compiled for one device: NUM_STREAMS wins over PERFORMANCE_HINT, CUMULATIVE_THROUGHPUT is THROUGHPUT, and LATENCY is
// the default when neither is there. `properties` are flat.
void SettleHint(PropertyMap& properties);

// The properties under DEVICE_PROPERTIES that are meant for the canonical name `device`: of "GPU" for every GPU, of "GPU.1" for
// that one, which goes first.
PropertyMap OwnProperties(const PropertyMap& plugin_config, const std::string& device);

}  // namespace switchyard
