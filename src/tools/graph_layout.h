// Where the boxes of a drawn graph lie: in rows from the top down, every node below its inputs.
#pragma once

#include <cstddef>
#include <vector>

#include "runtime/model_graph.h"

namespace switchyard {

constexpr double kBoxWidth = 168, kBoxHeight = 40, kRowHeight = 72;

struct Point {
  double x = 0;
  double y = 0;
};

// A line that goes down from a box: through `points`, past the rows between, straight down within a row.
struct GraphLine {
  std::vector<Point> points;
};

struct GraphLayout {
  std::vector<Point> boxes;  // the middle of each node's box
  std::vector<GraphLine> lines;
  double width = 0;
  double height = 0;
};

// The row is that of the longest path, but nodes without inputs lie right above what first uses them. Within a row the order is
// by the mean place of the neighbours. Lines over several rows have a place of their own in each, one for all that comes from
// the same node. Always the same for the same graph. `graph.nodes` hold every node after its inputs.
GraphLayout LayOut(const ModelGraph& graph);

}  // namespace switchyard
