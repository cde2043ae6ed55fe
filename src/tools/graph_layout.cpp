#include "tools/graph_layout.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>

namespace switchyard {
namespace {

constexpr double kGap = 16;        // between neighbours in a row
constexpr double kLineWidth = 6;   // what a line that passes through a row takes of it
constexpr double kMargin = 24;     // around everything
constexpr double kPull = 0.85;
constexpr int kSweeps = 8;
// A hostile model could have lines of this number times its rows; beyond it they run straight, behind the boxes.
constexpr size_t kMaxPassages = 100000;

// A node's box, or where a line passes through a row.
struct Place {
  size_t row = 0;
  double width = kBoxWidth;
  double x = 0;
  std::vector<size_t> above;  // places that it is joined to
  std::vector<size_t> below;
};

std::vector<size_t> Rows(const ModelGraph& graph) {
  const size_t count = graph.nodes.size();
  std::vector<size_t> rows(count, 0), first_use(count, SIZE_MAX);
  for (size_t i = 0; i < count; ++i) {
    for (const size_t input : graph.nodes[i].inputs) rows[i] = std::max(rows[i], rows[input] + 1);
  }
  for (size_t i = 0; i < count; ++i) {
    for (const size_t input : graph.nodes[i].inputs) first_use[input] = std::min(first_use[input], rows[i]);
  }
  for (size_t i = 0; i < count; ++i) {
    if (graph.nodes[i].inputs.empty() && first_use[i] != SIZE_MAX) rows[i] = first_use[i] - 1;
  }
  return rows;
}

class Layout {
 public:
  explicit Layout(const ModelGraph& graph) : graph_(graph) {
    const std::vector<size_t> rows = Rows(graph);
    for (const size_t row : rows) places_.push_back({.row = row, .above = {}, .below = {}});
    Join();
    if (!places_.empty()) rows_.resize(1 + *std::max_element(rows.begin(), rows.end()));
    for (size_t i = 0; i < places_.size(); ++i) rows_[places_[i].row].push_back(i);
    for (auto& row : rows_) Arrange(row, std::vector<double>(row.size(), 0));
    for (int i = 0; i < kSweeps; ++i) {
      for (auto& row : rows_) Arrange(row, Wanted(row, &Place::above));
      for (auto row = rows_.rbegin(); row != rows_.rend(); ++row) Arrange(*row, Wanted(*row, &Place::below));
    }
    for (auto& row : rows_) Arrange(row, Wanted(row, &Place::above));
  }

  GraphLayout Take() {
    GraphLayout result;
    double left = 0, right = 0;
    for (const Place& place : places_) {
      left = std::min(left, place.x - place.width / 2);
      right = std::max(right, place.x + place.width / 2);
    }
    for (Place& place : places_) place.x += kMargin - left;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) result.boxes.push_back({places_[i].x, Middle(places_[i])});
    for (size_t i = 0; i < graph_.nodes.size(); ++i) Draw(i, result.lines);
    result.width = right - left + 2 * kMargin;
    result.height = static_cast<double>(rows_.size()) * kRowHeight - (kRowHeight - kBoxHeight) + 2 * kMargin;
    return result;
  }

 private:
  static double Middle(const Place& place) {
    return kMargin + static_cast<double>(place.row) * kRowHeight + kBoxHeight / 2;
  }

  // Places for the lines that pass through rows, one chain for each node, as far down as its last use.
  void Join() {
    const size_t count = graph_.nodes.size();
    std::vector<std::vector<size_t>> uses(count);
    for (size_t i = 0; i < count; ++i) {
      for (const size_t input : graph_.nodes[i].inputs) {
        if (uses[input].empty() || uses[input].back() != i) uses[input].push_back(i);
      }
    }
    for (size_t from = 0; from < count; ++from) {
      std::stable_sort(uses[from].begin(), uses[from].end(),
                       [&](size_t a, size_t b) { return places_[a].row < places_[b].row; });
      size_t last = from;
      for (const size_t to : uses[from]) {
        while (places_[last].row + 1 < places_[to].row && places_.size() - count < kMaxPassages) {
          places_.push_back({.row = places_[last].row + 1, .width = kLineWidth, .above = {}, .below = {}});
          Connect(last, places_.size() - 1);
          last = places_.size() - 1;
        }
        Connect(last, to);
      }
    }
  }
  void Connect(size_t upper, size_t lower) {
    places_[upper].below.push_back(lower);
    places_[lower].above.push_back(upper);
  }

  std::vector<double> Wanted(const std::vector<size_t>& row, std::vector<size_t> Place::* neighbours) const {
    std::vector<double> wanted;
    for (const size_t index : row) {
      const std::vector<size_t>& near = places_[index].*neighbours;
      double sum = 0;
      for (const size_t other : near) sum += places_[other].x;
      const double mean = near.empty() ? places_[index].x : sum / static_cast<double>(near.size());
      // Where lines come together, a little towards the middle: else a model of many equal blocks drifts sideways as a whole.
      wanted.push_back(near.size() > 1 ? kPull * mean : mean);
    }
    return wanted;
  }

  // Orders the row by what each wants, and puts all as near to it as their widths allow: of the least sum of squares, by
  // pooling neighbours that would overlap.
  void Arrange(std::vector<size_t>& row, const std::vector<double>& wanted) {
    std::vector<size_t> order(row.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return wanted[a] < wanted[b]; });
    struct Pool {
      double sum;
      size_t count;
      double mean() const { return sum / static_cast<double>(count); }
    };
    std::vector<Pool> pools;
    std::vector<double> offsets;
    std::vector<size_t> sorted;
    double offset = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      const size_t index = row[order[i]];
      if (i > 0) offset += (places_[sorted.back()].width + places_[index].width) / 2 + kGap;
      sorted.push_back(index);
      offsets.push_back(offset);
      Pool pool{wanted[order[i]] - offset, 1};
      while (!pools.empty() && pools.back().mean() >= pool.mean()) {
        pool = {pool.sum + pools.back().sum, pool.count + pools.back().count};
        pools.pop_back();
      }
      pools.push_back(pool);
    }
    row = std::move(sorted);
    size_t at = 0;
    for (const Pool& pool : pools) {
      for (size_t i = 0; i < pool.count; ++i, ++at) places_[row[at]].x = pool.mean() + offsets[at];
    }
  }

  // The lines from node `from`: the chain as one, then a branch to each box.
  void Draw(size_t from, std::vector<GraphLine>& lines) const {
    const size_t count = graph_.nodes.size();
    const auto bottom = [&](size_t i) { return Point{places_[i].x, Middle(places_[i]) + kBoxHeight / 2}; };
    const auto top = [&](size_t i) { return Point{places_[i].x, Middle(places_[i]) - kBoxHeight / 2}; };
    GraphLine chain;
    for (size_t at = from;;) {
      chain.points.push_back(bottom(at));
      size_t next = SIZE_MAX;
      for (const size_t below : places_[at].below) {
        if (below >= count) {
          next = below;
        } else {
          lines.push_back({{bottom(at), top(below)}});
        }
      }
      if (next == SIZE_MAX) break;
      chain.points.push_back(top(next));
      at = next;
    }
    if (chain.points.size() > 1) lines.push_back(std::move(chain));
  }

  const ModelGraph& graph_;
  std::vector<Place> places_;  // those of the nodes first
  std::vector<std::vector<size_t>> rows_;
};

}  // namespace

GraphLayout LayOut(const ModelGraph& graph) { return Layout(graph).Take(); }

}  // namespace switchyard
