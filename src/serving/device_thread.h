// A thread for work on a device that may never return.
#pragma once

#include <absl/functional/any_invocable.h>

#include <deque>
#include <memory>

namespace switchyard {

// Runs tasks one after another. A task that hangs takes its thread with it: Abandon leaves the thread and what it works on to
// themselves, for ever if need be, and the owner goes on with a new DeviceThread. Thread-safe.
class DeviceThread {
 public:
  using Task = absl::AnyInvocable<void()>;

  DeviceThread();
  // Tasks that have not begun are dropped. Waits for the one that runs, unless Abandon was called.
  ~DeviceThread();

  void Post(Task task);
  // Answers with the tasks that had not begun.
  std::deque<Task> Abandon();

 private:
  struct State;
  const std::shared_ptr<State> state_;
  bool abandoned_ = false;
};

}  // namespace switchyard
