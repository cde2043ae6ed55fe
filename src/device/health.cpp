#include "device/health.h"

#include <algorithm>

namespace switchyard {

using Kind = HealthEvent::Kind;

std::string_view Name(DeviceState state) {
  switch (state) {
    case DeviceState::kWell:
      return "well";
    case DeviceState::kSuspect:
      return "suspect";
    case DeviceState::kLost:
      return "lost";
    case DeviceState::kProbation:
      return "probation";
    case DeviceState::kAbsent:
      break;
  }
  return "absent";
}

bool DeviceHealth::Apply(const HealthEvent& event, TimePoint now) {
  if (event.generation != generation_) return false;
  switch (state_) {
    case DeviceState::kWell:
    case DeviceState::kSuspect:
      return ApplyServing(event, now);
    case DeviceState::kLost:
      return ApplyLost(event, now);
    case DeviceState::kProbation:
      return ApplyProbation(event, now);
    case DeviceState::kAbsent:
      break;
  }
  return false;
}

bool DeviceHealth::ApplyServing(const HealthEvent& event, TimePoint now) {
  switch (event.kind) {
    case Kind::kFatalError:
    case Kind::kHang:
    case Kind::kCanaryFailed:
      if (now - returned_ >= kTrusted) pause_ = kFirstPause;
      Lose(now, event.reason);
      return true;
    case Kind::kUnclearError:
      if (state_ == DeviceState::kSuspect) return false;
      Move(DeviceState::kSuspect, now, event.reason);
      return true;
    case Kind::kCanaryPassed:
      if (state_ == DeviceState::kWell) return false;
      Move(DeviceState::kWell, now, "");
      return true;
    case Kind::kProbationBegun:
    case Kind::kProbationFailed:
    case Kind::kProbationPassed:
      break;
  }
  return false;
}

bool DeviceHealth::ApplyLost(const HealthEvent& event, TimePoint now) {
  // Anything else is an echo of what lost it.
  if (event.kind != Kind::kProbationBegun) return false;
  ++generation_;
  Move(DeviceState::kProbation, now, std::move(reason_));
  return true;
}

bool DeviceHealth::ApplyProbation(const HealthEvent& event, TimePoint now) {
  switch (event.kind) {
    case Kind::kProbationPassed:
      returned_ = now;
      Move(DeviceState::kWell, now, "");
      return true;
    case Kind::kProbationFailed:
    case Kind::kFatalError:
    case Kind::kHang:
    case Kind::kCanaryFailed:
      Lose(now, event.reason.empty() ? std::move(reason_) : event.reason);
      return true;
    // A single answer does not end a probation, nor does an error that may be a model's: who conducts it says how it ended.
    case Kind::kCanaryPassed:
    case Kind::kUnclearError:
    case Kind::kProbationBegun:
      break;
  }
  return false;
}

void DeviceHealth::Move(DeviceState state, TimePoint now, std::string reason) {
  state_ = state;
  since_ = now;
  reason_ = std::move(reason);
}

void DeviceHealth::Lose(TimePoint now, std::string reason) {
  next_try_ = now + pause_;
  pause_ = std::min(2 * pause_, kLongestPause);
  Move(DeviceState::kLost, now, std::move(reason));
}

}  // namespace switchyard
