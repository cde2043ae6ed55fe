// Loads candidates as a server would and measures them.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "base/status.h"
#include "tools/client_tensor.h"
#include "tools/tune/candidates.h"

namespace switchyard::tune {

// What one measurement saw.
struct Figures {
  double per_second = 0;  // inferences
  double p50_ms = 0;      // of one call, from its submission to its answer
  double p99_ms = 0;
  size_t concurrency = 0;  // calls kept in flight
  size_t calls = 0;
};

// What came of a candidate's settings.
struct Loaded {
  std::vector<std::string> devices;
  std::string precision;  // may be empty: not told
  std::string streams;    // likewise
  size_t requests = 0;
  size_t joined_calls = 1;  // that a batch takes at most
  double load_ms = 0;
  std::vector<std::vector<ClientTensor>> outputs;  // for each set of inputs
};

// One candidate at a time. Every call blocks. Not thread-safe.
class Trials {
 public:
  virtual ~Trials() = default;
  // Takes the place of the candidate that was loaded before. The error is the one that a server would give.
  virtual StatusOr<Loaded> Load(const Candidate& candidate) = 0;
  // Keeps `concurrency` calls in flight for that long. The error is the first call's that failed.
  virtual StatusOr<Figures> Measure(size_t concurrency, std::chrono::duration<double> duration) = 0;
  // Why no candidate can be tried, whatever its settings; OK: that did not show.
  virtual Status Hopeless() const { return absl::OkStatus(); }
};

// How far `outputs` are from `reference`: the largest difference of two elements of one tensor, over the largest magnitude in
// the reference's tensor (at least 1e-6). Infinity when shapes, types or strings differ, or one is no number and the other is.
double LargestError(const std::vector<ClientTensor>& reference, const std::vector<ClientTensor>& outputs);

}  // namespace switchyard::tune
