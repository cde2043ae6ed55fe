// Threads for work that would keep a listener's thread from its sockets.
#pragma once

#include <absl/base/thread_annotations.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace switchyard {

// Jobs of pieces, which run in parallel. A few jobs at a time are worked on, piece by piece in turn, so that a large one does
// not hold up a small one; the others wait, so that their memory is not taken yet. Thread-safe.
class WorkPool {
 public:
  struct Job {
    virtual ~Job() = default;
    // First, alone: how many pieces there are. 0: End comes next.
    virtual size_t Begin() = 0;
    // One piece, on any of the threads; different ones at once.
    virtual void Run(size_t piece) = 0;
    // Once, after the last piece.
    virtual void End() = 0;
  };

  // Threads start when the first job comes.
  explicit WorkPool(size_t threads);
  // Every job must have ended.
  ~WorkPool();

  // False when `most` jobs are waiting already: nothing was taken.
  bool Add(std::shared_ptr<Job> job, size_t most);

 private:
  // A job that has begun.
  struct Task {
    std::shared_ptr<Job> job;
    size_t pieces = 0;
    size_t next = 0;   // guarded by the pool's mutex
    size_t ended = 0;  // guarded by the pool's mutex
  };

  void RunPiece(const std::shared_ptr<Task>& task, size_t piece);
  void Finish(Job& job);
  void Work();

  const size_t threads_;
  Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> running_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<Task>> active_ ABSL_GUARDED_BY(mutex_);  // have pieces to begin; whose turn it is comes first
  std::deque<std::shared_ptr<Job>> waiting_ ABSL_GUARDED_BY(mutex_);  // not begun
  size_t unfinished_ ABSL_GUARDED_BY(mutex_) = 0;                     // begun and not ended
};

}  // namespace switchyard
