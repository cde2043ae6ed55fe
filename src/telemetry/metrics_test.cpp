#include "telemetry/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "telemetry/metrics_registry.h"
#include "telemetry/process_metrics.h"

namespace switchyard {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

CallRecord Good(std::string_view device = "CPU") {
  return {.endpoint = Endpoint::kKserveGrpcInfer,
          .code = StatusCode::kOk,
          .device = device,
          .total = microseconds(50),
          .wait = microseconds(3),
          .infer = microseconds(40)};
}

TEST(HistogramTest, BoundsAreThoseOfOvms) {
  const auto& bounds = Histogram::Bounds();
  EXPECT_EQ(bounds[0], 10U);
  EXPECT_EQ(bounds[1], 18U);
  EXPECT_EQ(bounds[9], 1983U);
  EXPECT_EQ(bounds[31], 819308872U);
  EXPECT_EQ(bounds[32], 1474755971U);
}

TEST(HistogramTest, ABoundBelongsToItsBucket) {
  Histogram histogram;
  histogram.Observe(microseconds(10));
  histogram.Observe(nanoseconds(10001));
  histogram.Observe(microseconds(-5));
  histogram.Observe(std::chrono::hours(1));
  EXPECT_EQ(histogram.Counts()[0], 2U);
  EXPECT_EQ(histogram.Counts()[1], 1U);
  EXPECT_EQ(histogram.Counts()[Histogram::kBounds], 1U);
  EXPECT_DOUBLE_EQ(histogram.SumMicroseconds(), 3600e6 + 20.001);
}

TEST(SizeHistogramTest, ABoundBelongsToItsBucket) {
  SizeHistogram histogram;
  for (const uint64_t size : {1, 2, 3, 4, 1024, 1025, 1 << 30}) histogram.Observe(size);
  const auto counts = histogram.Counts();
  EXPECT_THAT(counts, ::testing::ElementsAre(1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2));
  EXPECT_EQ(histogram.Sum(), 10U + 1024 + 1025 + (1U << 30));
}

TEST(MetricsRegistryTest, WhatADeviceHadOutlivesTheModel) {
  MetricsRegistry registry;
  for (const char* model : {"a", "b"}) registry.ForModel(model, 1)->Record(Good("GPU.0"));
  registry.ForModel("a", 1)->Record({.code = StatusCode::kInvalidArgument});
  const std::string text = registry.Text();
  EXPECT_THAT(text, HasSubstr("\nswitchyard_device_requests_total{device=\"GPU.0\",code=\"OK\"} 2\n"));
  EXPECT_THAT(text, AllOf(Not(HasSubstr("model=\"a\"")), Not(HasSubstr("device=\"none\""))));
}

TEST(MetricsRegistryTest, RefusedAndExpiredCallsByReason) {
  MetricsRegistry registry;
  const auto metrics = registry.ForModel("m", 1);
  metrics->Record({.code = StatusCode::kResourceExhausted, .queue_full = true});
  metrics->Record({.code = StatusCode::kResourceExhausted});
  metrics->Record({.code = StatusCode::kInvalidArgument});
  metrics->Record({.code = StatusCode::kUnavailable});
  metrics->Record({.code = StatusCode::kInternal});
  metrics->Record({.code = StatusCode::kInternal, .device = "CPU"});  // ran
  metrics->Record({.code = StatusCode::kCancelled});                  // the client's doing
  metrics->Record({.code = StatusCode::kDeadlineExceeded});
  metrics->Record({.code = StatusCode::kDeadlineExceeded, .device = "CPU"});
  metrics->Record({.code = StatusCode::kDeadlineExceeded, .device = "CPU"});
  const std::string text = registry.Text();
  for (const char* reason : {"queue_full", "too_large", "invalid", "unavailable", "other"}) {
    EXPECT_THAT(text, HasSubstr(fmt::format("rejected_calls_total{{model=\"m\",version=\"1\",reason=\"{}\"}} 1\n", reason)));
  }
  EXPECT_THAT(text, HasSubstr("expired_calls_total{model=\"m\",version=\"1\",stage=\"waiting\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("expired_calls_total{model=\"m\",version=\"1\",stage=\"running\"} 2\n"));
}

TEST(MetricsRegistryTest, RequestsOfTheDeviceThatServesBeginAtZero) {
  MetricsRegistry registry;
  const auto metrics = registry.ForModel("m", 1);
  metrics->Begin("GPU.0");
  const std::string series = R"(switchyard_requests_total{model="m",version="1",)";
  EXPECT_THAT(registry.Text(), HasSubstr(series + "device=\"GPU.0\",code=\"OK\"} 0\n"));
  metrics->Record({.code = StatusCode::kInvalidArgument});
  metrics->Record(Good("GPU.0"));
  EXPECT_THAT(registry.Text(),
              AllOf(HasSubstr(series + "device=\"GPU.0\",code=\"OK\"} 1\n"),
                    HasSubstr(series + "device=\"none\",code=\"INVALID_ARGUMENT\"} 1\n"), Not(HasSubstr("code=\"OK\"} 0\n"))));
}

TEST(MetricsRegistryTest, LoadsAndWhyTheyFailed) {
  MetricsRegistry registry;
  registry.CountLoad("m", absl::OkStatus());
  registry.CountLoad("m", absl::OkStatus());
  registry.CountLoad("bad", InvalidArgument("no model"));
  const std::string text = registry.Text();
  EXPECT_THAT(text, HasSubstr("\nswitchyard_loads_total{model=\"m\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("\nswitchyard_load_failures_total{model=\"bad\",reason=\"INVALID_ARGUMENT\"} 1\n"));
}

TEST(MetricsRegistryTest, ShowsWhatIsChosen) {
  const auto text = [](MetricsRegistry::Options options) {
    MetricsRegistry registry(std::move(options));
    const auto metrics = registry.ForModel("m", 1);
    metrics->Record(Good());
    return registry.Text();
  };
  EXPECT_THAT(text({}), AllOf(HasSubstr("switchyard_requests_total{"), Not(HasSubstr("ovms_"))));
  EXPECT_THAT(text({.ovms = true, .families = {}}),
              AllOf(HasSubstr("ovms_requests_success{"), HasSubstr("ovms_request_time_us_bucket{"),
                    HasSubstr("switchyard_requests_total{")));
  EXPECT_THAT(text({.ovms = true, .families = {"ovms_requests_fail"}}),
              AllOf(HasSubstr("ovms_requests_fail{"), Not(HasSubstr("ovms_requests_success")),
                    Not(HasSubstr("ovms_request_time_us")), HasSubstr("switchyard_requests_total{")));
}

TEST(MetricsRegistryTest, CountsAtTheEndpointThatWasCalled) {
  MetricsRegistry registry({.ovms = true, .families = {}});
  const auto metrics = registry.ForModel("m", 7);
  metrics->Record(Good());
  metrics->Record(Good());
  metrics->Record({.endpoint = Endpoint::kTfsRestPredict, .code = StatusCode::kInvalidArgument});
  const std::string text = registry.Text();
  const auto line = [&](const char* line) { EXPECT_THAT(text, HasSubstr(std::string("\n") + line + "\n")); };
  line(R"(ovms_requests_success{api="KServe",interface="gRPC",method="ModelInfer",name="m",version="7"} 2)");
  line(R"(ovms_requests_success{api="KServe",interface="REST",method="ModelInfer",name="m",version="7"} 0)");
  line(R"(ovms_requests_fail{api="TensorFlowServing",interface="REST",method="Predict",name="m",version="7"} 1)");
  line(R"(switchyard_requests_total{model="m",version="7",device="CPU",code="OK"} 2)");
  line(R"(switchyard_requests_total{model="m",version="7",device="none",code="INVALID_ARGUMENT"} 1)");
  line(R"(ovms_request_time_us_count{interface="gRPC",name="m",version="7"} 2)");
  line(R"(ovms_request_time_us_sum{interface="gRPC",name="m",version="7"} 100)");
  line(R"(ovms_request_time_us_bucket{interface="gRPC",name="m",version="7",le="32"} 0)");
  line(R"(ovms_request_time_us_bucket{interface="gRPC",name="m",version="7",le="58"} 2)");
  line(R"(ovms_request_time_us_bucket{interface="gRPC",name="m",version="7",le="1474755971"} 2)");
  line(R"(ovms_request_time_us_bucket{interface="gRPC",name="m",version="7",le="+Inf"} 2)");
  line(R"(ovms_request_time_us_count{interface="REST",name="m",version="7"} 0)");
  line(R"(ovms_inference_time_us_sum{name="m",version="7"} 80)");
  line(R"(ovms_wait_for_infer_req_time_us_sum{name="m",version="7"} 6)");
}

TEST(MetricsRegistryTest, CountsQueriesOfKnownModelsOnly) {
  MetricsRegistry registry({.ovms = true, .families = {}});
  registry.ForModel("m", 1);  // gone at once; the model stays known
  registry.CountQuery("m", Endpoint::kKserveRestReady, false);
  registry.CountQuery("stranger", Endpoint::kKserveRestReady, true);
  EXPECT_THAT(registry.Text(),
              AllOf(HasSubstr(R"(ovms_requests_fail{api="KServe",interface="REST",method="ModelReady",name="m"} 1)"),
                    Not(HasSubstr("stranger"))));
}

TEST(MetricsRegistryTest, AVersionThatIsLoadedAnewCountsOnAndOneThatIsGoneLeaves) {
  MetricsRegistry registry;
  auto old = registry.ForModel("m", 1);
  old->Record(Good());
  auto anew = registry.ForModel("m", 1);
  old.reset();
  anew->Record(Good());
  EXPECT_THAT(registry.Text(), HasSubstr(R"({model="m",version="1",device="CPU",code="OK"} 2)"));
  anew.reset();
  EXPECT_THAT(registry.Text(), Not(HasSubstr("version=\"1\"")));
}

TEST(MetricsRegistryTest, TellsMovesRetriesAndWhatCollectorsKnow) {
  MetricsRegistry registry;
  registry.CountFailover("m", "GPU.0", "CPU", "hang");
  registry.CountFailover("m", "GPU.0", "CPU", "hang");
  registry.CountRetry("m", "GPU.0");
  registry.AddCollector([](MetricsPage& page) { page.Add(Family::kDeviceState, {{"device", "CPU"}, {"state", "well"}}, 1); });
  registry.AddCollector(CollectProcess);
  const std::string text = registry.Text();
  EXPECT_THAT(text, HasSubstr(R"(switchyard_failovers_total{model="m",from="GPU.0",to="CPU",reason="hang"} 2)"));
  EXPECT_THAT(text, HasSubstr(R"(switchyard_retried_calls_total{model="m",device="GPU.0"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(switchyard_device_state{device="CPU",state="well"} 1)"));
  EXPECT_THAT(text, HasSubstr("\nprocess_resident_memory_bytes "));
  EXPECT_THAT(text, HasSubstr("# TYPE process_cpu_seconds_total counter\n"));
}

TEST(MetricsRegistryTest, EscapesNames) {
  MetricsRegistry registry;
  registry.CountRetry("a\"b\\c\nd", "CPU");
  EXPECT_THAT(registry.Text(), HasSubstr(R"({model="a\"b\\c\nd",device="CPU"} 1)"));
}

TEST(MetricsRegistryTest, LosesNothingAmongThreads) {
  constexpr int kThreads = 4;
  constexpr int kCalls = 20000;
  MetricsRegistry registry;
  const auto metrics = registry.ForModel("m", 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int call = 0; call < kCalls; ++call) metrics->Record(Good(call % 2 == 0 ? "CPU" : i % 2 == 0 ? "GPU.0" : "NPU"));
    });
  }
  for (int i = 0; i < 20; ++i) registry.Text();
  for (std::thread& thread : threads) thread.join();
  const std::string text = registry.Text();
  EXPECT_THAT(text, HasSubstr(R"(device="CPU",code="OK"} 40000)"));
  EXPECT_THAT(text, HasSubstr(R"(device="GPU.0",code="OK"} 20000)"));
  EXPECT_THAT(text, HasSubstr(R"(device="NPU",code="OK"} 20000)"));
}

