// One sequence of calls to a model that keeps state, as codecs and the Executor see it.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "base/timer.h"
#include "runtime/runtime.h"
#include "serving/version.h"

namespace switchyard {

class InferCall;
class Lane;
class Sequences;

// A number, or a name when that is not empty. Neither: none was given.
struct SequenceId {
  uint64_t number = 0;
  std::string name;

  bool empty() const { return number == 0 && name.empty(); }
  friend bool operator==(const SequenceId&, const SequenceId&) = default;
  template <typename H>
  friend H AbslHashValue(H hash, const SequenceId& id) {
    return H::combine(std::move(hash), id.number, id.name);
  }
};

// What a request says of its sequence.
struct SequenceRequest {
  SequenceId id;
  bool start = false;
  bool end = false;
  // KServe's way: by parameters, and a start of a sequence that runs begins it anew. Else TensorFlow Serving's as OVMS has it:
  // by inputs, and such a start is an error.
  bool by_parameters = false;
  uint64_t given = 0;  // set by Sequences: the number of one that begins without an id; 0: as the table likes
};

// Its calls take turns, in the order in which they came. The state lives in an infer request of the sequence's own, made by the
// lane that runs its first call; it stays on that lane. The Version stays as long as one of its sequences does.
class Sequence {
 public:
  enum class Turn {
    kRan,
    kFailed,   // it began and did not end well: nobody knows the state
    kSkipped,  // it never began
  };

  // Made by Sequences.
  Sequence(Sequences& table, SequenceId id, Handle version) : version_(std::move(version)), table_(table), id_(std::move(id)) {}
  ~Sequence();

  const SequenceId& id() const { return id_; }
  const Handle& version() const { return version_; }

  // For the Executor, by whoever runs the call whose turn it is.
  // Where its calls have to run; null: anywhere, since none has run yet.
  Lane* lane() const { return lane_.load(); }
  // The request to run the call with, its state as it has to be. `lane` is where the call runs.
  StatusOr<InferRequest*> Begin(Lane& lane, const InferCall& call);
  // After Begin.
  InferRequest& request() const { return *request_; }
  // The call's turn is over; what it left undone was done. The call that is next, for the Executor to run; null: none waits.
  // Does nothing if it is not the call's turn. Must not be called while the Executor's mutex is held.
  std::shared_ptr<InferCall> EndTurn(InferCall& call, Turn turn);

 private:
  friend class Sequences;

  const Handle version_;  // goes last
  Sequences& table_;
  const SequenceId id_;
  std::atomic<Lane*> lane_{nullptr};
  std::unique_ptr<InferRequest> request_;  // of whoever has the turn; with nobody's turn, guarded by the table's mutex
  // Guarded by the table's mutex.
  InferCall* current_ = nullptr;  // whose turn it is
  std::deque<std::shared_ptr<InferCall>> waiting_;
  const InferCall* ending_ = nullptr;  // the call that ends it, while that is to come
  Status lost_;                        // its state is gone, because of this
  TimePoint last_used_{};
  bool idle_ = false;  // it has its place in the table's list of those
  std::list<Sequence*>::iterator idle_place_;
};

}  // namespace switchyard
