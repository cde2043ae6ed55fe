#include "tools/latency.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace switchyard {

double Percentile(const std::vector<double>& sorted, double percent) {
  if (sorted.empty()) return 0;
  const double rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()));
  const size_t index = rank < 1 ? 0 : static_cast<size_t>(rank) - 1;
  return sorted[std::min(index, sorted.size() - 1)];
}

LatencySummary Summarize(std::vector<double> milliseconds, size_t errors, std::chrono::duration<double> wall) {
  LatencySummary summary;
  summary.calls = milliseconds.size();
  summary.errors = errors;
  if (milliseconds.empty()) return summary;
  std::sort(milliseconds.begin(), milliseconds.end());
  if (wall.count() > 0) summary.per_second = static_cast<double>(summary.calls) / wall.count();
  summary.min = milliseconds.front();
  summary.max = milliseconds.back();
  summary.mean = std::accumulate(milliseconds.begin(), milliseconds.end(), 0.0) / static_cast<double>(summary.calls);
  summary.p50 = Percentile(milliseconds, 50);
  summary.p90 = Percentile(milliseconds, 90);
  summary.p99 = Percentile(milliseconds, 99);
  return summary;
}

std::string ToText(const LatencySummary& s) {
  return fmt::format(
      "{} calls, {} errors, {:.1f} per second\n"
      "latency in ms: min {:.3f}, mean {:.3f}, p50 {:.3f}, p90 {:.3f}, p99 {:.3f}, max {:.3f}\n",
      s.calls + s.errors, s.errors, s.per_second, s.min, s.mean, s.p50, s.p90, s.p99, s.max);
}

std::string ToJson(const LatencySummary& s) {
  return fmt::format(
      "{{\"calls\":{},\"errors\":{},\"per_second\":{:.3f},\"min\":{:.4f},\"mean\":{:.4f},\"p50\":{:.4f},\"p90\":{:.4f},"
      "\"p99\":{:.4f},\"max\":{:.4f}}}",
      s.calls + s.errors, s.errors, s.per_second, s.min, s.mean, s.p50, s.p90, s.p99, s.max);
}

}  // namespace switchyard
