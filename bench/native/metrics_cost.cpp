// What telling of one call costs: the record in the cells of its version, and the story for the access log and the collector.
//   metrics_cost [PAIRS]    paired runs: bursts of calls without and with what is measured, in turn, on this thread; prints the
//                           mean of the differences for each call and its 95 % interval, in nanoseconds
// A burst is as long as the queues take, and the threads that write and send are waited for between bursts: nothing is dropped,
// which would be cheaper. Their own work is told as the processor time of the whole process.
#include <time.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "telemetry/call_journal.h"
#include "telemetry/metrics_registry.h"

namespace {

using namespace switchyard;
using Clock = std::chrono::steady_clock;

constexpr int kBurst = 2000;

double Seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Cost {
  double wall_ns;     // of this thread, for each call
  double process_ns;  // processor time of the process, for each call
};

// `after` waits until what the burst left for other threads is done.
Cost Burst(const std::function<void(const CallRecord&, const TraceContext&)>& tell, const std::function<void()>& after) {
  TraceContext trace;
  ParseTraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", trace);
  const double cpu = Seconds(CLOCK_PROCESS_CPUTIME_ID);
  const auto begin = Clock::now();
  CallRecord record{.device = "CPU", .batch = 1, .bytes_in = 105, .bytes_out = 161};
  for (int call = 0; call < kBurst; ++call) {
    // Times of a small model that fall into several buckets. A server reads the clock for them too.
    record.wait = std::chrono::nanoseconds(Clock::now().time_since_epoch().count() % 5000);
    record.infer = std::chrono::microseconds(5 + call % 30);
    record.total = *record.wait + *record.infer;
    tell(record, trace);
  }
  const double wall = std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
  after();
  return {wall / kBurst, 1e9 * (Seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / kBurst};
}

void Print(const char* name, const std::vector<double>& differences) {
  double mean = 0, square = 0;
  for (const double each : differences) mean += each / static_cast<double>(differences.size());
  for (const double each : differences) square += (each - mean) * (each - mean);
  const double count = static_cast<double>(differences.size());
  const double half = 1.96 * std::sqrt(square / (count - 1) / count);
  std::printf("%-58s %7.0f ns (%.0f .. %.0f)\n", name, mean, mean - half, mean + half);
}

void Compare(const char* name, int pairs, const std::function<void(const CallRecord&, const TraceContext&)>& tell,
             const std::function<void()>& after) {
  const auto nothing = [](const CallRecord&, const TraceContext&) {};
  std::vector<double> wall, process;
  for (int pair = 0; pair < pairs; ++pair) {
    // Which one comes first alternates too.
    const bool first = pair % 2 == 0;
    const Cost one = first ? Burst(tell, after) : Burst(nothing, [] {});
    const Cost other = first ? Burst(nothing, [] {}) : Burst(tell, after);
    const double sign = first ? 1 : -1;
    wall.push_back(sign * (one.wall_ns - other.wall_ns));
    process.push_back(sign * (one.process_ns - other.process_ns));
  }
  Print(name, wall);
  Print("  with the other threads' processor time", process);
}

}  // namespace

int main(int argc, char** argv) {
  const int pairs = argc > 1 ? std::atoi(argv[1]) : 200;
  if (pairs < 2) return 64;
  MetricsRegistry registry({.ovms = true, .families = {}});
  const auto metrics = registry.ForModel("model", 1);
  const auto count = [&](const CallRecord& record, const TraceContext&) { metrics->Record(record); };
  Compare("metrics", pairs, count, [] {});

  const CallJournal silent;
  Compare("reading a traceparent and making a span", pairs, [&](const CallRecord&, const TraceContext&) {
    if (!silent.Trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "rojo=1").valid) std::abort();
  }, [] {});

  auto opened = AccessLog::Open("/dev/null");
  if (!opened.ok()) return 1;
  AccessLog& log = **opened;
  const CallJournal journal(*std::move(opened), nullptr, 0);
  const auto journaled = [&](const CallRecord& record, const TraceContext& trace) {
    metrics->Record(record);
    if (!journal.Wants(trace)) return;
    journal.Record({.endpoint = record.endpoint,
                    .code = record.code,
                    .request_id = "request-17",
                    .model = "model",
                    .version = "1",
                    .device = record.device,
                    .trace = &trace,
                    .decode = record.wait,
                    .queue = record.wait,
                    .compute = record.infer,
                    .encode = record.wait,
                    .total = record.total,
                    .batch = record.batch,
                    .bytes_in = record.bytes_in,
                    .bytes_out = record.bytes_out});
  };
  uint64_t told = 0;
  Compare("metrics and a line of the access log", pairs, journaled, [&] {
    told += kBurst;
    while (log.written() + log.dropped() < told) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  if (log.dropped() > 0) std::printf("%llu lines were dropped\n", static_cast<unsigned long long>(log.dropped()));

  // Threads that count in the same cells get in each other's way.
  for (unsigned threads = 1; threads <= std::thread::hardware_concurrency(); threads *= 2) {
    constexpr int kRounds = 500;
    std::vector<std::thread> running;
    const auto begin = Clock::now();
    for (unsigned thread = 0; thread < threads; ++thread) {
      running.emplace_back([&] {
        for (int round = 0; round < kRounds; ++round) Burst(count, [] {});
      });
    }
    for (std::thread& thread : running) thread.join();
    const double ns = std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / kRounds / kBurst;
    std::printf("metrics, %u threads that do nothing else: %.0f ns for each call, the clock included\n", threads, ns);
  }
}
