// The Manager on devices that compile slowly, fail, hang, and come back.
#include "serving/test_devices.h"

namespace switchyard {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(DevicesTest, TheCpuHelpsUntilTheBetterDeviceIsReadyAndStandsByThen) {
  FakeRuntime::Script slow = HoldLoad("dummy@GPU.0");
  Serve("AUTO:GPU.0,CPU");
  manager_->WaitForLoads();
  EXPECT_EQ(ServedBy(), "CPU");
  EXPECT_TRUE(manager_->Placement("dummy", std::nullopt)->helping);
  EXPECT_EQ(StateOf("GPU.0"), "compiling");
  EXPECT_TRUE(Call().ok());
  slow.hold_load = false;
  runtime_.Set("dummy@GPU.0", slow);
  EXPECT_TRUE(Until([&] { return ServedBy() == "GPU.0"; }));
  EXPECT_FALSE(manager_->Placement("dummy", std::nullopt)->helping);
  EXPECT_EQ(StateOf("CPU"), "standby");
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(manager_->Placement("dummy", std::nullopt)->targets[0].requests_served, 1u);
}

// All lanes of one Version have the same weights.
TEST_F(DevicesTest, FilesThatHaveChangedAreNotTakenForADeviceThatComesLater) {
  FakeRuntime::Script slow = HoldLoad("dummy@GPU.0");
  Serve("AUTO:GPU.0,CPU");
  manager_->WaitForLoads();
  ASSERT_EQ(ServedBy(), "CPU");
  const Version* const before = &**manager_->Acquire("dummy", std::nullopt);
  const auto folder = repository_.path() / "dummy/1";
  std::ofstream(folder / ".incomplete") << "";
  std::ofstream(folder / "model.onnx") << "half of it";
  slow.hold_load = false;
  runtime_.Set("dummy@GPU.0", slow);
  EXPECT_TRUE(Until([&] { return StateOf("GPU.0") == "failed"; }));
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(ServedBy(), "CPU");
  EXPECT_THAT(Moves(), IsEmpty());
  EXPECT_EQ(Device("GPU.0").state, DeviceState::kWell) << "it is no fault of the device's";
  std::filesystem::remove(folder / ".incomplete");
  EXPECT_TRUE(Until([&] { return &**manager_->Acquire("dummy", std::nullopt) != before && ServedBy() == "GPU.0"; }));
}

TEST_F(DevicesTest, ALoadThatTakesTooLongIsLeftForTheNextDevice) {
  FakeRuntime::Script hangs;
  hangs.hold_load = true;
  runtime_.Set("dummy@GPU.0", hangs);
  Serve("GPU.0", [](ModelSettings& settings) {
    settings.fallback_devices = {"CPU"};
    settings.load_timeout_ms = 2000;
  });
  ASSERT_TRUE(runtime_.WaitForLoads(1));
  const TimePoint before = timer_.Now();
  ASSERT_TRUE(Until([&] { return ServedBy() == "CPU"; }, seconds(20)));
  EXPECT_GE(timer_.Now() - before, milliseconds(1000));
  EXPECT_TRUE(Call().ok());
  EXPECT_NE(StateOf("GPU.0"), "serving");
  EXPECT_THAT(manager_->Placement("dummy", std::nullopt)->targets[0].reason,
              HasSubstr("loading on GPU.0 did not end within 2000 ms (load_timeout_ms)"));
  EXPECT_TRUE(Until([&] { return Device("GPU.0").state == DeviceState::kWell; }, seconds(20))) << "it answers its canary";
  // The device's other work goes on: with a new thread.
  ModelSettings other = repository_.Add("other", {1});
  other.target_device = "GPU.0";
  ModelSettings dummy = repository_.Add("dummy", {1});
  dummy.target_device = "GPU.0";
  dummy.fallback_devices = {"CPU"};
  dummy.load_timeout_ms = 2000;
  manager_->SetWanted({dummy, other}, {});
  EXPECT_TRUE(Until([&] { return manager_->ModelReady("other", std::nullopt); }, seconds(60)));
  hangs.hold_load = false;
  runtime_.Set("dummy@GPU.0", hangs);
}

TEST_F(DevicesTest, TheOnlyDevicesLoadThatTakesTooLongFailsTheModel) {
  FakeRuntime::Script hangs;
  hangs.hold_load = true;
  runtime_.Set("dummy", hangs);
  Serve("CPU", [](ModelSettings& settings) { settings.load_timeout_ms = 500; });
  ASSERT_TRUE(runtime_.WaitForLoads(1));
  const auto failed = [&] { return manager_->StatusOf("dummy")->versions[0].state == VersionState::kFailed; };
  ASSERT_TRUE(Until(failed, seconds(60)));
  EXPECT_THAT(manager_->StatusOf("dummy")->versions[0].error.ToString(), HasSubstr("load_timeout_ms"));
  hangs.hold_load = false;
  runtime_.Set("dummy", hangs);
  EXPECT_TRUE(Until([&] { return runtime_.live_models() == 0; }, seconds(60)));
}

TEST_F(DevicesTest, ADeviceThatFailsIsLeftAndComesHomeAsANewGeneration) {
  Serve("GPU.0", [](ModelSettings& settings) { settings.fallback_devices = {"CPU"}; });
  ASSERT_TRUE(Until([&] { return StateOf("CPU") == "standby"; }));
  EXPECT_TRUE(Call(2).ok());
  Break("dummy@GPU.0", kLost);
  runtime_.SetRenewError(absl::UnavailableError("still dead"));
  EXPECT_TRUE(Call(3).ok());
  ASSERT_TRUE(Until([&] { return ServedBy() == "CPU"; }));
  EXPECT_THAT(Moves(), ElementsAre("GPU.0>CPU:error"));
  EXPECT_TRUE(manager_->ModelReady("dummy", std::nullopt));
  ASSERT_TRUE(Until([&] { return runtime_.renewals().size() >= 2; }));
  EXPECT_FALSE(Device("GPU.0").reason.empty());
  Break("dummy@GPU.0", absl::OkStatus());
  runtime_.SetRenewError(absl::OkStatus());
  ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.0"; }, seconds(30)));
  EXPECT_EQ(Device("GPU.0").state, DeviceState::kWell);
  EXPECT_TRUE(Call(4).ok());
  EXPECT_THAT(Moves(), ElementsAre("GPU.0>CPU:error"));
  EXPECT_EQ(manager_->Placement("dummy", std::nullopt)->targets[0].requests_served, 2u) << "before it was lost, and after";
}

TEST_F(DevicesTest, AFailoverNamesTheDeviceThatIsStillCompiling) {
  FakeRuntime::Script slow = HoldLoad("dummy@CPU");
  runtime_.SetRenewError(absl::UnavailableError("still dead"));
  Serve("GPU.0", [](ModelSettings& settings) { settings.fallback_devices = {"CPU"}; });
  ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.0" && StateOf("CPU") == "compiling"; }));
  Break("dummy@GPU.0", kLost);
  TestCall waits(1);
  Infer(*manager_->Acquire("dummy", std::nullopt), waits.call);
  ASSERT_TRUE(Until([&] { return StateOf("GPU.0") == "lost"; }));
  slow.hold_load = false;
  runtime_.Set("dummy@CPU", slow);
  ASSERT_TRUE(Until([&] { return waits.answer->done.HasBeenNotified(); }));
  EXPECT_TRUE(waits.answer->status.ok());
  EXPECT_THAT(Moves(), ElementsAre("GPU.0>CPU:error"));
}

TEST_F(DevicesTest, OneOfSeveralThatDoesNotLoadIsAFailover) {
  for (const char* target : {"dummy@CPU", "dummy@GPU.0"}) {
    HoldLoad(target);
  }
  Serve("MULTI:GPU.0,CPU");
  ASSERT_TRUE(runtime_.WaitForLoads(2));
  FakeRuntime::Script broken;
  broken.load_error = absl::InvalidArgumentError("compiler says no");
  runtime_.Set("dummy@GPU.0", broken);
  // While the other one still compiles.
  ASSERT_TRUE(Until([&] { return !Moves().empty(); }));
  runtime_.Update("dummy@CPU", [](FakeRuntime::Script& script) { script.hold_load = false; });
  ASSERT_TRUE(Until([&] { return ServedBy() == "CPU" && StateOf("GPU.0") == "failed"; }));
  EXPECT_THAT(Moves(), ElementsAre("GPU.0>CPU:load"));
}

TEST_F(DevicesTest, AStopDoesNotWaitForAnInferenceThatWasGivenUp) {
  FakeRuntime::Script hangs;
  hangs.async = FakeRuntime::Async::kHeld;
  runtime_.Set("dummy@GPU.0", hangs);
  runtime_.SetRenewError(absl::UnavailableError("still dead"));
  Serve("GPU.0", [](ModelSettings& settings) { settings.device_timeout_ms = 200; });
  ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.0"; }));
  EXPECT_EQ(Call().code(), StatusCode::kDeadlineExceeded);
  manager_->Shutdown();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(manager_->Drain(timer_.Now() + std::chrono::minutes(5)));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::minutes(1));
}

