// What the tests of devices share: a Manager over the fake runtime with two GPUs, and the faults of those.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "device/fault.h"
#include "runtime/fake/fake_runtime.h"
#include "serving/executor.h"
#include "serving/manager.h"
#include "serving/test_calls.h"

namespace switchyard {

inline const Status kLost = MarkFault(absl::UnavailableError("CL_OUT_OF_RESOURCES"), Fault::kDevice);

class DevicesTest : public testing::Test {
 protected:
  void SetUp() override {
    runtime_.SetDeviceNames({"CPU", "GPU.0", "GPU.1"});
    for (const char* device : {"canary@GPU.0", "canary@GPU.1"}) runtime_.Set(device, {});
    runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.async = FakeRuntime::Async::kThread; });
  }
  void TearDown() override {
    manager_->Shutdown();
    runtime_.CompleteAll();
    ASSERT_TRUE(manager_->Drain(timer_.Now() + std::chrono::seconds(10)));
    manager_.reset();
    EXPECT_THAT(runtime_.violations(), testing::IsEmpty());
    // A load that was left behind ends by itself, and lets its model go.
    EXPECT_TRUE(Until([&] { return runtime_.live_models() == 0; }, std::chrono::seconds(60)));
  }
  void Serve(const std::string& target, const std::function<void(ModelSettings&)>& change = {}) {
    Manager::Options options;
    options.on_failover = [this](const std::string&, const std::string& from, const std::string& to,
                                 const std::string& reason) {
      MutexLock lock(&mutex_);
      moves_.push_back(from + ">" + to + ":" + reason);
    };
    manager_ = std::make_unique<Manager>(runtime_, timer_, options);
    ModelSettings settings = repository_.Add("dummy", {1});
    settings.target_device = target;
    if (change) change(settings);
    manager_->SetWanted({settings}, {});
  }
  // Runs the clock until the condition holds; the Manager's threads are real ones.
  bool Until(const std::function<bool()>& condition, Duration longest = std::chrono::seconds(5)) {
    for (Duration passed{0}; !condition(); passed += std::chrono::milliseconds(10)) {
      if (passed > longest) return false;
      timer_.Advance(std::chrono::milliseconds(10));
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return true;
  }
  std::vector<std::string> Moves() {
    MutexLock lock(&mutex_);
    return moves_;
  }
  std::string ServedBy() {
    const auto placement = manager_->Placement("dummy", std::nullopt);
    if (!placement.ok() || placement->Serving() == nullptr) return "";
    return placement->Serving()->target;
  }
  std::string StateOf(const std::string& target) {
    const auto placement = manager_->Placement("dummy", std::nullopt);
    if (!placement.ok()) return "";
    for (const TargetPlacement& one : placement->targets) {
      if (one.target == target) return one.state;
    }
    return "";
  }
  DeviceReport Device(const std::string& name) {
    for (const DeviceReport& report : manager_->Devices()) {
      if (report.info.name == name) return report;
    }
    return {};
  }
  Status Call(float value = 1) {
    TestCall test(value);
    auto handle = manager_->Acquire("dummy", std::nullopt);
    if (!handle.ok()) return handle.status();
    Infer(*std::move(handle), test.call);
    EXPECT_TRUE(Until([&] { return test.answer->done.HasBeenNotified(); }, std::chrono::seconds(20)));
    if (test.answer->status.ok()) {
      EXPECT_THAT(test.answer->values, testing::Each(value + 1));
    }
    return test.answer->status;
  }
  void Break(const std::string& key, const Status& error) {
    FakeRuntime::Script script;
    script.async = FakeRuntime::Async::kThread;
    script.infer_error = error;
    runtime_.Set(key, script);
  }

  // Inferences of that key do not end before the notification that comes back.
  std::shared_ptr<Notification> Hang(const std::string& key) {
    auto gate = std::make_shared<Notification>();
    runtime_.Update(key, [&](FakeRuntime::Script& script) { script.on_infer = [gate] { gate->WaitForNotification(); }; });
    return gate;
  }
  // Beside "dummy", which `change` settles, a model "other".
  void ServeTwo(const std::string& target, const std::string& others, const std::function<void(ModelSettings&)>& change) {
    Serve(target, change);
    ModelSettings dummy = repository_.Add("dummy", {1});
    dummy.target_device = target;
    change(dummy);
    ModelSettings other = repository_.Add("other", {1});
    other.target_device = others;
    manager_->SetWanted({dummy, other}, {});
    ASSERT_TRUE(Until([&] { return ServedBy() == target && manager_->ModelReady("other", std::nullopt); }));
  }

  // Loads of that key take until the script that comes back is set without hold_load.
  FakeRuntime::Script HoldLoad(const std::string& key) {
    FakeRuntime::Script slow;
    slow.hold_load = true;
    slow.async = FakeRuntime::Async::kThread;
    runtime_.Set(key, slow);
    return slow;
  }

  FakeRuntime runtime_;
  ManualTimer timer_;
  TempRepository repository_;
  Mutex mutex_;
  std::vector<std::string> moves_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Manager> manager_;
};

}  // namespace switchyard
