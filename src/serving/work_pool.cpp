#include "serving/work_pool.h"

#include <utility>

#include "base/thread_name.h"

namespace switchyard {

WorkPool::WorkPool(size_t threads) : threads_(threads) {}

WorkPool::~WorkPool() {
  std::vector<std::thread> running;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    running.swap(running_);
  }
  for (std::thread& thread : running) thread.join();
}

bool WorkPool::Add(std::shared_ptr<Job> job, size_t most) {
  MutexLock lock(&mutex_);
  if (waiting_.size() >= most) return false;
  waiting_.push_back(std::move(job));
  if (running_.size() < threads_) running_.emplace_back([this] { Work(); });
  return true;
}

void WorkPool::Work() {
  NameThread("sy-decode");
  // Every thread has a job of its own, and one more may begin while the last pieces of others end.
  const size_t most_begun = threads_ + 1;
  while (true) {
    std::shared_ptr<Task> task;
    std::shared_ptr<Job> fresh;
    size_t piece = 0;
    {
      MutexLock lock(&mutex_);
      const auto may_begin = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !waiting_.empty() && unfinished_ < most_begun; };
      mutex_.Await([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_ || !active_.empty() || may_begin(); });
      if (stopping_) return;
      if (may_begin()) {
        fresh = std::move(waiting_.front());
        waiting_.pop_front();
        ++unfinished_;
      } else {
        task = std::move(active_.front());
        active_.pop_front();
        piece = task->next++;
        if (task->next < task->pieces) active_.push_back(task);
      }
    }
    if (fresh == nullptr) {
      RunPiece(task, piece);
      continue;
    }
    const size_t pieces = fresh->Begin();
    if (pieces == 0) {
      Finish(*fresh);
      continue;
    }
    MutexLock lock(&mutex_);
    active_.push_back(std::make_shared<Task>(Task{.job = std::move(fresh), .pieces = pieces}));
  }
}

void WorkPool::RunPiece(const std::shared_ptr<Task>& task, size_t piece) {
  task->job->Run(piece);
  {
    MutexLock lock(&mutex_);
    if (++task->ended < task->pieces) return;
  }
  Finish(*task->job);
}

void WorkPool::Finish(Job& job) {
  job.End();
  MutexLock lock(&mutex_);
  --unfinished_;
}

}  // namespace switchyard