TEST_F(DevicesTest, WithNoNextDeviceTheModelIsNotReadyAndSaysWhyUntilTheDeviceIsBack) {
  Serve("GPU.0");
  ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.0"; }));
  EXPECT_TRUE(manager_->Ready());
  Break("dummy@GPU.0", kLost);
  runtime_.SetRenewError(absl::UnavailableError("still dead"));
  EXPECT_EQ(Call().code(), StatusCode::kUnavailable);
  ASSERT_TRUE(Until([&] { return !manager_->Ready(); }));
  EXPECT_FALSE(manager_->ModelReady("dummy", std::nullopt));
  const Status refused = Call();
  EXPECT_EQ(refused.code(), StatusCode::kUnavailable);
  EXPECT_THAT(refused.ToString(), HasSubstr("CL_OUT_OF_RESOURCES"));
  const ModelStatus status = *manager_->StatusOf("dummy");
  EXPECT_EQ(status.versions[0].state, VersionState::kLoading);
  EXPECT_THAT(status.versions[0].error.ToString(), HasSubstr("device GPU.0"));
  Break("dummy@GPU.0", absl::OkStatus());
  runtime_.SetRenewError(absl::OkStatus());
  ASSERT_TRUE(Until([&] { return manager_->Ready(); }, seconds(60)));
  EXPECT_TRUE(Call().ok());
}

