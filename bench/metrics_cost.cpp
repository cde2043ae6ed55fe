// What counting one call costs: its record in the cells of its version, and the reading of the clock at its end.
//   metrics_cost            prints nanoseconds for each call, by the number of threads that count in the same cells
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "telemetry/metrics_registry.h"

namespace {

using switchyard::CallRecord;
using Clock = std::chrono::steady_clock;

constexpr int kCalls = 3000000;

double NanosecondsPerCall(switchyard::ModelMetrics& metrics, int threads) {
  const auto begin = Clock::now();
  std::vector<std::thread> running;
  for (int thread = 0; thread < threads; ++thread) {
    running.emplace_back([&] {
      CallRecord record{.device = "CPU"};
      for (int call = 0; call < kCalls; ++call) {
        // Times of a small model that fall into several buckets.
        record.wait = std::chrono::nanoseconds(Clock::now().time_since_epoch().count() % 5000);
        record.infer = std::chrono::microseconds(5 + call % 30);
        record.total = *record.wait + *record.infer;
        metrics.Record(record);
      }
    });
  }
  for (std::thread& thread : running) thread.join();
  return std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / kCalls;
}

}  // namespace

int main() {
  switchyard::MetricsRegistry registry;
  const auto metrics = registry.ForModel("model", 1);
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  for (int threads = 1; threads <= cores; threads *= 2) {
    for (int round = 0; round < 5; ++round) {
      std::printf("%d threads: %.0f ns per call\n", threads, NanosecondsPerCall(*metrics, threads));
    }
  }
}
