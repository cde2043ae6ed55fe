// How long to wait before what failed is tried again.
#pragma once

#include <algorithm>

namespace switchyard {

// `first` after the first failure, twice as long after each that follows at once, up to `longest`. Pure.
template <typename Duration>
Duration Backoff(int failures, Duration first, Duration longest) {
  Duration wait = first;
  for (int i = 1; i < failures && wait < longest; ++i) wait *= 2;
  return std::min(wait, longest);
}

}  // namespace switchyard
