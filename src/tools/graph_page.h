// A model's graph as a page for a browser.
#pragma once

#include <string>

#include "runtime/model_graph.h"

namespace switchyard {

struct GraphPageText {
  std::string title;    // the model
  std::string target;   // what the graph is drawn for
  std::string summary;  // lines of plain text under the title
};

// HTML that needs nothing else: the graph as SVG, one <g> of class "n" for each node, coloured by device, with a legend, a
// table of the layers by type and device, and a script to move, zoom and search. Names may hold any bytes. The same bytes for
// the same graph.
std::string GraphPage(const GraphPageText& text, const ModelGraph& graph);

}  // namespace switchyard
