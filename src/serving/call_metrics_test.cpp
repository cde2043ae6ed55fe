// What the metrics say of calls whose times the test decides.
#include "serving/call_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device/fault.h"
#include "runtime/fake/fake_runtime.h"
#include "serving/executor.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

using std::chrono::microseconds;
using testing::HasSubstr;
using testing::Not;

class CallMetricsTest : public testing::Test {
 protected:
  CallMetricsTest() {
    FakeRuntime::Script script;
    script.async = FakeRuntime::Async::kHeld;
    runtime_.Set("dummy", script);
    executor_ = std::make_shared<Executor>(timer_, Executor::Options{.model_name = "dummy"});
    auto version = std::make_unique<Version>(ModelSettings{.name = "dummy"}, 3, DummySignature(), executor_, nullptr,
                                             registry_.ForModel("dummy", 3));
    slot_ = std::make_shared<VersionSlot>(std::move(version), [this](VersionSlot&) { drained_.Notify(); });
  }
  ~CallMetricsTest() override {
    runtime_.CompleteAll();
    slot_->Close();
    drained_.WaitForNotification();
    slot_->Destroy();
  }

  void Route(const std::vector<std::string>& devices) {
    LaneRoute route;
    for (const std::string& device : devices) {
      auto model = *runtime_.Load(LoadRequest{.settings = ModelSettings{.name = "dummy"}, .target = device});
      std::vector<std::unique_ptr<InferRequest>> requests;
      requests.push_back(*model->CreateInferRequest());
      route.lanes.push_back(std::make_shared<Lane>(model, std::move(requests),
                                                   Lane::Options{.target = device, .device = device, .devices = {device}}));
    }
    executor_->SetRoute(std::move(route));
  }
  // As a front end does it, `received` now.
  void Run(const TestCall& test) {
    test.call->received = timer_.Now();
    test.call->on_done = [this](InferCall& call, const Status& status) {
      RecordCall(call, status.code(), timer_.Now(), manager_, 24);
    };
    ASSERT_TRUE(slot_->Acquire());
    Infer(Handle(slot_), test.call);
  }
  void ExpectLine(const std::string& line) { EXPECT_THAT(registry_.Text(), HasSubstr("\n" + line + "\n")); }

  FakeRuntime runtime_;
  ManualTimer timer_;
  MetricsRegistry registry_{{.ovms = true, .families = {}}};
  Manager manager_{runtime_, timer_, {}};
  std::shared_ptr<Executor> executor_;
  std::shared_ptr<VersionSlot> slot_;
  Notification drained_;
};

TEST_F(CallMetricsTest, WaitingAndInferenceAreTimedApart) {
  Route({"CPU"});
  TestCall first, second;
  Run(first);
  Run(second);
  timer_.Advance(microseconds(100));
  ASSERT_TRUE(runtime_.CompleteNext());
  timer_.Advance(microseconds(40));
  ASSERT_TRUE(runtime_.CompleteNext());
  ExpectLine(R"(ovms_wait_for_infer_req_time_us_sum{name="dummy",version="3"} 100)");
  ExpectLine(R"(ovms_inference_time_us_sum{name="dummy",version="3"} 140)");
  ExpectLine(R"(ovms_request_time_us_sum{interface="gRPC",name="dummy",version="3"} 240)");
  ExpectLine(R"(switchyard_requests_total{model="dummy",version="3",device="CPU",code="OK"} 2)");
}

TEST_F(CallMetricsTest, BatchesAndBytesAreCounted) {
  Route({"CPU"});
  TestCall test;
  test.call->bytes = 100;
  Run(test);
  ASSERT_TRUE(runtime_.CompleteNext());
  ExpectLine(R"(switchyard_batch_size_bucket{model="dummy",version="3",le="1"} 1)");
  ExpectLine(R"(switchyard_batch_size_sum{model="dummy",version="3"} 1)");
  ExpectLine(R"(switchyard_request_bytes_total{model="dummy",version="3",interface="gRPC"} 100)");
  ExpectLine(R"(switchyard_response_bytes_total{model="dummy",version="3",interface="gRPC"} 24)");
}

