// The Executor's part that says which lane takes a call.
#include <algorithm>

#include "serving/executor.h"
#include "serving/sequences.h"

namespace switchyard {
namespace {

bool Has(absl::Span<const std::shared_ptr<Lane>> lanes, const Lane& lane) {
  return std::any_of(lanes.begin(), lanes.end(), [&](const auto& one) { return one.get() == &lane; });
}

// Whether calls may go to another device than that one.
bool OtherOpen(const LaneRoute& route, const std::string& device) {
  return std::any_of(route.lanes.begin(), route.lanes.end(),
                     [&](const auto& lane) { return !lane->closed() && lane->device() != device; });
}

}  // namespace

size_t Executor::room() const {
  size_t count = 0;
  for (const auto& lane : Takers(route())) {
    if (!lane->closed()) count += lane->request_count();
  }
  return count;
}

// The lanes that take new calls now; closed ones may be among them.
absl::Span<const std::shared_ptr<Lane>> Executor::Takers(const LaneRoute& route) {
  const absl::Span<const std::shared_ptr<Lane>> lanes(route.lanes);
  const auto first = std::find_if(lanes.begin(), lanes.end(), [](const auto& lane) { return !lane->closed(); });
  const size_t at = static_cast<size_t>(first - lanes.begin());
  if (at == lanes.size()) return {};
  const size_t share = route.all ? lanes.size() - std::min(route.standby, lanes.size()) : 0;
  return at < share ? lanes.subspan(at, share - at) : lanes.subspan(at, 1);
}

// The lane's request, or none. Inline lanes are worth a moment of waiting: a cheap inference on another listener's thread ends
// sooner than a hand-over through the queue would take.
Executor::Place Executor::TakeFrom(Lane& lane) {
  constexpr int kSpins = 200;
  Place place{&lane, -1, lane.RunsInline()};
  place.slot = lane.TakeSlot();
  for (int i = 0; place.run_inline && place.slot < 0 && i < kSpins; ++i) {
    if (lane.closed() || queued_.load(std::memory_order_relaxed) > 0) return place;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
    place.slot = lane.TakeSlot();
  }
  return place;
}

// Of several lanes that share the calls.
Executor::Place Executor::TakeShared(absl::Span<const std::shared_ptr<Lane>> lanes, PlacementPlan::Schedule schedule) {
  const size_t count = lanes.size();
  const size_t first = schedule == PlacementPlan::Schedule::kRoundRobin ? turn_.fetch_add(1, std::memory_order_relaxed) : 0;
  if (schedule != PlacementPlan::Schedule::kFinishFirst) {
    for (size_t i = 0; i < count; ++i) {
      const Place place = TakeFrom(*lanes[(first + i) % count]);
      if (place.slot >= 0) return place;
    }
    return {};
  }
  // The lane that will be done first: a free one after its own service, a busy one after what is ahead of the call as well.
  Lane* best = nullptr;
  double best_ns = 0;
  const double ahead = static_cast<double>(queued() + 1);
  for (const auto& lane : lanes) {
    if (lane->closed()) continue;
    const double requests = static_cast<double>(lane->request_count());
    const bool busy = lane->active() >= lane->request_count();
    const double service = static_cast<double>(lane->service_ns());
    const double done = busy ? service * (1 + ahead / requests) : service;
    if (best == nullptr || done < best_ns) best = lane.get(), best_ns = done;
  }
  if (best == nullptr) return {};
  return TakeFrom(*best);
}

Executor::Place Executor::TakePlace(const InferCall& call) {
  if (call.sequence != nullptr) {
    if (Lane* const lane = call.sequence->lane()) return TakeFrom(*lane);
  }
  const LaneRoute& now = route();
  const absl::Span<const std::shared_ptr<Lane>> lanes = Takers(now);
  if (lanes.empty()) return {};
  return lanes.size() == 1 ? TakeFrom(*lanes.front()) : TakeShared(lanes, now.schedule);
}

bool Executor::Serves(const Lane& lane) const {
  const absl::Span<const std::shared_ptr<Lane>> lanes = Takers(route());
  return !lane.closed() && Has(lanes, lane);
}

// Whether something of what waits may be for the lane.
bool Executor::MayServe(const Lane& lane) const {
  if (lane.facts().stateful) return WaitsFor(lane);
  return Serves(lane) || (queued_retries_.load() > 0 && Has(route().lanes, lane));
}

// Which of the waiting calls the lane is to run next; null: none. One whose state is elsewhere is passed over, and so is one
// that this device failed, as long as there is another: what stands by there takes that, and nothing else.
InferCall* Executor::NextFor(const Lane& lane) const {
  if (lane.closed()) return nullptr;
  const LaneRoute& now = route();
  const bool stateful = lane.facts().stateful;
  const bool serves = Serves(lane);
  if (!serves && !stateful && queued_retries_.load() == 0) return nullptr;
  const bool in_route = Has(now.lanes, lane);
  const size_t worth = stateful ? 0 : WorthTaking(lane);
  size_t position = 0;
  for (const auto& call : queue_) {
    const bool late = position++ >= worth;
    const Lane* const pinned = call->sequence == nullptr ? nullptr : call->sequence->lane();
    bool takes = serves && late;
    if (pinned != nullptr) {
      takes = pinned == &lane;
    } else if (!call->failed_on_.empty()) {
      takes = call->failed_on_ == lane.device() ? serves && !OtherOpen(now, call->failed_on_) : in_route;
    }
    if (takes) return call.get();
  }
  return nullptr;
}

// The position in the queue from which on calls are done sooner on `lane` than on a faster one that is busy.
size_t Executor::WorthTaking(const Lane& lane) const {
  const LaneRoute& now = route();
  if (!now.all || now.schedule != PlacementPlan::Schedule::kFinishFirst) return 0;
  const double own = static_cast<double>(lane.service_ns());
  double position = 0;
  for (const auto& other : Takers(now)) {
    const double service = static_cast<double>(other->service_ns());
    if (other.get() == &lane || other->closed() || service <= 0 || service >= own) continue;
    // The call at position p is done there after service * (1 + (p + 1) / requests).
    position = std::max(position, (own / service - 1) * static_cast<double>(other->request_count()) - 1);
  }
  return position <= 0 ? 0 : static_cast<size_t>(position) + 1;
}

}  // namespace switchyard