TEST_F(DevicesTest, AHungInferenceIsRunElsewhereAfterTheDevicesTime) {
  FakeRuntime::Script hangs;
  hangs.async = FakeRuntime::Async::kHeld;
  runtime_.Set("dummy@GPU.0", hangs);
  Serve("AUTO:GPU.0,CPU", [](ModelSettings& settings) { settings.device_timeout_ms = 500; });
  ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.0" && StateOf("CPU") == "standby"; }));
  const TimePoint before = timer_.Now();
  EXPECT_TRUE(Call(7).ok());
  EXPECT_GE(timer_.Now() - before, milliseconds(500));
  EXPECT_LE(timer_.Now() - before, milliseconds(1500));
  ASSERT_TRUE(Until([&] { return ServedBy() == "CPU"; }));
  EXPECT_THAT(Moves(), ElementsAre("GPU.0>CPU:hang"));
  EXPECT_EQ(runtime_.CompleteAll(), 1u) << "what the device delivers late is dropped";
}

TEST_F(DevicesTest, OnlyTheModelThatHangsLeavesADeviceThatAnswers) {
  FakeRuntime::Script hangs;
  hangs.async = FakeRuntime::Async::kHeld;
  runtime_.Set("dummy@GPU.0", hangs);
  ServeTwo("GPU.0", "GPU.0", [](ModelSettings& settings) {
    settings.fallback_devices = {"CPU"};
    settings.device_timeout_ms = 200;
  });
  EXPECT_TRUE(Call(3).ok());
  ASSERT_TRUE(Until([&] { return ServedBy() == "CPU" && Device("GPU.0").state == DeviceState::kWell; }));
  EXPECT_THAT(Moves(), ElementsAre("GPU.0>CPU:hang"));
  EXPECT_THAT(manager_->Placement("dummy", std::nullopt)->targets[0].reason,
              HasSubstr("an inference of model dummy did not end within 200 ms (device_timeout_ms)"));
  // It is tried there again, with pauses that grow.
  Duration pause{0};
  for (int i = 0; i < 2; ++i) {
    const TimePoint left = timer_.Now();
    ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.0"; }, seconds(60)));
    EXPECT_GT(timer_.Now() - left, pause + milliseconds(300));
    pause = timer_.Now() - left;
    if (i == 1) break;
    EXPECT_TRUE(Call(4).ok());
    ASSERT_TRUE(Until([&] { return ServedBy() == "CPU"; }));
  }
  EXPECT_TRUE(manager_->ModelReady("other", std::nullopt));
  EXPECT_THAT(Moves(), ElementsAre("GPU.0>CPU:hang", "GPU.0>CPU:hang")) << "the other one stayed";
  EXPECT_THAT(runtime_.renewals(), IsEmpty());
}

