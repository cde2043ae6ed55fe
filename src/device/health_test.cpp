#include "device/health.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace switchyard {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Kind = HealthEvent::Kind;
using State = DeviceState;

const TimePoint kStart = TimePoint(std::chrono::hours(1));

// A device whose events happen at `now`, about the generation that it has.
class DeviceHealthTest : public ::testing::Test {
 protected:
  bool Apply(Kind kind, const std::string& reason = "reason") {
    return health_.Apply({kind, health_.generation(), reason}, now_);
  }
  Duration Pause() const { return health_.next_try() - now_; }
  // Waits for its next try and begins it.
  void Begin() {
    now_ = health_.next_try();
    ASSERT_TRUE(Apply(Kind::kProbationBegun));
  }

  TimePoint now_ = kStart;
  DeviceHealth health_{State::kWell, kStart};
};

std::string Shown(State state) { return std::string(Name(state)); }

TEST_F(DeviceHealthTest, StatesHaveNames) {
  EXPECT_EQ(Name(State::kWell), "well");
  EXPECT_EQ(Name(State::kSuspect), "suspect");
  EXPECT_EQ(Name(State::kLost), "lost");
  EXPECT_EQ(Name(State::kProbation), "probation");
  EXPECT_EQ(Name(State::kAbsent), "absent");
}

TEST_F(DeviceHealthTest, EveryEventInEveryState) {
  const Kind kinds[] = {Kind::kFatalError,      Kind::kUnclearError,   Kind::kHang,
                        Kind::kCanaryFailed,    Kind::kCanaryPassed,   Kind::kProbationBegun,
                        Kind::kProbationFailed, Kind::kProbationPassed};
  const std::optional<State> stays;
  const struct {
    State from;
    std::vector<std::optional<State>> to;  // in the order of `kinds`
  } cases[] = {
      {State::kWell, {State::kLost, State::kSuspect, State::kLost, State::kLost, stays, stays, stays, stays}},
      {State::kSuspect, {State::kLost, stays, State::kLost, State::kLost, State::kWell, stays, stays, stays}},
      {State::kLost, {stays, stays, stays, stays, stays, State::kProbation, stays, stays}},
      {State::kProbation, {State::kLost, stays, State::kLost, State::kLost, stays, stays, State::kLost, State::kWell}},
      {State::kAbsent, {stays, stays, stays, stays, stays, stays, stays, stays}},
  };
  for (const auto& c : cases) {
    for (size_t i = 0; i < std::size(kinds); ++i) {
      DeviceHealth health(c.from, kStart, "before");
      const TimePoint later = kStart + seconds(1);
      EXPECT_EQ(health.Apply({kinds[i], 0, "after"}, later), c.to[i].has_value()) << Shown(c.from) << " " << i;
      EXPECT_EQ(Shown(health.state()), Shown(c.to[i].value_or(c.from))) << Shown(c.from) << " " << i;
      EXPECT_EQ(health.since(), c.to[i].has_value() ? later : kStart) << Shown(c.from) << " " << i;
    }
  }
}

TEST_F(DeviceHealthTest, CallsGoToDevicesThatServe) {
  EXPECT_TRUE(health_.usable());
  Apply(Kind::kUnclearError);
  EXPECT_TRUE(health_.usable()) << "suspect: a canary has yet to tell";
  Apply(Kind::kCanaryFailed);
  EXPECT_FALSE(health_.usable());
  Begin();
  EXPECT_FALSE(health_.usable());
  Apply(Kind::kProbationPassed);
  EXPECT_TRUE(health_.usable());
  EXPECT_FALSE(DeviceHealth(State::kAbsent, kStart).usable());
}

TEST_F(DeviceHealthTest, TheReasonIsTheLastOneUntilItIsWell) {
  Apply(Kind::kUnclearError, "odd");
  EXPECT_EQ(health_.reason(), "odd");
  Apply(Kind::kUnclearError, "odder");
  EXPECT_EQ(health_.reason(), "odd") << "nothing changed";
  Apply(Kind::kCanaryPassed);
  EXPECT_EQ(health_.reason(), "");
  Apply(Kind::kFatalError, "out of resources");
  Begin();
  EXPECT_EQ(health_.reason(), "out of resources");
  Apply(Kind::kHang, "");
  EXPECT_EQ(health_.reason(), "out of resources");
  Begin();
  Apply(Kind::kProbationFailed, "no driver");
  EXPECT_EQ(health_.reason(), "no driver");
  Begin();
  Apply(Kind::kProbationPassed);
  EXPECT_EQ(health_.reason(), "");
}

TEST_F(DeviceHealthTest, OtherGenerationsSayNothing) {
  EXPECT_FALSE(health_.Apply({Kind::kFatalError, 1, ""}, now_)) << "not made yet";
  Apply(Kind::kHang);
  EXPECT_EQ(health_.generation(), 0u);
  Begin();
  EXPECT_EQ(health_.generation(), 1u);
  EXPECT_FALSE(health_.Apply({Kind::kHang, 0, ""}, now_)) << "a call of the lost generation";
  EXPECT_EQ(health_.state(), State::kProbation);
  EXPECT_TRUE(health_.Apply({Kind::kProbationPassed, 1, ""}, now_));
  EXPECT_FALSE(health_.Apply({Kind::kFatalError, 0, ""}, now_)) << "a late error of the lost generation";
  EXPECT_EQ(health_.state(), State::kWell);
}

TEST_F(DeviceHealthTest, PausesGrowToTheLongest) {
  Apply(Kind::kFatalError);
  for (const Duration pause : std::initializer_list<Duration>{milliseconds(500), seconds(1), seconds(2), seconds(4), seconds(8),
                                                              seconds(16), seconds(32), seconds(60), seconds(60)}) {
    EXPECT_EQ(Pause(), pause);
    Begin();
    now_ += seconds(3);  // the pause begins when the try has ended
    Apply(Kind::kProbationFailed);
  }
}

TEST_F(DeviceHealthTest, OneThatIsLostAgainSoonWaitsLonger) {
  Apply(Kind::kFatalError);
  EXPECT_EQ(Pause(), milliseconds(500));
  Begin();
  Apply(Kind::kProbationPassed);
  now_ += seconds(60) - milliseconds(1);
  Apply(Kind::kHang);
  EXPECT_EQ(Pause(), seconds(1));
}

TEST_F(DeviceHealthTest, OneThatServedLongBeginsWithTheFirstPause) {
  Apply(Kind::kFatalError);
  Begin();
  Apply(Kind::kProbationFailed);
  EXPECT_EQ(Pause(), seconds(1));
  Begin();
  Apply(Kind::kProbationPassed);
  // A suspicion in between, which a canary allays, does not undo that it serves.
  now_ += seconds(50);
  Apply(Kind::kUnclearError);
  Apply(Kind::kCanaryPassed);
  now_ += seconds(10);
  Apply(Kind::kFatalError);
  EXPECT_EQ(Pause(), milliseconds(500));
}

}  // namespace
}  // namespace switchyard
