#include "tools/tune/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace switchyard::tune {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr size_t kFinalists = 3;
constexpr size_t kFinalRounds = 3;
constexpr size_t kPlannedFinalRounds = 5;  // there is time for: a busy machine is measured again
constexpr size_t kMostFinalRounds = 7;
constexpr double kForTheFinals = 0.4;   // of the time, the neighbours included
constexpr double kNoisy = 0.15;         // spread of the default's own figures: the machine is busy
constexpr double kWorthAChange = 1.02;  // less is no reason to leave the default
constexpr double kErrorFloor = 1e-3;
constexpr Seconds kShortest{0.02};
constexpr Seconds kLongest{8};

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// Largest less smallest, over the median.
double Spread(const std::vector<double>& values) {
  const double median = Median(values);
  if (values.size() < 2 || median == 0) return 0;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return (*high - *low) / std::abs(median);
}

class Searcher {
 public:
  Searcher(Trials& trials, const Timer& timer, const SearchOptions& options,
           const std::function<void(const std::string&)>& progress, const std::atomic<bool>& interrupted)
      : trials_(trials),
        timer_(timer),
        options_(options),
        progress_(progress),
        interrupted_(interrupted),
        begin_(timer.Now()) {}

  StatusOr<Result> Run(std::vector<Candidate> candidates);

 private:
  Seconds Spent() const { return timer_.Now() - begin_; }
  Seconds Left() const { return options_.time_budget - Spent(); }
  bool Over() const { return interrupted_.load() || Left() <= Seconds(0); }
  void Tell(const std::string& text) {
    progress_(fmt::format("[{:3.0f} s of {:.0f} s] {}", Spent().count(), options_.time_budget.count(), text));
  }

  void FindReference(const Candidate& first);
  Status Load(Row& row);
  void Judge(Row& row);
  StatusOr<Figures> MeasureOnce(const Row& row, Seconds duration);
  // Loads and measures; a fault stays in the row.
  void Try(Row& row, Seconds duration, const std::string& round);
  Seconds DurationOf(size_t candidates, Seconds share) const;
  std::vector<size_t> Best(const std::vector<size_t>& among, size_t count) const;
  void Halve();
  void TryNeighbours();
  void Finals();
  Result Finish();
  bool Good(const Row& row) const { return row.fault.ok() && row.score != 0 && row.exact_enough; }
  // Spread of the scores of the default's last rounds.
  double Unrest() const;

  Trials& trials_;
  const Timer& timer_;
  const SearchOptions& options_;
  const std::function<void(const std::string&)>& progress_;
  const std::atomic<bool>& interrupted_;
  const TimePoint begin_;
  std::vector<Row> rows_;  // rows_[0] is the default
  std::vector<std::vector<ClientTensor>> reference_;
  double allowed_error_ = kErrorFloor;
  double load_seconds_ = 0.5;  // of the slowest load up to now
  std::vector<std::string> notes_;
};

// What the CPU computes with f32: as exact as it gets.
void Searcher::FindReference(const Candidate& first) {
  Candidate reference{"reference", first.settings, ""};
  reference.settings.target_device = "CPU";
  reference.settings.fallback_devices.clear();
  reference.settings.nireq = 0;
  PropertyMap properties;
  properties["PERFORMANCE_HINT"] = PropertyValue{std::string("LATENCY")};
  properties["INFERENCE_PRECISION_HINT"] = PropertyValue{std::string("f32")};
  reference.settings.plugin_config = std::move(properties);
  Tell("computing the reference: CPU f32");
  StatusOr<Loaded> loaded = trials_.Load(reference);
  if (loaded.ok()) {
    reference_ = std::move(loaded->outputs);
  } else {
    notes_.push_back(
        fmt::format("Exactness was not judged: the model does not run on the CPU with f32: {}", Message(loaded.status())));
  }
}

