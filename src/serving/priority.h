// The order of waiting calls, by KServe's `priority` parameter.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <list>
#include <utility>

#include "base/timer.h"
#include "config/settings.h"

namespace switchyard {

// A call goes before one of the level below that came up to so much earlier. So the levels order what waits, and nothing waits
// for ever: whoever has waited for so long goes before fresh calls of the next level.
inline constexpr Duration kPriorityStep = std::chrono::seconds(1);

// `priority` as it was sent to one of 1 ... levels.
inline uint32_t LevelOf(const PriorityLevels& priorities, uint64_t priority) {
  return priority == 0 ? priorities.standard : static_cast<uint32_t>(std::min<uint64_t>(priority, priorities.levels));
}

// What waiting calls are sorted by, ascending.
inline TimePoint QueueOrder(uint32_t level, TimePoint arrived) { return arrived + (level - 1) * kPriorityStep; }

// Puts a call into a queue that is sorted by queue_order, behind its equals.
template <typename Call>
typename std::list<Call>::iterator InsertByOrder(std::list<Call>& queue, Call call) {
  auto at = queue.end();
  while (at != queue.begin() && (*std::prev(at))->queue_order > call->queue_order) --at;
  return queue.insert(at, std::move(call));
}

}  // namespace switchyard
