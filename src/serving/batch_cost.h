// What an inference takes, by its number of rows, learnt from those that ran.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/timer.h"

namespace switchyard {

// Not thread-safe. Nothing is known at first, and of a size that never ran what its neighbours tell.
class BatchCost {
 public:
  explicit BatchCost(size_t max_rows) : cells_(max_rows + 1) {}

  // An inference of so many rows took so long. The first samples count most: what a device does at the first sight of a size is
  // soon outweighed.
  void Record(size_t rows, Duration took, TimePoint now);
  // What it rarely exceeds: the mean and twice the mean deviation, and more while there are few samples. None: no size is known
  // yet.
  std::optional<Duration> Rarely(size_t rows) const;
  // What it takes at least, as far as one can say: no more than what any larger size took. Zero when nothing is known.
  Duration AtLeast(size_t rows) const;
  // A call was given up because of AtLeast. When nothing was recorded for a while all figures become a tenth less, so that
  // those of a bad moment are tried again, since nothing else would ever correct them.
  void Doubt(TimePoint now);

  // The mean of each size that ran, by rows.
  std::vector<std::pair<size_t, Duration>> Means() const;

 private:
  struct Cell {
    double mean = 0;  // nanoseconds
    double deviation = 0;
    uint32_t count = 0;  // stops at kSettled
  };
  static constexpr uint32_t kSettled = 8;
  static constexpr Duration kDoubtAfter = std::chrono::milliseconds(100);

  // The largest known size up to `rows`, and the smallest from there on; 0: none.
  size_t KnownBelow(size_t rows) const;
  size_t KnownAbove(size_t rows) const;

  std::vector<Cell> cells_;  // by rows
  TimePoint changed_{};      // the last sample or doubt
  Duration longest_{0};      // of recent samples
};

}  // namespace switchyard
