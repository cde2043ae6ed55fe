// One loaded version of a model, and the reference by which a request holds it.
#pragma once

#include <absl/functional/any_invocable.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/status.h"
#include "base/timer.h"
#include "config/settings.h"
#include "serving/decode_options.h"
#include "telemetry/model_metrics.h"
#include "tensor/signature.h"

namespace switchyard {

class Batcher;
class Executor;
class InferCall;
class Placer;
class Sequences;
class ShapeInstances;

// Immutable once loaded, but for the devices that it runs on: a change of settings is a new Version.
class Version {
 public:
  // `placer` changes where the executor's calls run; null in tests that set the route themselves. Without `metrics` the version
  // counts for itself.
  Version(ModelSettings settings, int64_t number, Signature signature, std::shared_ptr<Executor> executor,
          std::shared_ptr<Placer> placer = nullptr, std::shared_ptr<ModelMetrics> metrics = nullptr,
          DecodeOptions decode_options = {});
  ~Version();

  const std::string& model_name() const { return settings_.name; }
  int64_t number() const { return number_; }
  const std::string& number_text() const { return number_text_; }
  const ModelSettings& settings() const { return settings_; }
  const Signature& signature() const { return signature_; }
  Executor& executor() const { return *executor_; }
  // What has an instance for each shape; null when no shape is auto.
  ShapeInstances* shapes() const;
  // What joins calls; null without dynamic_batching.
  const std::shared_ptr<Batcher>& batcher() const { return batcher_; }
  // What runs the calls of a model that keeps state; null for others.
  Sequences* sequences() const;
  // Calls that wait, and calls that run.
  size_t queued() const;
  size_t active() const;
  // Nothing waits and nothing runs, but for inferences that were given up: there is one at least.
  bool only_given_up() const;
  // When the call that has waited longest came; none waits: nothing.
  std::optional<TimePoint> oldest_queued() const;
  const std::shared_ptr<Placer>& placer() const { return placer_; }
  ModelMetrics& metrics() const { return *metrics_; }
  const DecodeOptions& decode_options() const { return decode_options_; }

 private:
  const ModelSettings settings_;
  const int64_t number_;
  const std::string number_text_;
  const Signature signature_;
  const std::shared_ptr<ModelMetrics> metrics_;
  const DecodeOptions decode_options_;
  const std::shared_ptr<Executor> executor_;
  const std::shared_ptr<Batcher> batcher_;
  const std::shared_ptr<Placer> placer_;  // goes first: it takes the lanes away
};

// Counts who uses a Version, without a lock. Stays behind as a husk when the Version is gone, so that an old snapshot of the
// model map can still be asked.
class VersionSlot {
 public:
  // `on_drained` runs once, after Close, when the last user has gone; on that user's thread, or on the closer's. It may free
  // nothing itself: the user may be a callback of the device that would be freed.
  VersionSlot(std::unique_ptr<Version> version, absl::AnyInvocable<void(VersionSlot&)> on_drained);
  ~VersionSlot();

  // One more user, unless the slot is closed.
  bool Acquire();
  // One more user beside one that there is.
  void AcquireAnother() { users_.fetch_add(1, std::memory_order_relaxed); }
  void Release();
  // No new users from now on, but for the calls of sequences that run.
  void Close();
  // Only while used, or by the Manager.
  Version* get() const { return version_.get(); }
  // After draining: frees the Version. Blocks while the device lets go of the model.
  void Destroy() { version_.reset(); }

 private:
  void Drained();

  static constexpr uint64_t kClosed = uint64_t{1} << 63;
  std::atomic<uint64_t> users_{0};
  std::atomic<bool> drained_{false};
  std::unique_ptr<Version> version_;
  absl::AnyInvocable<void(VersionSlot&)> on_drained_;
};

// RAII: while it lives, so does the Version. Movable, thread-safe to hand over.
class Handle {
 public:
  Handle() = default;
  // Takes over one user that Acquire counted.
  explicit Handle(std::shared_ptr<VersionSlot> slot) : slot_(std::move(slot)) {}
  Handle(Handle&& other) noexcept = default;
  Handle& operator=(Handle&& other) noexcept {
    std::swap(slot_, other.slot_);
    return *this;
  }
  ~Handle() {
    if (slot_) slot_->Release();
  }

  // Another one of the same Version. Not of an empty one.
  Handle Another() const {
    slot_->AcquireAnother();
    return Handle(slot_);
  }
  explicit operator bool() const { return slot_ != nullptr; }
  const Version& operator*() const { return *slot_->get(); }
  const Version* operator->() const { return slot_->get(); }

 private:
  std::shared_ptr<VersionSlot> slot_;
};

// Decodes the call's pictures and strings, validates it against the handle's Version and has it executed; the handle moves into
// the call. Never blocks for a device, but a cheap model may run here, on the caller's thread. The answer comes through
// call->on_done, for every fault too.
void Infer(Handle handle, std::shared_ptr<InferCall> call);

}  // namespace switchyard
