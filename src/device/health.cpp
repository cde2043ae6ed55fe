#include "device/health.h"

#include <algorithm>
#include <utility>

namespace switchyard {

std::string_view Name(DeviceState state) {
  switch (state) {
    case DeviceState::kWell: return "well";
    case DeviceState::kSuspect: return "suspect";
    case DeviceState::kLost: return "lost";
    case DeviceState::kProbation: return "probation";
    case DeviceState::kAbsent: return "absent";
  }
  return "well";
}

void DeviceHealth::Move(DeviceState state, TimePoint now, std::string reason) {
  state_ = state;
  since_ = now;
  reason_ = std::move(reason);
}

bool DeviceHealth::Apply(const HealthEvent& event, TimePoint now) {
  using Kind = HealthEvent::Kind;
  if (event.generation != generation_ || state_ == DeviceState::kAbsent) return false;
  switch (event.kind) {
    case Kind::kFatalError:
    case Kind::kHang:
    case Kind::kCanaryFailed:
      if (!usable()) return false;
      if (state_ == DeviceState::kWell && now - since_ >= kLongestPause) pause_ = kFirstPause;
      Move(DeviceState::kLost, now, event.reason);
      next_try_ = now + pause_;
      return true;
    case Kind::kUnclearError:
      if (state_ != DeviceState::kWell) return false;
      Move(DeviceState::kSuspect, now, event.reason);
      return true;
    case Kind::kCanaryPassed:
      if (state_ != DeviceState::kSuspect) return false;
      Move(DeviceState::kWell, now, "");
      return true;
    case Kind::kProbationBegun:
      if (state_ != DeviceState::kLost) return false;
      ++generation_;
      Move(DeviceState::kProbation, now, event.reason);
      return true;
    case Kind::kProbationFailed:
      if (state_ != DeviceState::kProbation) return false;
      pause_ = std::min(2 * pause_, kLongestPause);
      Move(DeviceState::kLost, now, event.reason);
      next_try_ = now + pause_;
      return true;
    case Kind::kProbationPassed:
      if (state_ != DeviceState::kProbation) return false;
      Move(DeviceState::kWell, now, "");
      return true;
  }
  return false;
}

}  // namespace switchyard