void Searcher::Judge(Row& row) {
  if (reference_.empty()) return;
  double error = 0;
  for (size_t i = 0; i < reference_.size(); ++i) error = std::max(error, LargestError(reference_[i], row.loaded->outputs[i]));
  row.error = error;
  if (row.is_default) {
    allowed_error_ = options_.max_error ? *options_.max_error : std::max(kErrorFloor, error);
    if (!options_.max_error && error > kErrorFloor) {
      notes_.push_back(
          fmt::format("The default differs from CPU f32 by {:.2g}; others may differ as much (--max_error sets it)", error));
    }
  }
  row.exact_enough = error <= allowed_error_;
}

Status Searcher::Load(Row& row) {
  const TimePoint before = timer_.Now();
  StatusOr<Loaded> loaded = trials_.Load(row.candidate);
  if (!loaded.ok()) return row.fault = loaded.status();
  load_seconds_ = std::max(load_seconds_, Seconds(timer_.Now() - before).count());
  const bool first = !row.loaded;
  row.loaded = *std::move(loaded);
  if (first) Judge(row);
  row.loaded->outputs.clear();
  return absl::OkStatus();
}

StatusOr<Figures> Searcher::MeasureOnce(const Row& row, Seconds duration) {
  const size_t requests = std::max<size_t>(1, row.loaded->requests);
  if (options_.objective == Objective::kLatency) return trials_.Measure(1, duration);
  if (options_.objective == Objective::kThroughput) return trials_.Measure(std::max(requests, options_.cores), duration);
  std::vector<size_t> levels;
  for (size_t n = 1; n < 2 * requests; n *= 2) levels.push_back(n);
  levels.push_back(2 * requests);
  std::optional<Figures> best;
  for (const size_t level : levels) {
    SY_ASSIGN_OR_RETURN(Figures figures, trials_.Measure(level, duration / static_cast<double>(levels.size())));
    const bool within = figures.p99_ms <= options_.p99_ms;
    if (!best || Score(options_, figures) > Score(options_, *best)) best = figures;
    // With more calls in flight it only gets later; but one that waits for company to fill a batch is answered sooner in it.
    if (!within && level >= row.loaded->joined_calls) break;
  }
  return *best;
}

void Searcher::Try(Row& row, Seconds duration, const std::string& round) {
  if (!Load(row).ok()) {
    Tell(fmt::format("{}: {}: {}", round, row.candidate.label, Message(row.fault)));
    return;
  }
  if (!row.exact_enough && !row.is_default) {
    Tell(fmt::format("{}: {}: differs from CPU f32 by {:.2g}, more than {:.2g}", round, row.candidate.label, *row.error,
                     allowed_error_));
    return;
  }
  if (interrupted_.load()) return;
  StatusOr<Figures> figures = MeasureOnce(row, duration);
  if (!figures.ok()) {
    row.fault = figures.status();
    return;
  }
  // Cut short, it rests on a few calls: it stands only where there is nothing else.
  const auto measured = [](const Row& one) { return !one.figures.empty(); };
  if (interrupted_.load() && std::any_of(rows_.begin(), rows_.end(), measured)) return;
  row.figures.push_back(*figures);
  row.score = Score(options_, *figures);
  Tell(fmt::format("{}: {}: {:.1f}/s, p50 {:.2f} ms, p99 {:.2f} ms", round, row.candidate.label, figures->per_second,
                   figures->p50_ms, figures->p99_ms));
}

// How long each of so many may be measured within `share`, their loading taken off.
Seconds Searcher::DurationOf(size_t candidates, Seconds share) const {
  const double each = share.count() / static_cast<double>(std::max<size_t>(1, candidates)) - load_seconds_;
  return std::clamp(Seconds(each), kShortest, kLongest);
}

std::vector<size_t> Searcher::Best(const std::vector<size_t>& among, size_t count) const {
  std::vector<size_t> good;
  for (const size_t i : among) {
    if (Good(rows_[i])) good.push_back(i);
  }
  std::stable_sort(good.begin(), good.end(), [&](size_t a, size_t b) { return rows_[a].score > rows_[b].score; });
  if (good.size() > count) good.resize(count);
  return good;
}

