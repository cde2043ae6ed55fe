// Loading leaves processors to inferences.
#pragma once

#include <absl/functional/function_ref.h>

namespace switchyard {

// Runs `work` in the calling thread; of what it divides among OpenVINO's threads (oneTBB's), at most `most` of them, the
// calling one among them, work at once. 0: as many as there are. What stream executors and drivers do in threads of their own
// is not limited. Blocks until `work` has returned; what it throws comes out.
void RunOnThreads(int most, absl::FunctionRef<void()> work);

}  // namespace switchyard
