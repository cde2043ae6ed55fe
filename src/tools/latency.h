// What a series of calls took.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace switchyard {

// The value below or at which `percent` of the values lie (nearest rank); `sorted` ascending. 0 for no values.
double Percentile(const std::vector<double>& sorted, double percent);

struct LatencySummary {
  size_t calls = 0;  // successful ones
  size_t errors = 0;
  double per_second = 0;                                         // successful calls by wall-clock time
  double min = 0, mean = 0, p50 = 0, p90 = 0, p99 = 0, max = 0;  // milliseconds
};

// `milliseconds`: one value for each successful call, in any order.
LatencySummary Summarize(std::vector<double> milliseconds, size_t errors, std::chrono::duration<double> wall);

// Two lines for people.
std::string ToText(const LatencySummary& summary);
// A JSON object.
std::string ToJson(const LatencySummary& summary);

}  // namespace switchyard
