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
// A shape that the model refuses is remembered in the place of an instance: calls of it are answered INVALID_ARGUMENT at once.
// One that fails for another reason (memory, a device) is tried again by a call that comes kRetryAfter later.
class ShapeInstances {
 public:
  using Make = std::function<std::shared_ptr<Placer>(ModelSettings settings, const std::string& shape)>;
  using OnFailed = std::function<void(const Status& why)>;
  static constexpr Duration kRetryAfter = std::chrono::seconds(10);

  // `own` runs calls of the model's own shape. `make` makes a Placer for settings without auto; `shape` is for messages. `wake`
  // has Step called. Both from any thread. `on_failed` tells, within Step, of an instance that could not be loaded.
  ShapeInstances(ModelSettings settings, const Timer& timer, std::shared_ptr<Executor> own, Make make, OnFailed on_failed,
                 std::function<void()> wake);
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

 private:
  using Key = std::vector<int64_t>;  // the shapes of the auto inputs, each after its rank; or the batch size
  struct Use;
  struct Instance;

  StatusOr<Key> KeyOf(const InferCall& call) const;
  StatusOr<std::shared_ptr<Instance>> Find(const Key& key, const InferCall& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Status MakeRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Retire(const Key& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<Instance> MakeInstance(const InferCall& call) const;
  // Of instances that serve, and of those that go.
  template <typename Look>
  void ForEachExecutor(Look look) const;

  const ModelSettings settings_;
  const Timer& timer_;
  const std::shared_ptr<Executor> own_;
  const Make make_;
  const OnFailed on_failed_;
  const std::function<void()> wake_;
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
