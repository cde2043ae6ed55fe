#include "control/config_watch.h"

#include <sys/stat.h>

#include <algorithm>

namespace switchyard {

ConfigStamp ConfigStamp::Of(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return {};
  return {.is_there = true,
          .device = info.st_dev,
          .inode = info.st_ino,
          .size = static_cast<uint64_t>(info.st_size),
          .modified_ns = static_cast<int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec};
}

void ConfigWatch::Read(const ConfigStamp& stamp, bool refused, TimePoint now) {
  retry_ = refused && refused_ && stamp == read_ ? std::min<Duration>(2 * retry_, kLastRetry) : kFirstRetry;
  retry_at_ = now + retry_;
  refused_ = refused;
  read_ = stamp;
  restless_ = false;
  next_look_ = now + interval_;
}

bool ConfigWatch::Look(const ConfigStamp& stamp, TimePoint now) {
  next_look_ = now + interval_;
  if (stamp == read_) {
    restless_ = false;
    return refused_ && now >= retry_at_;
  }
  if (restless_ && stamp == seen_) return true;
  restless_ = true;
  seen_ = stamp;
  next_look_ = now + kQuiet;
  return false;
}

}  // namespace switchyard
