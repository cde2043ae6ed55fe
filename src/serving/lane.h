// One compiled form of a Version on one device (or HETERO or BATCH over devices): its infer requests, and which are free.
#pragma once

#include <absl/functional/any_invocable.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/timer.h"
#include "runtime/runtime.h"

namespace switchyard {

class InferCall;

// Thread-safe; no lock anywhere but for sequences' requests. A lane is open until Close; then no request is handed out, and
// when the last one is back the lane is drained. What the device gave up on never comes back, and neither do its request, its
// model and the call's memory: they stay for ever, since the device may still write there. The Lane object itself stays as long
// as its Executor.
class Lane {
 public:
  struct Options {
    std::string target;  // "HETERO:GPU.0,CPU"
    std::string device;  // the first of the target's devices, for labels
    // Whose loss is the lane's: those that the model runs on, of HETERO's list. And the generation of each.
    std::vector<std::string> devices;
    std::vector<uint64_t> generations;
    // What one inference costs on the caller's thread; 0: never run there.
    Duration inline_cost{0};
    Duration timeout{0};  // of one inference on the device; 0: kShortestTimeout or 20 times the slowest recent one
    // BATCH: how long a request may wait for others before the device has it. Not counted against `timeout`.
    Duration collecting{0};
    // Where the calls that it served are counted, beside those of lanes before it; null: in one of its own.
    std::shared_ptr<std::atomic<uint64_t>> served;
    // Runs when the lane is drained, once, on the thread that brought the last request back or closed the lane; and whenever
    // the last of the sequences' requests is back. Must not block.
    std::function<void()> on_drained;
    // Frees what is given to it on a thread that may wait for the device.
    std::function<void(std::shared_ptr<InferRequest>)> discard;
  };
  static constexpr Duration kShortestTimeout = std::chrono::seconds(3);
  static constexpr int kTimeoutFactor = 20;

  // A request is kIdle, or runs a call (kRunning) that somebody else may take over (kTaking, then kGivenUp) before the device's
  // callback comes. Whoever moves it out of kRunning owns the call.
  enum class State : int { kIdle, kRunning, kTaking, kGivenUp };
  struct Slot {
    std::unique_ptr<InferRequest> request;
    std::shared_ptr<InferCall> call;
    std::atomic<State> state{State::kIdle};
    std::atomic<int64_t> started_ns{0};  // on the device, of the timer's clock
  };

  Lane(std::shared_ptr<CompiledModel> model, std::vector<std::unique_ptr<InferRequest>> requests, Options options);
  ~Lane();

  // A free request for this thread alone; -1: none, or the lane is closed.
  int TakeSlot();
  void ReleaseSlot(int slot);
  Slot& slot(int index) { return slots_[index]; }

  // A request beside the slots', for a sequence, whose state it keeps; a slot is still needed to run it. Begins with a fresh
  // state. The error is the device's.
  StatusOr<std::unique_ptr<InferRequest>> TakeOwn();
  // On any thread, also within the request's own callback: it is kept for the next sequence, or handed to options.discard.
  void ReturnOwn(std::unique_ptr<InferRequest> request);
  // Taken, and not back.
  size_t own_requests() const { return own_requests_.load(); }

  void Close();
  bool closed() const { return closed_.load(); }
  bool drained() const { return collected_.load() == slots_.size() && own_requests_.load() == 0; }
  // Only when drained, and never on a thread of the device: frees requests and model, and what facts() say of layers and
  // reasons. May block as long as the device likes.
  void Destroy();

  // May calls run on the caller's thread, by their measured cost?
  bool RunsInline();
  void RecordInlineCost(Duration cost);
  // An asynchronous inference that ended well.
  void RecordService(Duration took, TimePoint now);
  // What an inference takes, in nanoseconds; 0: not known yet.
  int64_t service_ns() const { return service_ns_.load(std::memory_order_relaxed); }
  // An inference may take so long, from its start here on, before the device counts as hung.
  Duration Timeout() const;
  // How long the oldest inference that is running has been running; zero when none is.
  Duration OldestAge(TimePoint now) const;
  // When the last inference ended well.
  TimePoint last_success() const { return TimePoint(Duration(last_success_ns_.load(std::memory_order_relaxed))); }

  uint64_t served() const { return served_->load(std::memory_order_relaxed); }
  void CountServed(uint32_t calls) { served_->fetch_add(calls, std::memory_order_relaxed); }
  size_t request_count() const { return slot_count_; }
  size_t active() const;
  // Requests that were given up while a call ran there, and are not back.
  size_t given_up() const;
  const Options& options() const { return options_; }
  const std::string& device() const { return options_.device; }
  const LoadFacts& facts() const { return facts_; }
  const std::shared_ptr<CompiledModel>& model() const { return model_; }

 private:
  int TakeFrom(size_t word);
  int TakeInGroup();
  void Collect(size_t count);

  const Options options_;
  LoadFacts facts_;  // layers and reasons until Destroy
  const size_t slot_count_;
  std::shared_ptr<CompiledModel> model_;  // until Destroy
  std::vector<Slot> slots_;
  // A bit per slot, set when it is free. Taking is a compare-and-swap.
  std::vector<std::atomic<uint64_t>> free_;
  std::atomic<bool> closed_{false};
  std::atomic<size_t> collected_{0};  // after Close: requests that are back
  // BATCH: the group of requests that is being filled. A hint, so that a race costs a batch its fullness, nothing else.
  std::atomic<size_t> group_{0};
  // Nanoseconds of one inference on the caller's thread; 0: never there. Races lose a sample, nothing else.
  std::atomic<int64_t> inline_ns_;
  std::atomic<uint32_t> inline_retries_{0};
  std::atomic<int64_t> service_ns_{0};
  // The slowest inference of this period and of the one before.
  std::atomic<int64_t> slowest_ns_{0};
  std::atomic<int64_t> slowest_before_ns_{0};
  std::atomic<int64_t> period_ns_{0};
  std::atomic<int64_t> last_success_ns_{0};
  const std::shared_ptr<std::atomic<uint64_t>> served_;
  std::atomic<size_t> own_requests_{0};
  Mutex spare_mutex_;
  std::vector<std::unique_ptr<InferRequest>> spare_ ABSL_GUARDED_BY(spare_mutex_);
};

}  // namespace switchyard
