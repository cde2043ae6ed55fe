// Finds the best of the candidates within a time: by successive halving, and then by rounds of the last few against the
// default.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/timer.h"
#include "tools/tune/candidates.h"
#include "tools/tune/trial.h"

namespace switchyard::tune {

struct SearchOptions {
  Objective objective = Objective::kThroughput;
  double p99_ms = 20;  // kGoodput: the limit
  std::chrono::duration<double> time_budget{60};
  // No candidate with a larger LargestError is taken. Unset: 1e-3, or the default's own error where that is larger.
  std::optional<double> max_error;
  size_t cores = 1;
};

struct Row {
  Candidate candidate;
  bool is_default = false;
  Status fault;  // why it could not be loaded or measured
  std::optional<Loaded> loaded;
  std::optional<double> error;  // unset: there is no reference
  bool exact_enough = true;
  std::vector<Figures> figures;  // in the order they were measured, longer ones last; then the middle one of the finals
  std::vector<Figures> finals;   // the last rounds
  double score = 0;              // Score of the last figures; 0: not measured

  const Figures* last() const { return figures.empty() ? nullptr : &figures.back(); }
};

struct Result {
  std::vector<Row> rows;  // best first; those that are less exact than asked for, then faulty ones, last
  size_t winner = 0;      // index of the row to take: 0 unless none is good
  double allowed_error = 0;
  double seconds = 0;
  bool interrupted = false;
  std::vector<std::string> notes;  // sentences
};

// `reference` is computed on the CPU with f32; an error there is told in the notes, and exactness is not judged. `progress` is
// told in words what is done. `interrupted` ends the search soon, with what there is. Of two that are as good as equal the
// default is taken. The error: the default and all others are faulty, or nothing was measured before the interrupt.
StatusOr<Result> Search(std::vector<Candidate> candidates, Trials& trials, const Timer& timer, const SearchOptions& options,
                        const std::function<void(const std::string&)>& progress, const std::atomic<bool>& interrupted);

// Larger is better, and never 0: inferences per second, or for kLatency one over the median in seconds. For kGoodput, figures
// beyond the limit have a negative one, so that they come after all within it, those with the shorter p99 first.
double Score(const SearchOptions& options, const Figures& figures);

}  // namespace switchyard::tune
