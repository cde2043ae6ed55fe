// How far a pull is, on stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace switchyard {

// A bar that is drawn over on a terminal, else a line now and then; with `json` each of them an object.
class PullProgress {
 public:
  explicit PullProgress(bool json);
  void Say(const std::string& text);
  // Of one file; `total` 0: not told.
  void At(const std::string& file, uint64_t done, uint64_t total);

 private:
  const bool json_;
  const bool terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point told_{};
};

}  // namespace switchyard
