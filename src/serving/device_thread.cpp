#include "serving/device_thread.h"

#include <thread>
#include <utility>

#include "base/mutex.h"
#include "base/thread_name.h"

namespace switchyard {

// Shared with the thread, which may live on when the owner has gone.
struct DeviceThread::State {
  Mutex mutex;
  std::deque<Task> tasks ABSL_GUARDED_BY(mutex);
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::thread thread;

  void Run() {
    // So OpenVINO's own are called too that a device starts.
    NameThread("sy-device");
    while (true) {
      Task task;
      {
        MutexLock lock(&mutex);
        mutex.Await([this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping || !tasks.empty(); });
        if (stopping) return;
        task = std::move(tasks.front());
        tasks.pop_front();
      }
      task();
    }
  }
  // What the tasks hold is let go without the lock.
  std::deque<Task> Stop() {
    MutexLock lock(&mutex);
    stopping = true;
    return std::move(tasks);
  }
};

DeviceThread::DeviceThread() : state_(std::make_shared<State>()) {
  state_->thread = std::thread([state = state_] { state->Run(); });
}

DeviceThread::~DeviceThread() {
  state_->Stop();
  if (!abandoned_) state_->thread.join();
}

void DeviceThread::Post(Task task) {
  MutexLock lock(&state_->mutex);
  if (!state_->stopping) state_->tasks.push_back(std::move(task));
}

std::deque<DeviceThread::Task> DeviceThread::Abandon() {
  if (abandoned_) return {};
  abandoned_ = true;
  std::deque<Task> left = state_->Stop();
  state_->thread.detach();
  return left;
}

}  // namespace switchyard