TEST_F(DevicesTest, ACallWithoutAVersionGoesToTheHighestThatADeviceServes) {
  FakeRuntime::Script hangs;
  hangs.async = FakeRuntime::Async::kHeld;
  runtime_.Set("dummy/9", hangs);
  manager_ = std::make_unique<Manager>(runtime_, timer_, Manager::Options{});
  ModelSettings settings = repository_.Add("dummy", {8, 9});
  settings.target_device = "GPU.0";
  settings.version_policy.kind = VersionPolicy::Kind::kAll;
  settings.device_timeout_ms = 200;
  manager_->SetWanted({settings}, {});
  manager_->WaitForLoads();
  const auto serving = [this] {
    const auto handle = manager_->Acquire("dummy", std::nullopt);
    return handle.ok() ? (*handle)->number() : -1;
  };
  ASSERT_EQ(serving(), 9);
  TestCall test(1);
  Infer(*manager_->Acquire("dummy", std::nullopt), test.call);
  ASSERT_TRUE(Until([&] { return serving() == 8; }));
  EXPECT_TRUE(manager_->ModelReady("dummy", std::nullopt));
  EXPECT_TRUE(Call().ok());
  EXPECT_TRUE(Until([&] { return serving() == 9; }, seconds(60))) << "it comes back";
}

