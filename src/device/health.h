// What is known of a device's health, as pure transitions: no clock, no threads, no runtime. The monitor (serving/) feeds
// events and acts on what comes out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/timer.h"

namespace switchyard {

//   kWell      -> kSuspect    an error, or an inference without an end, that may be the model's or the device's; a canary
//                             decides
//   kWell, kSuspect -> kLost  a fatal error, a hang, or a failed canary
//   kSuspect   -> kWell       the canary succeeded
//   kLost      -> kProbation  a new generation is being made and asked
//   kProbation -> kWell       its canary succeeded
//   kProbation -> kLost       it failed, the device erred or did not answer in time; the next try waits twice as long
// kAbsent is a device that the runtime does not find; it leaves that state only by a restart.
enum class DeviceState { kWell, kSuspect, kLost, kProbation, kAbsent };
std::string_view Name(DeviceState state);  // "well", "suspect", "lost", "probation", "absent"

struct HealthEvent {
  enum class Kind {
    kFatalError,    // the device said so (CL_OUT_OF_RESOURCES, DEVICE_LOST, ...)
    kUnclearError,  // an inference failed, and the text does not tell whose fault it is; or it did not end in time
    kHang,          // nor did a canary, or the device has none
    kCanaryFailed,
    kCanaryPassed,
    kProbationBegun,
    kProbationFailed,
    kProbationPassed,
  };
  Kind kind = Kind::kCanaryPassed;
  // That the event is about; events of another generation say nothing. kProbationBegun is about the generation that was lost.
  uint64_t generation = 0;
  std::string reason;
};

class DeviceHealth {
 public:
  static constexpr Duration kFirstPause = std::chrono::milliseconds(500);
  static constexpr Duration kLongestPause = std::chrono::seconds(60);
  // A device that served this long since it last came back begins again with the first pause when it is lost; one that is lost
  // sooner goes on with the longer ones, so that it doesn't take its models to and fro.
  static constexpr Duration kTrusted = std::chrono::seconds(60);

  DeviceHealth() = default;
  explicit DeviceHealth(DeviceState state, TimePoint since, std::string reason = "")
      : state_(state), since_(since), reason_(std::move(reason)) {}

  // Applies an event that happened at `now`. True if the state changed. Events that do not fit the state, or that are of
  // another generation, are ignored.
  bool Apply(const HealthEvent& event, TimePoint now);

  DeviceState state() const { return state_; }
  TimePoint since() const { return since_; }
  const std::string& reason() const { return reason_; }  // empty when well; on probation, why it was lost
  // Rises by one at each kProbationBegun.
  uint64_t generation() const { return generation_; }
  // kLost: when the next probation begins.
  TimePoint next_try() const { return next_try_; }
  // May calls be sent there?
  bool usable() const { return state_ == DeviceState::kWell || state_ == DeviceState::kSuspect; }

 private:
  // Of a device that serves, is lost, and is on probation.
  bool ApplyServing(const HealthEvent& event, TimePoint now);
  bool ApplyLost(const HealthEvent& event, TimePoint now);
  bool ApplyProbation(const HealthEvent& event, TimePoint now);
  void Move(DeviceState state, TimePoint now, std::string reason);
  void Lose(TimePoint now, std::string reason);

  DeviceState state_ = DeviceState::kWell;
  TimePoint since_{};
  std::string reason_;
  uint64_t generation_ = 0;
  TimePoint next_try_{};
  TimePoint returned_{};          // when it was last taken back
  Duration pause_ = kFirstPause;  // before the next try, if it is lost now
};

}  // namespace switchyard
