// The Manager on devices that are lost, or hang, while others have work of the same thread or model.
#include "serving/test_devices.h"

namespace switchyard {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

class DevicesLostTest : public DevicesTest {
 protected:
  ModelSettings On(const std::string& name, const std::string& target) {
    ModelSettings settings = repository_.Add(name, {1});
    settings.target_device = target;
    return settings;
  }
  // GPU.0 is lost while it compiles a model, and "dummy" waits behind that for the check of its properties.
  void LoseWhileChecking(const std::string& target) {
    HoldLoad("slow@GPU.0");
    manager_ = std::make_unique<Manager>(runtime_, timer_, Manager::Options{});
    const ModelSettings other = On("other", "GPU.0"), slow = On("slow", "GPU.0");
    manager_->SetWanted({other}, {});
    ASSERT_TRUE(Until([&] { return manager_->ModelReady("other", std::nullopt); }));
    manager_->SetWanted({other, slow}, {});
    ASSERT_TRUE(runtime_.WaitForLoads(2));
    manager_->SetWanted({other, slow, On("dummy", target)}, {});
    const auto loading = [&] {
      const auto status = manager_->StatusOf("dummy");
      return status.ok() && status->versions[0].state == VersionState::kLoading;
    };
    ASSERT_TRUE(Until(loading));
    ASSERT_FALSE(Until([&] { return !loading(); }, milliseconds(500))) << "it waits";
    runtime_.SetRenewError(absl::UnavailableError("still dead"));
    Break("canary@GPU.0", kLost);
    ASSERT_TRUE(Until([&] { return !Device("GPU.0").reason.empty(); }));
  }
  void EndSlowLoads() {
    runtime_.Update("slow@GPU.0", [](FakeRuntime::Script& script) { script.hold_load = false; });
  }
};

TEST_F(DevicesLostTest, AModelWhoseCheckWaitsForALostDeviceLoadsOnTheNext) {
  LoseWhileChecking("AUTO:GPU.0,CPU");
  EXPECT_TRUE(Until([&] { return ServedBy() == "CPU"; }));
  EXPECT_TRUE(Call().ok());
  EndSlowLoads();
}

TEST_F(DevicesLostTest, WithNoOtherDeviceItSaysSoUntilThatIsBack) {
  LoseWhileChecking("GPU.0");
  const auto why = [&] { return manager_->StatusOf("dummy")->versions[0].error.ToString(); };
  ASSERT_TRUE(Until([&] { return why().find("device GPU.0 is") != std::string::npos; })) << why();
  manager_->WaitForLoads();
  EndSlowLoads();
  Break("canary@GPU.0", absl::OkStatus());
  runtime_.SetRenewError(absl::OkStatus());
  EXPECT_TRUE(Until([&] { return ServedBy() == "GPU.0"; }, seconds(60)));
  EXPECT_TRUE(Call().ok());
}

TEST_F(DevicesLostTest, ALoadForTheCpuAndADeviceThatHangsKeepsNoOtherFromTheCpu) {
  const std::string target = "HETERO:CPU,GPU.0";
  FakeRuntime::Script slow = HoldLoad("dummy@" + target);
  Serve(target);
  ASSERT_TRUE(runtime_.WaitForLoads(1));
  manager_->SetWanted({On("dummy", target), On("other", "CPU")}, {});
  EXPECT_TRUE(Until([&] { return manager_->ModelReady("other", std::nullopt); }));
  EXPECT_EQ(manager_->StatusOf("dummy")->versions[0].state, VersionState::kLoading);
  slow.hold_load = false;
  runtime_.Set("dummy@" + target, slow);
  EXPECT_TRUE(Until([&] { return ServedBy() == target; }));
}

}  // namespace
}  // namespace switchyard
