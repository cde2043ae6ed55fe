// When config.json is to be read again: it changed and has been quiet since, or what was wrong with it may be mended.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/timer.h"

namespace switchyard {

// What tells one state of a file from another without reading it. Links are followed.
struct ConfigStamp {
  bool is_there = false;
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;
  int64_t modified_ns = 0;
  friend bool operator==(const ConfigStamp&, const ConfigStamp&) = default;

  static ConfigStamp Of(const std::string& path);
};

// Pure, but for nothing: the caller looks at the file and the clock. Not thread-safe.
class ConfigWatch {
 public:
  // A file counts as quiet when two looks, this long apart, saw the same; a refused one is tried again after kFirstRetry, and
  // then after twice the time each, up to kLastRetry.
  static constexpr Duration kQuiet = std::chrono::milliseconds(200);
  static constexpr Duration kFirstRetry = std::chrono::seconds(1);
  static constexpr Duration kLastRetry = std::chrono::minutes(5);

  explicit ConfigWatch(Duration interval) : interval_(interval) {}

  // The file was read when it had this stamp, and what it says was taken, or refused.
  void Read(const ConfigStamp& stamp, bool refused, TimePoint now);
  // What a look at `now` saw: whether the file is to be read.
  bool Look(const ConfigStamp& stamp, TimePoint now);
  // Something may have changed: look now, but for a change that was seen and has yet to be quiet for long enough.
  void Hint(TimePoint now) {
    if (!restless_) next_look_ = std::min(next_look_, now);
  }
  TimePoint next_look() const { return next_look_; }

 private:
  const Duration interval_;
  ConfigStamp read_;
  ConfigStamp seen_;
  bool restless_ = false;  // `seen_` is a change that was not read yet
  bool refused_ = false;
  Duration retry_ = kFirstRetry;
  TimePoint retry_at_{};
  TimePoint next_look_{};
};

}  // namespace switchyard
