#include "serving/device_monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <thread>

#include "device/fault.h"
#include "runtime/fake/fake_runtime.h"

namespace switchyard {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using Kind = HealthEvent::Kind;

class DeviceMonitorTest : public testing::Test {
 protected:
  void SetUp() override { runtime_.Set("canary@GPU.0", {}); }
  // Threads that were left behind end when the test lets them.
  void TearDown() override {
    monitor_.reset();
    EXPECT_TRUE(CanariesAreGone());
  }
  void Start(DeviceMonitor::Options options = {}) {
    monitor_ = std::make_unique<DeviceMonitor>(runtime_, timer_, std::move(options));
  }
  // Runs the clock until the condition holds.
  bool Until(const std::function<bool()>& condition) {
    for (Duration passed{0}; !condition(); passed += milliseconds(10)) {
      if (passed > seconds(5)) return false;
      timer_.Advance(milliseconds(10));
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return true;
  }
  // The same by steps of ten seconds; the clock stands still until a probation that begins is inside the device.
  bool UntilLong(const std::function<bool()>& condition, Duration longest) {
    for (Duration passed{0}; !condition(); passed += seconds(10)) {
      if (passed > longest) return false;
      const bool before = State() == DeviceState::kProbation;
      const size_t inside = runtime_.running();
      timer_.Advance(seconds(10));
      const auto begins = [&] { return !before && State() == DeviceState::kProbation && runtime_.running() <= inside; };
      for (int i = 0; i < 10000 && begins(); ++i) std::this_thread::sleep_for(milliseconds(1));
    }
    return true;
  }
  // While the clock stands still.
  bool CanariesAreGone() {
    for (int i = 0; i < 10000 && runtime_.live_models() > 0; ++i) std::this_thread::sleep_for(milliseconds(1));
    return runtime_.live_models() == 0;
  }
  DeviceState State() const {
    for (const DeviceReport& report : monitor_->Reports()) {
      if (report.info.name == "GPU.0") return report.state;
    }
    return DeviceState::kAbsent;
  }
  // Canaries of GPU.0 end with `status`, and not before the notification that comes back.
  std::shared_ptr<Notification> Hang(const Status& status = absl::OkStatus()) {
    auto gate = std::make_shared<Notification>();
    runtime_.Update("canary@GPU.0", [&](FakeRuntime::Script& script) {
      script.on_infer = [gate] { gate->WaitForNotification(); };
      script.infer_error = status;
    });
    return gate;
  }

  FakeRuntime runtime_;
  ManualTimer timer_;
  std::unique_ptr<DeviceMonitor> monitor_;
};

TEST_F(DeviceMonitorTest, WhatALostDeviceDoesNotFreeKeepsNoOtherWaiting) {
  Start();
  const auto begun = std::make_shared<Notification>(), gate = std::make_shared<Notification>();
  const auto behind = std::make_shared<Notification>(), later = std::make_shared<Notification>();
  monitor_->Discard("GPU.0", [begun, gate] { begun->Notify(), gate->WaitForNotification(); });
  ASSERT_TRUE(begun->WaitFor(seconds(10)));
  monitor_->Discard("GPU.0", [behind] { behind->Notify(); });
  monitor_->Report("GPU.0", Kind::kFatalError, "lost");
  EXPECT_TRUE(behind->WaitFor(seconds(10)));
  monitor_->Discard("GPU.0", [later] { later->Notify(); });
  EXPECT_TRUE(later->WaitFor(seconds(10)));
  gate->Notify();
}

TEST_F(DeviceMonitorTest, ADeviceThatHangsForGoodIsTriedEverMoreSeldom) {
  Start();
  const auto gate = Hang();
  monitor_->Report("GPU.0", Kind::kFatalError, "lost");
  const auto tries = [&] { return runtime_.renewals().size(); };
  ASSERT_TRUE(UntilLong([&] { return tries() == 2; }, minutes(5)));
  EXPECT_FALSE(UntilLong([&] { return tries() > 2; }, minutes(50))) << "each try keeps a thread";
  ASSERT_TRUE(UntilLong([&] { return tries() == 3; }, minutes(30)));
  EXPECT_FALSE(UntilLong([&] { return tries() > 3; }, minutes(90)));
  gate->Notify();
  ASSERT_TRUE(Until([&] { return runtime_.running() == 0; }));
  EXPECT_TRUE(UntilLong([&] { return State() == DeviceState::kWell; }, minutes(5))) << "none of them is inside any more";
}

TEST_F(DeviceMonitorTest, ALateCanaryOfALostDeviceSaysNothingOfTheNextGeneration) {
  Start();
  const auto gate = Hang(absl::InternalError("odd"));
  monitor_->Report("GPU.0", Kind::kUnclearError, "odd");
  ASSERT_TRUE(Until([&] { return runtime_.running() == 1; }));
  monitor_->Report("GPU.0", Kind::kFatalError, "lost");
  gate->Notify();
  ASSERT_TRUE(CanariesAreGone());
  runtime_.Set("canary@GPU.0", {});
  ASSERT_TRUE(Until([&] { return State() == DeviceState::kWell; }));
  FakeRuntime::Script broken;
  broken.infer_error = MarkFault(absl::UnavailableError("CL_OUT_OF_RESOURCES"), Fault::kDevice);
  runtime_.Set("canary@GPU.0", broken);
  monitor_->Report("GPU.0", Kind::kUnclearError, "odd");
  EXPECT_TRUE(Until([&] { return State() == DeviceState::kLost; })) << "it was not asked";
}

}  // namespace
}  // namespace switchyard
