#include "serving/batch_cost.h"

#include <algorithm>
#include <cmath>

namespace switchyard {
namespace {

Duration Nanoseconds(double count) { return std::chrono::nanoseconds(static_cast<int64_t>(std::max(0.0, count))); }

}  // namespace

void BatchCost::Record(size_t rows, Duration took, TimePoint now) {
  if (rows == 0 || rows >= cells_.size()) return;
  changed_ = now;
  longest_ = std::max(took, longest_ - longest_ / 8);
  Cell& cell = cells_[rows];
  const auto sample = static_cast<double>(std::max<int64_t>(1, std::chrono::nanoseconds(took).count()));
  if (cell.count == 0) {
    cell = {.mean = sample, .deviation = 0, .count = 1};
    return;
  }
  const double error = sample - cell.mean;
  // The first one is often dearer than all that follow: it is dropped as soon as there is a second.
  const double weight = cell.count == 1 && error < 0 ? 1.0 : std::max(1.0 / (cell.count + 1), 1.0 / kSettled);
  cell.mean += error * weight;
  cell.deviation = weight == 1.0 ? 0 : cell.deviation + (std::abs(error) - cell.deviation) * weight;
  cell.count = std::min(cell.count + 1, kSettled);
}

size_t BatchCost::KnownBelow(size_t rows) const {
  for (size_t i = std::min(rows, cells_.size() - 1); i > 0; --i) {
    if (cells_[i].count > 0) return i;
  }
  return 0;
}

size_t BatchCost::KnownAbove(size_t rows) const {
  for (size_t i = std::max<size_t>(rows, 1); i < cells_.size(); ++i) {
    if (cells_[i].count > 0) return i;
  }
  return 0;
}

std::optional<Duration> BatchCost::Rarely(size_t rows) const {
  const auto rarely = [&](size_t known) {
    const Cell& cell = cells_[known];
    return cell.mean + 2 * cell.deviation + (cell.count < kSettled ? cell.mean / cell.count : 0);
  };
  const size_t below = KnownBelow(rows);
  const size_t above = KnownAbove(rows);
  if (below == 0 && above == 0) return std::nullopt;
  if (above == 0) return Nanoseconds(rarely(below) * static_cast<double>(rows) / static_cast<double>(below));
  if (below == 0 || below == above) return Nanoseconds(rarely(above));
  const double part = static_cast<double>(rows - below) / static_cast<double>(above - below);
  return Nanoseconds(rarely(below) + (rarely(above) - rarely(below)) * part);
}

Duration BatchCost::AtLeast(size_t rows) const {
  const size_t below = KnownBelow(rows);
  const size_t above = KnownAbove(rows);
  if (below == 0 && above == 0) return Duration::zero();
  // A part of a batch costs its share at least, and a batch no less than a smaller one.
  double least = below != 0 ? cells_[below].mean : cells_[above].mean * static_cast<double>(rows) / static_cast<double>(above);
  for (size_t i = rows; i < cells_.size(); ++i) {
    if (cells_[i].count > 0) least = std::min(least, cells_[i].mean);
  }
  return Nanoseconds(least);
}

void BatchCost::Doubt(TimePoint now) {
  // While inferences run their figures are true, also when many calls are given up.
  if (now - changed_ < std::max(kDoubtAfter, std::min(2 * longest_, 10 * kDoubtAfter))) return;
  changed_ = now;
  for (Cell& cell : cells_) {
    cell.mean *= 0.9;
    cell.deviation *= 0.9;
  }
}

std::vector<std::pair<size_t, Duration>> BatchCost::Means() const {
  std::vector<std::pair<size_t, Duration>> means;
  for (size_t rows = 1; rows < cells_.size(); ++rows) {
    if (cells_[rows].count > 0) means.emplace_back(rows, Nanoseconds(cells_[rows].mean));
  }
  return means;
}

}  // namespace switchyard
