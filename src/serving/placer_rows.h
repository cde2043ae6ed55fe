// What the files of the Placer share.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "serving/placer.h"

namespace switchyard {

using LaneState = CandidateState::Lane;

// What a task on a device's thread leaves behind. It may come when nobody waits for it any more.
struct Placer::Compilation {
  Mutex mutex;
  bool done ABSL_GUARDED_BY(mutex) = false;
  StatusOr<std::shared_ptr<Lane>> lane ABSL_GUARDED_BY(mutex) = absl::UnknownError("not tried");
  StatusOr<std::vector<std::string>> notes ABSL_GUARDED_BY(mutex) = absl::UnknownError("not checked");
  std::vector<uint64_t> generations;  // of the candidate's devices

  bool Done() {
    MutexLock lock(&mutex);
    return done;
  }
  // The first one counts: the task's result, or that it took too long.
  void Finish(StatusOr<std::shared_ptr<Lane>> result) {
    MutexLock lock(&mutex);
    if (!std::exchange(done, true)) lane = std::move(result);
  }
  void Finish(StatusOr<std::vector<std::string>> result) {
    MutexLock lock(&mutex);
    if (!std::exchange(done, true)) notes = std::move(result);
  }
  void GiveUp(const Status& why) {
    MutexLock lock(&mutex);
    if (std::exchange(done, true)) return;
    lane = why;
    notes = why;
  }
};

struct Placer::Row {
  LaneState state = LaneState::kNone;
  bool usable = true;
  std::shared_ptr<Lane> lane;
  std::shared_ptr<Compilation> compilation;
  Status error;  // kFailed, and while that is tried again
  std::vector<uint64_t> failed_generations;
  int failures = 0;  // in a row
  int losses = 0;    // of lanes that had not served for long, in a row
  TimePoint ready_at{};
  bool ran = false;  // kFailed though it was ready, on a device that may be well
  TimePoint retry_at = kNoDeadline;
  bool left = false;  // calls that might be here are known to be elsewhere
};

}  // namespace switchyard