// Each round measures the better half of the round before for twice as long. The default is measured in every round: what it
// differs from itself is the machine's noise.
void Searcher::Halve() {
  std::vector<size_t> alive(rows_.size());
  std::iota(alive.begin(), alive.end(), 0);
  size_t rounds = 1;
  for (size_t n = alive.size(); n > kFinalists; n = (n + 1) / 2) ++rounds;
  const Seconds share = Left() * 0.6 / static_cast<double>(rounds);
  for (size_t round = 1; round <= rounds && !Over(); ++round) {
    const Seconds duration = DurationOf(alive.size(), share);
    for (const size_t i : alive) {
      if (Over() || (round > 1 && Left() < options_.time_budget * kForTheFinals)) break;
      // Loads that take long eat the time of the later rounds: the less likely candidates are left out then.
      if (round == 1 && i > 0 && Left() < options_.time_budget * kForTheFinals) {
        notes_.push_back(
            fmt::format("{} candidates were not tried: loading takes {:.1f} s each; a larger --time_budget tries "
                        "them too",
                        alive.size() - i, load_seconds_));
        break;
      }
      Try(rows_[i], duration, fmt::format("round {} of {}", round, rounds + 1));
      if (!trials_.Hopeless().ok()) return;
    }
    const size_t keep = std::max(kFinalists, (alive.size() + 1) / 2);
    alive = Best(alive, keep);
    if (std::find(alive.begin(), alive.end(), 0) == alive.end() && rows_[0].fault.ok()) alive.insert(alive.begin(), 0);
  }
}

void Searcher::TryNeighbours() {
  std::vector<size_t> all(rows_.size());
  std::iota(all.begin(), all.end(), 0);
  const std::vector<size_t> best = Best(all, 1);
  if (best.empty() || Over()) return;
  const Row& leader = rows_[best.front()];
  std::vector<Candidate> neighbours = Neighbours(leader.candidate, leader.loaded->requests, options_.objective);
  const Seconds duration = DurationOf(neighbours.size(), Left() * 0.25);
  for (Candidate& candidate : neighbours) {
    if (Over()) return;
    rows_.push_back(Row{.candidate = std::move(candidate)});
    Try(rows_.back(), duration, "neighbours");
  }
}

double Searcher::Unrest() const {
  std::vector<double> scores;
  for (const Figures& figures : rows_[0].finals) scores.push_back(Score(options_, figures));
  return Spread(scores);
}

// The last few in turns, so that a machine that is busy for a while is so for each of them.
void Searcher::Finals() {
  std::vector<size_t> all(rows_.size());
  std::iota(all.begin(), all.end(), 0);
  std::vector<size_t> finalists = Best(all, kFinalists);
  if (std::find(finalists.begin(), finalists.end(), 0) == finalists.end() && rows_[0].fault.ok() && rows_[0].score != 0) {
    finalists.push_back(0);
  }
  if (finalists.size() < 2 || Over()) return;
  const Seconds duration = DurationOf(finalists.size() * kPlannedFinalRounds, Left());
  Seconds longest{0};
  for (size_t round = 1; round <= kMostFinalRounds; ++round) {
    const TimePoint begin = timer_.Now();
    for (const size_t i : finalists) {
      if (Over() || !rows_[i].fault.ok()) continue;
      const size_t before = rows_[i].figures.size();
      Try(rows_[i], duration, fmt::format("final round {}", round));
      if (rows_[i].figures.size() > before) rows_[i].finals.push_back(rows_[i].figures.back());
    }
    longest = std::max(longest, Seconds(timer_.Now() - begin));
    if (Over() || (round >= kFinalRounds && (Unrest() < kNoisy || Left() < longest))) break;
  }
  for (const size_t i : finalists) {
    Row& row = rows_[i];
    if (row.finals.empty()) continue;
    std::vector<Figures> sorted = row.finals;
    std::sort(sorted.begin(), sorted.end(),
              [&](const Figures& a, const Figures& b) { return Score(options_, a) < Score(options_, b); });
    row.figures.push_back(sorted[(sorted.size() - 1) / 2]);
    row.score = Score(options_, row.figures.back());
  }
  if (const double spread = Unrest(); spread >= kNoisy) {
    notes_.push_back(
        fmt::format("The machine was busy: the default's own figures differ by {:.0f} %; run it again when nothing "
                    "else runs",
                    spread * 100));
  }
}