TEST_F(CallMetricsTest, TheOldestWaitingCallIsKnown) {
  Route({"CPU"});
  TestCall running, waiting, younger;
  Run(running);
  EXPECT_EQ(executor_->oldest_queued(), std::nullopt);
  timer_.Advance(microseconds(5));
  const TimePoint arrived = timer_.Now();
  Run(waiting);
  timer_.Advance(microseconds(5));
  Run(younger);
  EXPECT_EQ(executor_->oldest_queued(), arrived);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(runtime_.CompleteNext());
  EXPECT_EQ(executor_->oldest_queued(), std::nullopt);
}

TEST_F(CallMetricsTest, ACallThatFoundTheQueueFullSaysSo) {
  Route({"CPU"});
  TestCall running;
  Run(running);
  std::vector<TestCall> waiting(1024);
  for (TestCall& call : waiting) Run(call);
  TestCall refused;
  Run(refused);
  ExpectLine(R"(switchyard_rejected_calls_total{model="dummy",version="3",reason="queue_full"} 1)");
  for (size_t i = 0; i <= waiting.size(); ++i) ASSERT_TRUE(runtime_.CompleteNext());
}

TEST_F(CallMetricsTest, ACallThatIsRunAgainIsOneOfTheDeviceThatServedIt) {
  Route({"GPU.0", "CPU"});
  TestCall test;
  Run(test);
  timer_.Advance(microseconds(70));
  ASSERT_TRUE(runtime_.CompleteNext(MarkFault(absl::UnavailableError("CL_OUT_OF_RESOURCES"), Fault::kDevice)));
  timer_.Advance(microseconds(30));
  ASSERT_TRUE(runtime_.CompleteNext());
  ExpectLine(R"(switchyard_requests_total{model="dummy",version="3",device="CPU",code="OK"} 1)");
  ExpectLine(R"(ovms_wait_for_infer_req_time_us_sum{name="dummy",version="3"} 70)");
  ExpectLine(R"(ovms_inference_time_us_sum{name="dummy",version="3"} 30)");
  EXPECT_THAT(registry_.Text(), Not(HasSubstr("device=\"GPU.0\"")));
}

TEST_F(CallMetricsTest, AnExpiredCallNamesTheDeviceThatHadIt) {
  Route({"GPU.0"});
  TestCall on_device(1, timer_.Now() + microseconds(50));
  TestCall in_queue(1, timer_.Now() + microseconds(50));
  Run(on_device);
  Run(in_queue);
  timer_.Advance(microseconds(60));
  ExpectLine(R"(switchyard_requests_total{model="dummy",version="3",device="GPU.0",code="DEADLINE_EXCEEDED"} 1)");
  ExpectLine(R"(switchyard_requests_total{model="dummy",version="3",device="none",code="DEADLINE_EXCEEDED"} 1)");
  ExpectLine(R"(ovms_requests_fail{api="KServe",interface="gRPC",method="ModelInfer",name="dummy",version="3"} 2)");
  ExpectLine(R"(ovms_request_time_us_count{interface="gRPC",name="dummy",version="3"} 0)");
}

TEST_F(CallMetricsTest, ACallThatWasRefusedEarlyIsOneOfTheModelThatItNames) {
  ThreadTimer timer;
  TempRepository repository;
  MetricsRegistry registry;
  Manager manager(runtime_, timer, {.metrics = &registry});
  manager.SetWanted({repository.Add("dummy", {1})}, {});
  manager.WaitForLoads();
  for (const char* name : {"dummy", "stranger"}) {
    InferCall refused;
    refused.request.model_name = name;
    RecordCall(refused, StatusCode::kInvalidArgument, timer.Now(), manager, 0);
  }
  const std::string text = registry.Text();
  EXPECT_THAT(text, HasSubstr(R"({model="dummy",version="1",device="none",code="INVALID_ARGUMENT"} 1)"));
  EXPECT_THAT(text, Not(HasSubstr("stranger")));
}

}  // namespace
}  // namespace switchyard
