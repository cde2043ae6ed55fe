// One Version's calls: which lane runs each, the bounded queue of those that wait, deadlines, cancellation, and retries on the
// next device.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/types/span.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/timer.h"
#include "device/placement.h"
#include "runtime/runtime.h"
#include "serving/infer_call.h"
#include "serving/lane.h"

namespace switchyard {

// Where calls go now. Replaced as a whole.
struct LaneRoute {
  std::vector<std::shared_ptr<Lane>> lanes;  // in order of preference
  // All of them share the calls, but for `standby` at the end; otherwise the first open one takes all, and the others stand by.
  // What stands by takes calls when those before it are closed: the first open one takes all then.
  bool all = false;
  size_t standby = 0;
  PlacementPlan::Schedule schedule = PlacementPlan::Schedule::kFinishFirst;
  // Without lanes: why there will be none. OK: calls wait for one, within their deadlines.
  Status closed;
  // Without lanes: they are made as soon as a call comes.
  bool asleep = false;
  // Without lanes: the Version that took this one's place, and runs its calls; it has the same signature. `closed` is for when
  // that is gone too.
  std::shared_ptr<VersionSlot> successor;
};

// Thread-safe. A call that finds an infer request free takes no lock; one that has to wait takes a mutex for the length of a
// list operation. No thread ever waits for an inference: a call either runs by StartAsync, whose callback completes it and
// starts the next one, or, when the model is cheaper than a thread hop, by Infer on the caller's thread.
//
// Running inline. A lane whose cost was measured runs calls on the caller's thread while the cost is below kInlineCost. Every
// inline inference is a further measurement, followed slowly upwards. A cost that is a little above the limit, or that calls on
// the device belie, is tried again now and then, since a busy machine makes a cheap model look dear. A thread that finds calls
// in the queue after its own goes on with them for at most kInlineBudget, then hands the infer request to the asynchronous
// path, so that a listener's thread is never away from its sockets for longer than that plus one inference.
//
// Faults. A call that a device failed (FaultOf) is run again on the next lane, up to kMaxRetries times, and waits for that one
// while it is busy; the lane that failed it takes it again only where no other device is open. As many calls as may wait at all
// may wait so behind a lane that goes on failing them. A device's fatal error closes its lane at once. GiveUp takes the calls
// of a lane that does not answer and runs them elsewhere; what the device delivers later is dropped. A call whose lane was
// closed before it began runs on another one.
//
// Sequences. A call of a sequence (serving/sequence.h) comes when it is its turn; it runs on the sequence's lane, also when
// that is not in the route any more, and tells the sequence how its turn ended.
class Executor {
 public:
  struct Options {
    std::string model_name;  // for messages
    uint32_t max_queue = 1024;
    bool retry = true;  // a call that a device failed goes to the next lane; one of a sequence never does
    // A device failed a call. On a thread of the device; must not block.
    std::function<void(const Lane&, const Status&)> on_fault;
    // A call waits where the route has no lanes. Any thread; must not block. May be empty.
    std::function<void()> on_starved;
    // A call is run again, since the device `from` failed it.
    std::function<void(const std::string& from)> on_retry;
  };
  static constexpr std::chrono::nanoseconds kInlineCost = std::chrono::microseconds(200);
  static constexpr std::chrono::nanoseconds kInlineBudget = std::chrono::milliseconds(1);
  static constexpr int kInlineRetryEvery = 16;
  static constexpr int kMaxRetries = 4;
  static constexpr Duration kUseGrain = std::chrono::milliseconds(100);

  // Without lanes until SetRoute. `timer` must outlive the Executor.
  Executor(Timer& timer, Options options);
  // Every call has ended: the Version is destroyed after its last handle is gone, and each call holds one.
  ~Executor();

  // New calls and waiting ones go there from now on. Lanes that are left out finish what runs there.
  void SetRoute(LaneRoute route);
  // The calls that run on `lane` are run elsewhere, as far as they may be; the lane is closed. `why` is what they are answered
  // with where there is no elsewhere.
  void GiveUp(Lane& lane, const Status& why);

  // The call's deadline counts from now on, while something is done to it before Submit.
  void Hold(const std::shared_ptr<InferCall>& call);
  // Takes a validated and bound call. Its on_done runs once, possibly before Submit returns.
  void Submit(std::shared_ptr<InferCall> call);
  // Answers with `why`, and frees the place in the queue if the call waits there.
  void Cancel(InferCall& call, const Status& why);

  // Answers a call that does not wait here; its deadline counts no more.
  void Answer(InferCall& call, const Status& status);
  // How many inferences may run at once where calls go now.
  size_t room() const;

