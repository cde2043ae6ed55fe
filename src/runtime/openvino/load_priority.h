// Loading gives way to inferences.
#pragma once

#include <sys/types.h>

#include <set>

namespace switchyard {

// As long as this object lives, the calling thread has a lower priority (a higher nice value), and with it the threads that it
// starts; at its end they have the priority that the calling thread had, since plugins start the threads that will run
// inferences while they compile. Where a process may not raise a priority again, which takes CAP_SYS_NICE or RLIMIT_NICE,
// nothing is changed. Made and destroyed by the same thread.
class LoadPriority {
 public:
  LoadPriority();
  ~LoadPriority();
  LoadPriority(const LoadPriority&) = delete;
  LoadPriority& operator=(const LoadPriority&) = delete;

 private:
  bool lowered_ = false;
  int nice_ = 0;            // before
  std::set<pid_t> others_;  // threads that were there before
};

}  // namespace switchyard