Result Searcher::Finish() {
  Result result;
  result.allowed_error = allowed_error_;
  result.seconds = Spent().count();
  result.interrupted = interrupted_.load();
  if (result.interrupted) notes_.push_back("Interrupted: what was measured until then is ranked");
  // What came into the last rounds was measured best.
  const auto group = [&](const Row& row) {
    return !row.fault.ok() || row.score == 0 ? 3 : !row.exact_enough ? 2 : row.finals.empty() ? 1 : 0;
  };
  std::stable_sort(rows_.begin(), rows_.end(),
                   [&](const Row& a, const Row& b) { return std::pair(group(a), -a.score) < std::pair(group(b), -b.score); });
  const auto own = std::find_if(rows_.begin(), rows_.end(), [](const Row& row) { return row.is_default; });
  const size_t at = static_cast<size_t>(own - rows_.begin());
  const double least = own->score > 0 ? own->score * kWorthAChange : own->score / kWorthAChange;
  result.winner = Good(*own) && rows_[0].score < least ? at : 0;
  if (own->fault.ok() && own->score != 0 && !own->exact_enough) {
    notes_.push_back(fmt::format("The default differs from CPU f32 by {:.2g}, more than {:.2g}: it was not to be taken",
                                 *own->error, allowed_error_));
  }
  result.rows = std::move(rows_);
  result.notes = std::move(notes_);
  return result;
}

StatusOr<Result> Searcher::Run(std::vector<Candidate> candidates) {
  for (Candidate& candidate : candidates) rows_.push_back(Row{.candidate = std::move(candidate), .is_default = rows_.empty()});
  FindReference(rows_.front().candidate);
  SY_RETURN_IF_ERROR(trials_.Hopeless());
  Halve();
  SY_RETURN_IF_ERROR(trials_.Hopeless());
  TryNeighbours();
  Finals();
  const bool any = std::any_of(rows_.begin(), rows_.end(), [&](const Row& row) { return Good(row); });
  if (!any) {
    if (interrupted_.load()) return Error(StatusCode::kCancelled, "interrupted before anything was measured");
    for (const Row& row : rows_) {
      if (!row.fault.ok()) return row.fault;
    }
    if (options_.max_error) {
      return InvalidArgument(
          "--max_error {}: no candidate is so near to CPU f32; the nearest that was tried differs by {:.2g}",
          *options_.max_error,
          std::accumulate(rows_.begin(), rows_.end(), std::numeric_limits<double>::max(),
                          [](double least, const Row& row) { return row.error ? std::min(least, *row.error) : least; }));
    }
    return Error(StatusCode::kDeadlineExceeded, "nothing was measured in {:.0f} s; give a larger --time_budget",
                 options_.time_budget.count());
  }
  return Finish();
}

}  // namespace

double Score(const SearchOptions& options, const Figures& figures) {
  if (options.objective == Objective::kLatency) return figures.p50_ms > 0 ? 1000 / figures.p50_ms : 0;
  if (options.objective == Objective::kGoodput && figures.p99_ms > options.p99_ms) return -figures.p99_ms;
  return figures.per_second;
}

StatusOr<Result> Search(std::vector<Candidate> candidates, Trials& trials, const Timer& timer, const SearchOptions& options,
                        const std::function<void(const std::string&)>& progress, const std::atomic<bool>& interrupted) {
  return Searcher(trials, timer, options, progress, interrupted).Run(std::move(candidates));
}

}  // namespace switchyard::tune