TEST(ModelMetricsTest, InferencesAreCountedByTheirRows) {
  ModelMetrics metrics("m", "1");
  CallRecord alone = Good("CPU");
  alone.batch = 3;
  alone.total = microseconds(100);
  alone.input = microseconds(10);
  alone.wait = microseconds(30);
  alone.infer = microseconds(50);
  metrics.Record(alone);
  metrics.Record(alone);
  CallRecord joined = alone;
  joined.joined = true;
  for (int i = 0; i < 4; ++i) metrics.Record(joined);
  metrics.CountExecution({.rows = 12, .input = microseconds(5), .infer = microseconds(60), .output = {}});
  metrics.AddOutputTime(12, microseconds(7));
  const CallStatistics statistics = metrics.Statistics();
  EXPECT_EQ(statistics.success.count, 6u);
  EXPECT_EQ(statistics.infer.count, 6u);
  EXPECT_EQ(statistics.executions, 3u);
  EXPECT_EQ(statistics.rows, 18u);
  ASSERT_EQ(statistics.batches.size(), 2u);
  EXPECT_EQ(statistics.batches[0].rows, 3u);
  EXPECT_EQ(statistics.batches[0].infer.count, 2u);
  EXPECT_EQ(statistics.batches[0].input.ns, 20'000u);
  EXPECT_EQ(statistics.batches[0].infer.ns, 100'000u);
  EXPECT_EQ(statistics.batches[0].output.ns, 40'000u);
  EXPECT_EQ(statistics.batches[1].rows, 12u);
  EXPECT_EQ(statistics.batches[1].infer.ns, 60'000u);
  EXPECT_EQ(statistics.batches[1].output.ns, 7'000u);
}

TEST(ModelMetricsTest, SizesBeyondWhatIsKeptCountInTheSums) {
  ModelMetrics metrics("m", "1");
  uint64_t rows = 0;
  for (uint64_t size = 0; size < 1000; ++size) {
    metrics.CountExecution({.rows = size});
    rows += size;
  }
  const CallStatistics statistics = metrics.Statistics();
  EXPECT_EQ(statistics.batches.size(), 256u);
  EXPECT_EQ(statistics.batches.back().rows, 255u);
  EXPECT_EQ(statistics.executions, 1000u);
  EXPECT_EQ(statistics.rows, rows);
}

}  // namespace
}  // namespace switchyard