  Timer& timer() const { return timer_; }
  const Options& options() const { return options_; }
  // Calls that wait now.
  size_t queued() const { return queued_.load(std::memory_order_relaxed); }
  // When the call at the head of the queue arrived; nothing when none waits.
  std::optional<TimePoint> oldest_queued() const;
  size_t active() const;
  // Of those, inferences that were given up: nobody waits for them.
  size_t given_up() const;
  // When the last call came, to within kUseGrain; before the first one, when this object was made.
  TimePoint last_use() const { return TimePoint(Duration(last_use_ns_.load(std::memory_order_relaxed))); }
  // Will a call be run now, or as soon as a lane is free, or was made for it?
  bool serving() const;
  // Calls wait for lanes that are made as soon as one comes.
  bool asleep() const { return route().lanes.empty() && route().asleep; }

 private:
  struct Place {
    Lane* lane = nullptr;
    int slot = -1;
    bool run_inline = false;
  };

  const LaneRoute& route() const { return *route_.load(std::memory_order_acquire); }
  static absl::Span<const std::shared_ptr<Lane>> Takers(const LaneRoute& route);
  Place TakePlace(const InferCall& call);
  Place TakeShared(absl::Span<const std::shared_ptr<Lane>> lanes, PlacementPlan::Schedule schedule);
  Place TakeFrom(Lane& lane);
  bool Serves(const Lane& lane) const;
  bool MayServe(const Lane& lane) const;
  size_t WorthTaking(const Lane& lane) const;
  // kNew counts against the limit; kNext, the next call of a sequence, was counted there; kAgain was taken before, and goes
  // first.
  enum class Entry { kNew, kNext, kAgain };
  void Enqueue(std::shared_ptr<InferCall> call, Entry entry);
  std::shared_ptr<InferCall> Pop(const Lane& lane);
  InferCall* NextFor(const Lane& lane) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<InferCall> TakeOut(InferCall& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool WaitsFor(const Lane& lane) const;
  void ServeWaiting();
  void ServeLane(Lane& lane);
  void ServeQueue(Lane& lane, int slot, TimePoint inline_until);
  void TellRetry(InferCall& call);
  StatusOr<InferRequest*> RequestOf(Lane& lane, Lane::Slot& slot, const InferCall& call);
  void RunInline(Lane& lane, int slot, const std::shared_ptr<InferCall>& call);
  bool StartAsync(Lane& lane, int slot, std::shared_ptr<InferCall> call);
  void PlaceAgain(Lane& lane, int slot, const std::shared_ptr<InferCall>& call);
  void OnAsyncDone(Lane& lane, int slot, Status status);
  bool Finish(Lane& lane, Lane::Slot& slot, const std::shared_ptr<InferCall>& call, Status& status);
  void Retry(Lane& lane, const std::shared_ptr<InferCall>& call, const Status& why);
  bool StartElsewhere(Lane& lane, const std::shared_ptr<InferCall>& call);
  void AnswerWaiting(const Status& why);
  void HandOver(const LaneRoute& route);
  void AnswerPinned(const Lane& lane);
  void AnswerTurn(InferCall& call, Sequence::Turn turn, const Status& status);
  void ArmDeadline(const std::shared_ptr<InferCall>& call);

  Timer& timer_;
  const Options options_;
  // Readers take no lock, so that what was current once stays, its lanes with it: a route is a few pointers, a lane without its
  // model little more, and there is one for each change of a device, and each time that the Version sleeps and comes back.
  std::atomic<const LaneRoute*> route_;
  std::atomic<size_t> queued_{0};
  std::atomic<size_t> queued_retries_{0};  // of those, calls that a device failed
  std::atomic<uint32_t> turn_{0};
  std::atomic<int64_t> last_use_ns_;

  mutable Mutex mutex_;
  std::list<std::unique_ptr<const LaneRoute>> routes_ ABSL_GUARDED_BY(mutex_);
  // Those that may have calls: of the current route, and of earlier ones until they are closed and empty.
  std::vector<std::shared_ptr<Lane>> lanes_ ABSL_GUARDED_BY(mutex_);
  std::list<std::shared_ptr<InferCall>> queue_ ABSL_GUARDED_BY(mutex_);
};

// Runs inferences on `inputs` (the signature's order) to learn what one costs on this thread, and to make the device ready.
// Blocks. The error is the inference's.
StatusOr<Duration> MeasureCost(InferRequest& request, absl::Span<const TensorView> inputs, const Timer& timer);

}  // namespace switchyard
