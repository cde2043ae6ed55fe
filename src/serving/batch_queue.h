// The calls of one model that wait to be joined, and which of them go next.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "base/timer.h"
#include "serving/batch_cost.h"
#include "serving/infer_call.h"
#include "tensor/signature.h"

namespace switchyard {

// Calls that may run in one inference: of equal shapes but for the batch. In the order of their priority and arrival.
struct BatchGroup {
  std::list<std::shared_ptr<InferCall>> calls;
  bool alone = false;  // one call that nothing may join
};

// Not thread-safe. Decides, does nothing:
// - A batch has max_rows at most, and every call whole. It goes when the next call does not fit, when its oldest call has
// waited
//   for max_delay, or when a deadline in it would not be safe later: before the deadline by what an inference of its size
//   rarely exceeds. A deadline is safe for no time while no inference was measured.
// - A call that would make a deadline before it unsafe stays behind. While more waits than a batch holds, calls whose deadlines
//   would cut the batch to less than its half are passed over instead, unless their priority is above the others'.
// - A call that cannot be done by its deadline even alone is given up.
class BatchQueue {
 public:
  struct Next {
    std::vector<std::shared_ptr<InferCall>> batch;  // to run now; empty: nothing yet
    size_t rows = 0;                                // of it
    std::vector<std::shared_ptr<InferCall>> late;   // given up
    TimePoint wake = kNoDeadline;                   // without a batch: when to ask again
  };
  // How long before it would be too late a held batch goes: an eighth of the time that its tightest call had, and this at
  // least. A timer may be late, and the answer has its way to go.
  static constexpr Duration kLeastMargin = std::chrono::milliseconds(1);

  BatchQueue(Signature signature, size_t max_rows, Duration max_delay);

  // The call's batch_entry says its rows and since when it waits. `alone`: it is not joined with others.
  void Add(std::shared_ptr<InferCall> call, bool alone);
  // False: the call does not wait here.
  bool Remove(InferCall& call);
  // Takes out what is to run now, and what is given up.
  Next Take(TimePoint now, BatchCost& cost);

  size_t size() const { return size_; }
  // Since when the call that has waited longest waits.
  std::optional<TimePoint> oldest() const;

 private:
  using Position = std::list<std::shared_ptr<InferCall>>::iterator;
  struct Choice {
    std::vector<Position> calls;
    size_t rows = 0;
    bool ready = false;
    TimePoint wake = kNoDeadline;
  };

  BatchGroup& GroupFor(const InferCall& call, bool alone);
  Choice Choose(BatchGroup& group, TimePoint now, BatchCost& cost, std::vector<std::shared_ptr<InferCall>>& late);
  void KeepDeadlines(BatchGroup& group, TimePoint now, const BatchCost& cost, Choice& choice) const;
  Choice PassOver(BatchGroup& group, TimePoint limit) const;
  TimePoint HoldUntil(const Choice& choice, TimePoint now, const BatchCost& cost) const;
  std::shared_ptr<InferCall> TakeOut(BatchGroup& group, Position position);

  const Signature signature_;
  const size_t max_rows_;
  const Duration max_delay_;
  bool one_shape_ = true;  // nothing but the batch can vary
  std::list<BatchGroup> groups_;
  size_t size_ = 0;
};

}  // namespace switchyard
