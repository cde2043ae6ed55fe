// The running sequences of one Version of a model that keeps state, and where those of other Versions are found.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/container/flat_hash_map.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/timer.h"
#include "serving/sequence.h"
#include "tensor/signature.h"

namespace switchyard {

class Executor;
class SequenceDirectory;

inline constexpr std::string_view kSequenceIdInput = "sequence_id";
inline constexpr std::string_view kSequenceControlInput = "sequence_control_input";
// What those inputs look like, for codecs that need a type; null for other names.
const TensorSpec* SequenceInputSpec(std::string_view name);
// The output that says a sequence's number.
const TensorSpec& SequenceIdOutput();

// Thread-safe; nothing here waits for a device.
//
// A sequence begins with a call that says so and ends with the one that says that, with an inference that fails (nobody knows
// the state then), with the loss of its device, or when no call came for options.idle. A call that was answered before it began
// (deadline, client gone) leaves the state as it was; was it the first one, there is no sequence.
//
// A Version that goes has no new sequences. Those that run go on, found through the directory by calls that do not ask for
// another version by number, as long as another Version of the model serves; else each ends with the last call that was taken.
class Sequences : public std::enable_shared_from_this<Sequences> {
 public:
  struct Options {
    std::string model_name;
    int64_t version = 1;
    uint32_t max_sequences = 500;
    uint32_t max_waiting = 1024;  // calls behind others of their sequence
    Duration idle{0};             // 0: for ever
  };
  // What bounds the life of idle sequences of a Version that goes, where options.idle does not.
  static constexpr Duration kIdleOfRetired = std::chrono::minutes(5);

  // `directory` may be null. `timer` and `executor` outlive it.
  static std::shared_ptr<Sequences> Make(Options options, Timer& timer, Executor& executor,
                                         std::shared_ptr<SequenceDirectory> directory);
  Sequences(Options options, Timer& timer, Executor& executor, std::shared_ptr<SequenceDirectory> directory);
  ~Sequences();

  // First: reads the call's control inputs, and takes them out of its inputs. A call of a sequence that another Version runs
  // gets that for its own; one that begins what a retired Version runs as well, but for a start anew of what is idle there.
  // InvalidArgument: nothing or nonsense is said of the sequence.
  Status Route(InferCall& call);
  // Then, once it is validated and bound: runs it when its turn comes. Every fault is answered.
  void Submit(const std::shared_ptr<InferCall>& call);

  // The lane is closed, and no call of a sequence runs there but those that were given up: what was kept there is lost.
  void LaneGone(Lane& lane, const Status& why);
  // The Version takes no new calls but those of its running sequences.
  void Retire();

  size_t running() const { return running_.load(std::memory_order_relaxed); }
  const Options& options() const { return options_; }
  // When the call came that has waited longest behind others of its sequence; nothing when none waits.
  std::optional<TimePoint> oldest_waiting() const;
  size_t waiting() const { return waiting_.load(std::memory_order_relaxed); }

 private:
  friend class Sequence;
  friend class SequenceDirectory;

  struct Doomed;  // what is let go of once the mutex is free

  Status ReadInputs(InferCall& call) const;
  bool Has(const SequenceId& id) const;
  void EraseIdle(const SequenceId& id, Doomed& doomed);
  Handle HandleOf(const SequenceId& id) const;
  StatusOr<bool> Admit(const std::shared_ptr<InferCall>& call, Doomed& doomed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropAnswered(Doomed& doomed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Status AdmitStart(InferCall& call, Doomed& doomed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StatusOr<std::shared_ptr<Sequence>> Find(const SequenceId& id, Doomed& doomed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<InferCall> EndTurn(Sequence& sequence, InferCall& call, Sequence::Turn turn);
  std::shared_ptr<InferCall> NextTurn(Sequence& sequence, bool broken, Doomed& doomed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Sequence& Replace(Sequence& sequence, InferCall& next, Doomed& doomed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Lose(Sequence& sequence, const Status& why, Doomed& doomed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Erase(Sequence& sequence, Doomed& doomed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetIdle(Sequence& sequence, bool idle) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ArmCleaner() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Clean();
  void Retire(bool goes_on, Doomed& doomed);
  void LetGo(Doomed& doomed);

  const Options options_;
  Timer& timer_;
  Executor& executor_;
  const std::shared_ptr<SequenceDirectory> directory_;
  std::atomic<size_t> running_{0};
  std::atomic<size_t> waiting_{0};

  mutable Mutex mutex_;
  absl::flat_hash_map<SequenceId, std::shared_ptr<Sequence>> sequences_ ABSL_GUARDED_BY(mutex_);
  std::list<Sequence*> idle_ ABSL_GUARDED_BY(mutex_);  // the longest idle first
  uint64_t last_number_ ABSL_GUARDED_BY(mutex_) = 0;   // given by the server
  Duration idle_limit_ ABSL_GUARDED_BY(mutex_);
  bool cleaner_armed_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;  // nothing begins, and what runs ends with its last call
};

// The tables of all Versions, by model. Thread-safe.
class SequenceDirectory {
 public:
  void Add(Sequences& table);
  void Remove(Sequences& table);
  // A Version of the model other than `asker`'s that runs the sequence; with `version`, only that one. May be empty.
  Handle Find(const Sequences& asker, std::optional<int64_t> version, const SequenceId& id, bool only_retired);
  // Lets go of the sequence where a retired Version of the model has it and runs no call of it.
  void EraseIdle(const Sequences& asker, std::optional<int64_t> version, const SequenceId& id);
  // A number that no sequence of the model has.
  uint64_t NewNumber(const Sequences& asker);
  // The table's Version goes. When it was the last of its model's, their sequences end.
  void Retire(Sequences& table);
  // All sequences end, at once or with the last call that was taken.
  void CloseAll();

 private:
  struct Row {
    Sequences* table = nullptr;
    bool retired = false;
  };

  // The other Versions that a call with that version may mean.
  template <typename Visit>
  void ForOthers(const Sequences& asker, std::optional<int64_t> version, const Visit& visit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  std::vector<Row> rows_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_number_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace switchyard
