#include "runtime/openvino/load_threads.h"

#include <tbb/task_arena.h>

namespace switchyard {

void RunOnThreads(int most, absl::FunctionRef<void()> work) {
  if (most <= 0) return work();
  tbb::task_arena arena(most);
  arena.execute([&] { work(); });
}

}  // namespace switchyard
