#include "serving/batch_cost.h"

#include <algorithm>
#include <cmath>

namespace switchyard {
namespace {

Duration Nanoseconds(double count) { return std::chrono::nanoseconds(static_cast<int64_t>(std::max(0.0, count))); }

}  // namespace

void BatchCost::Record(size_t rows, Duration took) {
  if (rows == 0 || rows >= cells_.size()) return;
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
  // A part of a batch costs its share at least, and a batch no less than a smaller one.
  if (const size_t below = KnownBelow(rows); below != 0) return Nanoseconds(cells_[below].mean);
  const size_t above = KnownAbove(rows);
  return above == 0 ? Duration::zero()
                    : Nanoseconds(cells_[above].mean * static_cast<double>(rows) / static_cast<double>(above));
}

void BatchCost::Doubt(size_t rows) {
  const size_t below = KnownBelow(rows);
  const size_t known = below != 0 ? below : KnownAbove(rows);
  if (known == 0) return;
  cells_[known].mean *= 0.98;
  cells_[known].deviation *= 0.98;
}

std::vector<std::pair<size_t, Duration>> BatchCost::Means() const {
  std::vector<std::pair<size_t, Duration>> means;
  for (size_t rows = 1; rows < cells_.size(); ++rows) {
    if (cells_[rows].count > 0) means.emplace_back(rows, Nanoseconds(cells_[rows].mean));
  }
  return means;
}

}  // namespace switchyard