TEST_F(DevicesTest, ADeviceThatHangsIsLeftByAll) {
  FakeRuntime::Script hangs;
  hangs.async = FakeRuntime::Async::kHeld;
  runtime_.Set("dummy@GPU.0", hangs);
  runtime_.SetRenewError(absl::UnavailableError("still dead"));
  ServeTwo("GPU.0", "GPU.0", [](ModelSettings& settings) { settings.device_timeout_ms = 500; });
  const auto gate = Hang("canary@GPU.0");
  const TimePoint begin = timer_.Now();
  EXPECT_EQ(Call().code(), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(Until([&] { return !manager_->ModelReady("other", std::nullopt); }));
  EXPECT_LE(timer_.Now() - begin, milliseconds(1500));
  EXPECT_THAT(Device("GPU.0").reason, HasSubstr("did not end within 500 ms (device_timeout_ms), and a canary inference"));
  gate->Notify();
  runtime_.Update("canary@GPU.0", [](FakeRuntime::Script& script) { script.on_infer = nullptr; });
  runtime_.SetRenewError(absl::OkStatus());
  ASSERT_TRUE(Until([&] { return manager_->ModelReady("other", std::nullopt) && ServedBy() == "GPU.0"; }, seconds(60)));
}

TEST_F(DevicesTest, OfHeterosDevicesTheOneThatHangsIsLost) {
  const std::string target = "HETERO:GPU.0,GPU.1";
  FakeRuntime::Script hangs;
  hangs.async = FakeRuntime::Async::kHeld;
  runtime_.Set("dummy@" + target, hangs);
  runtime_.SetRenewError(absl::UnavailableError("still dead"));
  ServeTwo(target, "GPU.0", [](ModelSettings& settings) {
    settings.fallback_devices = {"CPU"};
    settings.device_timeout_ms = 200;
  });
  const auto gate = Hang("canary@GPU.1");
  EXPECT_TRUE(Call().ok());
  ASSERT_TRUE(Until([&] { return StateOf(target) == "lost"; }));
  EXPECT_EQ(Device("GPU.0").state, DeviceState::kWell);
  EXPECT_FALSE(Device("GPU.1").reason.empty());
  EXPECT_THAT(Moves(), ElementsAre("GPU.0>CPU:hang")) << "the model on GPU.0 stays there";
  gate->Notify();
}

TEST_F(DevicesTest, WhatBatchWaitsForOtherCallsIsNoTimeOfTheDevices) {
  FakeRuntime::Script waits;
  waits.async = FakeRuntime::Async::kHeld;
  waits.facts.batch_size = 4;
  waits.facts.optimal_requests = 4;
  runtime_.Set("dummy@BATCH:GPU.0(4)", waits);
  runtime_.SetRenewError(absl::UnavailableError("still dead"));
  Serve("BATCH:GPU.0(4)", [&](ModelSettings& settings) {
    settings.device_timeout_ms = 300;
    settings.warm_up.requests = 0;
    settings.plugin_config["AUTO_BATCH_TIMEOUT"] = {int64_t{2000}};
  });
  ASSERT_TRUE(Until([&] { return ServedBy() == "BATCH:GPU.0(4)"; }));
  TestCall lone(1);
  Infer(*manager_->Acquire("dummy", std::nullopt), lone.call);
  timer_.Advance(milliseconds(2200));
  EXPECT_EQ(Device("GPU.0").state, DeviceState::kWell);
  ASSERT_TRUE(runtime_.CompleteNext());
  EXPECT_TRUE(lone.answer->status.ok());
  const TimePoint before = timer_.Now();
  EXPECT_EQ(Call().code(), StatusCode::kDeadlineExceeded);
  EXPECT_GE(timer_.Now() - before, milliseconds(2300));
  EXPECT_LE(timer_.Now() - before, milliseconds(3300));
}

TEST_F(DevicesTest, AHangWithNoDeviceLeftEndsTheCall) {
  FakeRuntime::Script hangs;
  hangs.async = FakeRuntime::Async::kHeld;
  runtime_.Set("dummy@GPU.0", hangs);
  runtime_.SetRenewError(absl::UnavailableError("still dead"));
  Serve("GPU.0", [](ModelSettings& settings) { settings.device_timeout_ms = 200; });
  ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.0"; }));
  EXPECT_EQ(Call().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Call().code(), StatusCode::kUnavailable);
}

TEST_F(DevicesTest, AnIdleDeviceIsAskedByACanary) {
  Serve("GPU.0", [](ModelSettings& settings) { settings.fallback_devices = {"GPU.1", "CPU"}; });
  ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.0" && StateOf("GPU.1") == "standby"; }));
  const size_t before = runtime_.infers();
  ASSERT_TRUE(Until([&] { return runtime_.infers() >= before + 3; }, seconds(10)));
  Break("canary@GPU.0", kLost);
  ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.1"; }, seconds(3)));
  EXPECT_EQ(Device("GPU.1").state, DeviceState::kWell);
}

TEST_F(DevicesTest, AnUnclearErrorIsSettledByTheCanary) {
  Serve("AUTO:GPU.0,CPU");
  ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.0" && StateOf("CPU") == "standby"; }));
  Break("dummy@GPU.0", MarkFault(absl::InternalError("odd"), Fault::kUnclear));
  EXPECT_TRUE(Call().ok()) << "the CPU answers";
  EXPECT_TRUE(Until([&] { return Device("GPU.0").state == DeviceState::kWell; }));
  EXPECT_EQ(ServedBy(), "GPU.0");
  EXPECT_THAT(runtime_.renewals(), IsEmpty());
}

TEST_F(DevicesTest, AModelThatDoesNotLoadOnTheFirstDeviceLoadsOnTheNext) {
  FakeRuntime::Script broken;
  broken.load_error = absl::InternalError("compiler says no");
  runtime_.Set("dummy@GPU.0", broken);
  Serve("AUTO:GPU.0,GPU.1,CPU");
  ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.1"; }));
  ASSERT_TRUE(Until([&] { return StateOf("GPU.0") == "failed"; }));
  EXPECT_THAT(manager_->Placement("dummy", std::nullopt)->reasons, Contains(HasSubstr("compiler says no")));
  EXPECT_TRUE(Call().ok());
}

TEST_F(DevicesTest, WhatDidNotLoadIsTriedAgainWithGrowingPausesAndGoesHome) {
  const auto tries = [&] {
    const std::vector<LoadRequest> loads = runtime_.load_requests();
    return std::count_if(loads.begin(), loads.end(), [](const LoadRequest& load) { return load.target == "GPU.0"; });
  };
  FakeRuntime::Script script;
  script.async = FakeRuntime::Async::kThread;
  script.load_error = absl::ResourceExhaustedError("no memory");
  runtime_.Set("dummy@GPU.0", script);
  Serve("AUTO:GPU.0,CPU");
  ASSERT_TRUE(Until([&] { return ServedBy() == "CPU" && tries() == 1; }));
  const TimePoint first = timer_.Now();
  for (int i = 2; i <= 5; ++i) {
    EXPECT_TRUE(Call().ok());
    ASSERT_TRUE(Until([&] { return tries() == i; }, seconds(120)));
  }
  // The clock may have gone on for a while before the first was seen.
  EXPECT_GE(timer_.Now() - first, seconds(1 + 2 + 4 + 8 - 2));
  EXPECT_THAT(Moves(), ElementsAre("GPU.0>CPU:load")) << "once, not at each try";
  script.load_error = absl::OkStatus();
  runtime_.Set("dummy@GPU.0", script);
  ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.0"; }, seconds(60)));
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(StateOf("CPU"), "standby");
}

TEST_F(DevicesTest, WhatTheModelIsRefusedForIsNotTriedAgain) {
  FakeRuntime::Script script;
  script.load_error = absl::InvalidArgumentError("the NPU takes static shapes");
  runtime_.Set("dummy@GPU.0", script);
  Serve("AUTO:GPU.0,CPU");
  ASSERT_TRUE(Until([&] { return ServedBy() == "CPU" && StateOf("GPU.0") == "failed"; }));
  const size_t loads = runtime_.loads();
  EXPECT_FALSE(Until([&] { return runtime_.loads() > loads; }, seconds(20)));
  EXPECT_EQ(StateOf("GPU.0"), "failed");
}

TEST_F(DevicesTest, OneOfTwoDevicesThatShareTheCallsMayDie) {
  Serve("MULTI:GPU.0,GPU.1");
  ASSERT_TRUE(Until([&] { return StateOf("GPU.0") == "serving" && StateOf("GPU.1") == "serving"; }));
  Break("dummy@GPU.0", kLost);
  runtime_.SetRenewError(absl::UnavailableError("still dead"));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Call(static_cast<float>(i)).ok());
  ASSERT_TRUE(Until([&] { return StateOf("GPU.0") == "lost"; }));
  EXPECT_TRUE(Call().ok());
  Break("dummy@GPU.0", absl::OkStatus());
  runtime_.SetRenewError(absl::OkStatus());
  ASSERT_TRUE(Until([&] { return StateOf("GPU.0") == "serving"; }, seconds(60)));
}

