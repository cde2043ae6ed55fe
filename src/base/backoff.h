// How long to wait before what a model needs, and what failed, is tried again.
#pragma once

#include <algorithm>
#include <chrono>

namespace switchyard {

inline constexpr std::chrono::seconds kFirstBackoff{1};
inline constexpr std::chrono::seconds kLongestBackoff = std::chrono::minutes(5);

// The first after the first failure, twice as long after each that follows at once, up to the longest. Pure.
inline std::chrono::seconds Backoff(int failures) {
  std::chrono::seconds wait = kFirstBackoff;
  for (int i = 1; i < failures && wait < kLongestBackoff; ++i) wait *= 2;
  return std::min(wait, kLongestBackoff);
}

}  // namespace switchyard
