#include "serving/batch_queue.h"

#include <algorithm>
#include <utility>

#include "serving/batch_tensors.h"
#include "serving/priority.h"

namespace switchyard {

BatchQueue::BatchQueue(Signature signature, size_t max_rows, Duration max_delay)
    : signature_(std::move(signature)), max_rows_(max_rows), max_delay_(max_delay) {
  for (const TensorSpec& spec : signature_.inputs) {
    one_shape_ = one_shape_ && !spec.shape.dynamic_rank;
    for (size_t dim = 0; dim < spec.shape.dims.size(); ++dim) {
      one_shape_ = one_shape_ && (dim == spec.batch_dim || spec.shape.dims[dim].is_static());
    }
  }
}

BatchGroup& BatchQueue::GroupFor(const InferCall& call, bool alone) {
  if (!alone) {
    for (BatchGroup& group : groups_) {
      if (!group.alone && (one_shape_ || MayJoin(signature_, *group.calls.front(), call))) return group;
    }
  }
  BatchGroup& made = groups_.emplace_back();
  made.alone = alone;
  return made;
}

void BatchQueue::Add(std::shared_ptr<InferCall> call, bool alone) {
  BatchGroup& group = GroupFor(*call, alone);
  InferCall& added = *call;
  added.batch_entry.position = InsertByOrder(group.calls, std::move(call));
  added.batch_entry.group = &group;
  ++size_;
}

std::shared_ptr<InferCall> BatchQueue::TakeOut(BatchGroup& group, Position position) {
  std::shared_ptr<InferCall> call = std::move(*position);
  group.calls.erase(position);
  call->batch_entry.group = nullptr;
  --size_;
  return call;
}

bool BatchQueue::Remove(InferCall& call) {
  BatchGroup* const group = call.batch_entry.group;
  if (group == nullptr) return false;
  const std::shared_ptr<InferCall> held = TakeOut(*group, call.batch_entry.position);
  if (group->calls.empty()) groups_.remove_if([group](const BatchGroup& other) { return &other == group; });
  return true;
}

std::optional<TimePoint> BatchQueue::oldest() const {
  std::optional<TimePoint> oldest;
  for (const BatchGroup& group : groups_) {
    for (const auto& call : group.calls) {
      if (!oldest || call->batch_entry.since < *oldest) oldest = call->batch_entry.since;
    }
  }
  return oldest;
}

BatchQueue::Next BatchQueue::Take(TimePoint now, BatchCost& cost) {
  Next next;
  std::vector<BatchGroup*> in_order;
  for (BatchGroup& group : groups_) in_order.push_back(&group);
  std::sort(in_order.begin(), in_order.end(), [](const BatchGroup* a, const BatchGroup* b) {
    return a->calls.front()->queue_order < b->calls.front()->queue_order;
  });
  for (BatchGroup* const group : in_order) {
    const Choice choice = Choose(*group, now, cost, next.late);
    if (choice.ready) {
      next.rows = choice.rows;
      for (const Position position : choice.calls) next.batch.push_back(TakeOut(*group, position));
      break;
    }
    next.wake = std::min(next.wake, choice.wake);
  }
  groups_.remove_if([](const BatchGroup& group) { return group.calls.empty(); });
  return next;
}

BatchQueue::Choice BatchQueue::Choose(BatchGroup& group, TimePoint now, BatchCost& cost,
                                      std::vector<std::shared_ptr<InferCall>>& late) {
  Choice choice;
  bool full = group.alone;
  size_t known_rows = 0;
  Duration least{0};  // for so many rows
  for (Position at = group.calls.begin(); at != group.calls.end() && choice.rows < max_rows_;) {
    const Position position = at++;
    const InferCall& call = **position;
    const size_t rows = call.batch_entry.rows;
    // Cancelled while it was being put here.
    if (call.completed()) {
      TakeOut(group, position);
      continue;
    }
    if (call.request.deadline != kNoDeadline && std::exchange(known_rows, rows) != rows) least = cost.AtLeast(rows);
    if (call.request.deadline != kNoDeadline && now + least > call.request.deadline) {
      cost.Doubt(now);
      late.push_back(TakeOut(group, position));
      continue;
    }
    if (choice.rows + rows > max_rows_) {
      full = true;
      break;
    }
    choice.calls.push_back(position);
    choice.rows += rows;
  }
  if (choice.calls.empty()) return choice;
  full = full || choice.rows == max_rows_;
  const size_t wanted = choice.calls.size();
  KeepDeadlines(group, now, cost, choice);
  choice.wake = HoldUntil(choice, now, cost);
  choice.ready = full || choice.calls.size() < wanted || choice.wake <= now;
  return choice;
}

// Makes the batch smaller until its inference ends before the deadlines in it, as far as one can say; the first call stays.
void BatchQueue::KeepDeadlines(BatchGroup& group, TimePoint now, const BatchCost& cost, Choice& choice) const {
  std::vector<TimePoint> earliest;  // of the calls up to each
  for (const Position position : choice.calls) {
    const TimePoint deadline = (*position)->request.deadline;
    earliest.push_back(earliest.empty() ? deadline : std::min(earliest.back(), deadline));
  }
  if (earliest.back() == kNoDeadline) return;
  size_t count = choice.calls.size();
  size_t rows = choice.rows;
  while (count > 1 && now + cost.Rarely(rows).value_or(Duration::zero()) > earliest[count - 1]) {
    rows -= (*choice.calls[--count])->batch_entry.rows;
  }
  if (count == choice.calls.size()) return;
  const bool more_waits = choice.rows == max_rows_ || choice.calls.size() < group.calls.size();
  const bool equal = group.calls.front()->queue_level >= group.calls.back()->queue_level;
  if (more_waits && equal && 2 * rows < max_rows_) {
    Choice others = PassOver(group, now + cost.Rarely(max_rows_).value_or(Duration::zero()));
    if (others.rows > rows) {
      choice = std::move(others);
      return;
    }
  }
  choice.calls.resize(count);
  choice.rows = rows;
}

BatchQueue::Choice BatchQueue::PassOver(BatchGroup& group, TimePoint limit) const {
  Choice choice;
  for (Position at = group.calls.begin(); at != group.calls.end(); ++at) {
    if ((*at)->request.deadline < limit) continue;
    if (choice.rows + (*at)->batch_entry.rows > max_rows_) break;
    choice.calls.push_back(at);
    choice.rows += (*at)->batch_entry.rows;
  }
  return choice;
}

TimePoint BatchQueue::HoldUntil(const Choice& choice, TimePoint now, const BatchCost& cost) const {
  TimePoint until = kNoDeadline;
  const std::optional<Duration> takes = cost.Rarely(choice.rows);
  for (const Position position : choice.calls) {
    until = std::min(until, (*position)->batch_entry.since + max_delay_);
    const TimePoint deadline = (*position)->request.deadline;
    if (deadline == kNoDeadline) continue;
    const Duration margin = std::max(kLeastMargin, (deadline - (*position)->batch_entry.since) / 8);
    until = takes ? std::min(until, deadline - *takes - margin) : now;
  }
  return until;
}

}  // namespace switchyard
