// The Placer's part that tells: of moves, of why nothing serves, of what is where.
#include <algorithm>

#include "base/log.h"
#include "serving/placer_rows.h"

namespace switchyard {

// Where the calls of a candidate go: to what serves, or to what they wait for.
std::string Placer::NextFor(size_t lost, const PlacementDecision& decision) const {
  if (!decision.route.empty()) return plan_.candidates[decision.route.front()].devices.front();
  std::string next = "none";
  for (size_t i = rows_.size(); i-- > 0;) {
    const bool comes = rows_[i]->usable && rows_[i]->state == LaneState::kCompiling;
    // Itself, as a new generation, where there is no other.
    if (comes && (i != lost || next == "none")) next = plan_.candidates[i].devices.front();
  }
  return next;
}

void Placer::TellMoves(const PlacementDecision& decision) {
  const auto target = [&](size_t index) -> const std::string& { return plan_.candidates[index].devices.front(); };
  for (const auto& [index, why] : lost_) {
    const std::string next = NextFor(index, decision);
    const bool failed_to_load = rows_[index]->state == LaneState::kFailed && !rows_[index]->ran;
    // A standby that does not load moves nothing, nor does a model that never was anywhere.
    const bool shares = plan_.mode == PlacementPlan::Mode::kAll && !plan_.candidates[index].fallback;
    const bool stands_by = !shares && !decision.route.empty() && index > decision.route.front();
    if (failed_to_load && (next == "none" || stands_by)) continue;
    LogWarning("Model {} version {} leaves {} for {}: {}", base_.settings.name, base_.version, plan_.candidates[index].target,
               next, Message(why));
    const bool hung = why.code() == StatusCode::kDeadlineExceeded;
    const char* reason = failed_to_load ? "load" : hung ? "hang" : "error";
    if (env_.on_failover) env_.on_failover(base_.settings.name, target(index), next, reason);
  }
  if (decision.route.empty()) return;
  const std::string& serves = plan_.candidates[decision.route.front()].target;
  if (serves == served_by_) return;
  LogInfo("Model {} version {} is served by {}{}{}", base_.settings.name, base_.version, serves,
          decision.helping ? " while a better device is being made ready" : "",
          served_by_.empty() ? "" : ", after " + served_by_);
  served_by_ = serves;
}

Status Placer::WhyNone() const {
  Status why;
  for (size_t i = 0; i < rows_.size(); ++i) {
    Status one = rows_[i]->error;
    if (!rows_[i]->usable) one = env_.monitor.WhyNot(plan_.candidates[i].devices);
    if (one.ok()) continue;
    one = rows_.size() == 1 ? one : Annotate(one, plan_.candidates[i].target);
    why = why.ok() ? one : Status(why.code(), fmt::format("{}; {}", Message(why), Message(one)));
  }
  return why.ok() ? Error(StatusCode::kUnavailable, "no device serves it") : why;
}

Status Placer::Refusal() const {
  const Status why = WhyNone();
  const std::string& name = base_.settings.name;
  if (shape_.empty()) return Error(StatusCode::kUnavailable, "Model {} cannot be served now: {}", name, Message(why));
  if (why.code() == StatusCode::kInvalidArgument) {
    return InvalidArgument("Model {} does not take {}: {}", name, shape_, Message(why));
  }
  return Error(StatusCode::kUnavailable, "Model {} cannot be served now for {}: {}", name, shape_, Message(why));
}

void Placer::Remember(const PlacementDecision& decision) {
  PlacementReport report{.target_device = plan_.asked,
                         .execution_devices = {},
                         .helping = decision.helping,
                         .targets = {},
                         .reasons = plan_.notes};
  report.reasons.insert(report.reasons.end(), plan_.reasons.begin(), plan_.reasons.end());
  for (size_t i = 0; i < rows_.size(); ++i) {
    const Row& row = *rows_[i];
    const Candidate& candidate = plan_.candidates[i];
    TargetPlacement target{.target = candidate.target, .device = candidate.devices.front()};
    const auto place = std::find(decision.route.begin(), decision.route.end(), i);
    if (place != decision.route.end()) {
      const auto behind = static_cast<size_t>(decision.route.end() - place);
      target.state = behind <= decision.standby ? "standby" : "serving";
    } else if (!row.usable) {
      target.state = "lost";
      target.reason = std::string(Message(env_.monitor.WhyNot(candidate.devices)));
    } else if (row.state == LaneState::kFailed) {
      target.state = "failed";
      target.reason = std::string(Message(row.error));
    } else {
      target.state = row.state == LaneState::kCompiling ? "compiling" : "idle";
      target.reason = std::string(Message(row.error));  // of the try before
    }
    if (row.lane != nullptr) {
      target.facts = row.lane->facts();
      target.execution_devices = target.facts->execution_devices;
      target.num_requests = row.lane->request_count();
      for (const std::string& reason : target.facts->reasons) report.reasons.push_back(reason);
    }
    if (target.state == "serving") {
      for (const std::string& device : target.execution_devices) report.execution_devices.push_back(device);
    }
    if (!target.reason.empty()) report.reasons.push_back(fmt::format("{} does not serve: {}", target.target, target.reason));
    report.targets.push_back(std::move(target));
  }
  MutexLock lock(&mutex_);
  told_why_ = why_;
  report_ = std::move(report);
}

Status Placer::Why() const {
  MutexLock lock(&mutex_);
  return told_why_;
}

PlacementReport Placer::Report() const {
  MutexLock lock(&mutex_);
  PlacementReport report = report_;
  for (size_t i = 0; i < report.targets.size(); ++i) {
    report.targets[i].requests_served = served_[i]->load(std::memory_order_relaxed);
  }
  report.auto_shapes = shapes_ != nullptr;
  if (shapes_ != nullptr) report.shapes = shapes_->Report();
  return report;
}

}  // namespace switchyard