TEST_F(DevicesTest, WhatSharesTheCallsGoesHomeWithoutACallThatWaits) {
  Serve("MULTI:GPU.0", [](ModelSettings& settings) { settings.fallback_devices = {"CPU"}; });
  ASSERT_TRUE(Until([&] { return StateOf("GPU.0") == "serving" && StateOf("CPU") == "standby"; }));
  Break("dummy@GPU.0", kLost);
  EXPECT_TRUE(Call(3).ok());
  ASSERT_TRUE(Until([&] { return ServedBy() == "CPU"; }));
  FakeRuntime::Script slow = HoldLoad("dummy@GPU.0");
  ASSERT_TRUE(Until([&] { return StateOf("GPU.0") == "compiling"; }, seconds(60)));
  EXPECT_EQ(ServedBy(), "CPU");
  EXPECT_TRUE(manager_->Placement("dummy", std::nullopt)->helping);
  EXPECT_TRUE(manager_->Ready());
  const TimePoint before = timer_.Now();
  EXPECT_TRUE(Call(4).ok());
  EXPECT_LT(timer_.Now() - before, seconds(2));
  slow.hold_load = false;
  runtime_.Set("dummy@GPU.0", slow);
  ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.0" && StateOf("CPU") == "standby"; }));
  EXPECT_TRUE(Call(5).ok());
  EXPECT_THAT(Moves(), ElementsAre("GPU.0>CPU:error"));
}

