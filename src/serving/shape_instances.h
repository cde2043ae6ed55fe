// The instances of a model whose shape or batch size is "auto": one for each shape that comes, compiled when it first comes.
#pragma once

#include <absl/base/thread_annotations.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/timer.h"
#include "config/settings.h"
#include "serving/placement_report.h"
#include "tensor/signature.h"

namespace switchyard {

class Executor;
class InferCall;
class Placer;

// Part of a Placer, whose own lanes serve the shape that the model has by itself; that instance stays. For every other shape
// there is an instance with lanes and a queue of its own, at most settings.auto_shape_limit of them. Calls of a shape that is
// being compiled wait in its queue, within their deadlines; calls of other shapes do not notice. When there is no room the
// least recently used instance goes: it takes no new calls, finishes those it has, and is freed then. While all are being
// compiled, a further new shape is answered RESOURCE_EXHAUSTED.
//
// Before an instance is compiled there must be memory for it, as much as is reckoned, and when it is there, as much as it took.
// Where there is none, calls of it are answered with what find_room says, and a call that comes kRoomAfter later, or
// kRetryAfter when it was compiled in vain, has it tried again.
//
// A shape that the model refuses is remembered in the place of an instance: calls of it are answered INVALID_ARGUMENT at once.
// One that fails for another reason (memory, a device) is tried again by a call that comes kRetryAfter later.
class ShapeInstances {
 public:
  // Whether there is memory for an instance; what is idle may go for it.
  using FindRoom = std::function<Status(uint64_t need, const std::string& shape)>;
  struct Hooks {
    // A Placer for settings without auto; `shape` is for messages. From any thread.
    std::function<std::shared_ptr<Placer>(ModelSettings settings, const std::string& shape)> make;
    // How much an instance is reckoned to take. This and the next two are called by Step, without a lock.
    std::function<uint64_t()> reckon;
    // Empty: there is always room.
    FindRoom find_room;
    // An instance could not be loaded.
    std::function<void(const Status& why)> failed;
    // Has Step called. From any thread.
    std::function<void()> wake;
  };
  static constexpr Duration kRetryAfter = std::chrono::seconds(10);
  static constexpr Duration kRoomAfter = std::chrono::seconds(1);

  // `own` runs calls of the model's own shape.
  ShapeInstances(ModelSettings settings, const Timer& timer, std::shared_ptr<Executor> own, Hooks hooks);
  // No call may be running.
  ~ShapeInstances();

  static bool WantedBy(const ModelSettings& settings) { return settings.batch_auto || !settings.auto_shapes.empty(); }

  // The signature that the model has by itself, to the one that clients see: what is auto is -1 there. Once, before Submit.
  Signature Open(const Signature& own);
  // Takes a call that was validated and bound against that signature. Thread-safe; never blocks.
  void Submit(std::shared_ptr<InferCall> call);
  // On the Manager's thread.
  void Step();

  // Of all instances but the own one; Report: the last used first. Thread-safe.
  size_t queued() const;
  size_t active() const;
  size_t given_up() const;  // of those; see Executor
  std::optional<TimePoint> oldest_queued() const;
  std::vector<ShapePlacement> Report() const;

  using Key = std::vector<int64_t>;  // the shapes of the auto inputs, each after its rank; or the batch size
  // What the instances take of the memory, or are reckoned to take while they are being compiled. Thread-safe.
  uint64_t memory_bytes() const;
  // Those that serve and have no call, the least recently used first. Thread-safe.
  struct Idle {
    Key key;
    TimePoint last_use;
    uint64_t bytes = 0;
  };
  std::vector<Idle> IdleOnes() const;
  // It takes no new calls; the next Step frees it. `why` is for the log. Thread-safe.
  void GiveBack(const Key& key, const std::string& why);

 private:
  struct Use;
  struct Instance;

  StatusOr<Key> KeyOf(const InferCall& call) const;
  StatusOr<std::shared_ptr<Instance>> Find(const Key& key, const InferCall& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Status MakeRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Admit(Instance& instance);
  void SetMemory(Instance& instance);
  void Refuse(Instance& instance, const Status& why, Duration again);
  void Retire(const Key& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<Instance> MakeInstance(const InferCall& call) const;
  // Of instances that serve, and of those that go.
  template <typename Look>
  void ForEachExecutor(Look look) const;

  const ModelSettings settings_;
  const Timer& timer_;
  const std::shared_ptr<Executor> own_;
  const Hooks hooks_;
  // Set by Open.
  Signature signature_;
  std::vector<size_t> auto_inputs_;  // whose shapes make the key
  bool has_own_key_ = false;
  Key own_key_;

  mutable Mutex mutex_;
  uint64_t clock_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<Key, std::shared_ptr<Instance>> instances_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Instance>> retired_ ABSL_GUARDED_BY(mutex_);  // until their calls have ended
};

}  // namespace switchyard