TEST_F(DevicesTest, ADeviceThatGotNoLayerMayBeLost) {
  const std::string target = "HETERO:GPU.0,GPU.1";
  FakeRuntime::Script script;
  script.async = FakeRuntime::Async::kThread;
  script.facts.execution_devices = {"GPU.0"};
  runtime_.Set("dummy@" + target, script);
  ServeTwo(target, "GPU.1", [](ModelSettings&) {});
  runtime_.SetRenewError(absl::UnavailableError("still dead"));
  Break("canary@GPU.1", kLost);
  ASSERT_TRUE(Until([&] { return !manager_->ModelReady("other", std::nullopt); }));
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(StateOf(target), "serving");
  EXPECT_THAT(Device("GPU.0").models, ElementsAre("dummy"));
  EXPECT_THAT(Device("GPU.1").models, IsEmpty());
  Break("canary@GPU.0", kLost);
  ASSERT_TRUE(Until([&] { return StateOf(target) == "lost"; }));
  EXPECT_EQ(Call().code(), StatusCode::kUnavailable);
}

TEST_F(DevicesTest, AModelThatGaveItsMemoryBackTellsOfADeviceThatCameBack) {
  Serve("AUTO:GPU.0,CPU", [](ModelSettings& settings) { settings.idle_unload_seconds = 5; });
  ASSERT_TRUE(Until([&] { return ServedBy() == "GPU.0" && StateOf("CPU") == "standby"; }));
  runtime_.SetRenewError(absl::UnavailableError("still dead"));
  Break("dummy@GPU.0", kLost);
  EXPECT_TRUE(Call().ok());
  ASSERT_TRUE(Until([&] { return StateOf("GPU.0") == "lost" && StateOf("CPU") == "idle"; }, seconds(20)));
  runtime_.SetRenewError(absl::OkStatus());
  Break("dummy@GPU.0", absl::OkStatus());
  ASSERT_TRUE(Until([&] { return Device("GPU.0").state == DeviceState::kWell; }, seconds(90)));
  EXPECT_TRUE(Until([&] { return StateOf("GPU.0") == "idle"; }));
  EXPECT_TRUE(Call().ok());
}

TEST_F(DevicesTest, AMissingDeviceIsExplained) {
  Manager::Options options;
  options.explain_absent = [](const DeviceList&) {
    return std::vector<AbsentDevice>{{"NPU", "no /dev/accel", "pass --device /dev/accel"}};
  };
  manager_ = std::make_unique<Manager>(runtime_, timer_, options);
  ModelSettings settings = repository_.Add("dummy", {1});
  settings.target_device = "NPU";
  manager_->SetWanted({settings}, {});
  manager_->WaitForLoads();
  EXPECT_THAT(Call().ToString(), HasSubstr("no /dev/accel; pass --device /dev/accel"));
  EXPECT_THAT(Call().ToString(), HasSubstr("start it again when that one is there"));
  EXPECT_EQ(Device("NPU").state, DeviceState::kAbsent);
}

}  // namespace
}  // namespace switchyard
