#include "tools/graph_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tools/graph_layout.h"

namespace switchyard {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

GraphNode Node(const std::string& name, const std::string& device, std::vector<size_t> inputs) {
  return {.name = name, .type = "Relu", .device = device, .shape = "(1,10)", .inputs = std::move(inputs)};
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// `blocks` of three branches each, two of one node and one of none, that come together again.
ModelGraph Blocks(size_t blocks) {
  ModelGraph graph{.nodes = {Node("in", "CPU", {})}};
  for (size_t i = 0; i < blocks; ++i) {
    const size_t from = graph.nodes.size() - 1;
    graph.nodes.push_back(Node("left", "GPU.0", {from}));
    graph.nodes.push_back(Node("right", "GPU.0", {from}));
    graph.nodes.push_back(Node("sum", "CPU", {from, from + 1, from + 2}));
  }
  return graph;
}

TEST(GraphLayout, EveryNodeIsBelowItsInputs) {
  const ModelGraph graph = Blocks(300);
  const GraphLayout layout = LayOut(graph);
  ASSERT_EQ(layout.boxes.size(), 901u);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const size_t input : graph.nodes[i].inputs) {
      EXPECT_GE(layout.boxes[i].y, layout.boxes[input].y + kRowHeight);
    }
  }
  EXPECT_LT(layout.width, 4 * kBoxWidth) << "three branches side by side, not more";
}

TEST(GraphLayout, ManyEqualBlocksDoNotDriftSideways) {
  ModelGraph graph{.nodes = {Node("in", "CPU", {})}};
  for (size_t i = 0; i < 200; ++i) {
    const size_t from = graph.nodes.size() - 1;
    graph.nodes.push_back(Node("q", "CPU", {from}));
    graph.nodes.push_back(Node("k", "CPU", {from}));
    graph.nodes.push_back(Node("score", "CPU", {from + 1, from + 2}));
    graph.nodes.push_back(Node("sum", "CPU", {from, from + 3}));
  }
  EXPECT_LT(LayOut(graph).width, 6 * kBoxWidth);
}

TEST(GraphLayout, NoBoxLiesOnAnotherOrOutside) {
  ModelGraph graph = Blocks(20);
  for (size_t i = 0; i < 30; ++i) graph.nodes.push_back(Node("wide", "CPU", {i}));
  const GraphLayout layout = LayOut(graph);
  for (size_t i = 0; i < layout.boxes.size(); ++i) {
    const Point& one = layout.boxes[i];
    EXPECT_GE(one.x, kBoxWidth / 2);
    EXPECT_LE(one.x, layout.width - kBoxWidth / 2);
    EXPECT_LE(one.y, layout.height - kBoxHeight / 2);
    for (size_t j = i + 1; j < layout.boxes.size(); ++j) {
      const Point& other = layout.boxes[j];
      EXPECT_TRUE(one.y != other.y || std::abs(one.x - other.x) > kBoxWidth) << i << " and " << j;
    }
  }
}

TEST(GraphLayout, ALongLineGoesAroundTheBoxesBetween) {
  const ModelGraph graph{.nodes = {Node("a", "", {}), Node("b", "", {0}), Node("c", "", {1}), Node("d", "", {0, 2})}};
  const GraphLayout layout = LayOut(graph);
  bool found = false;
  for (const GraphLine& line : layout.lines) {
    for (const Point& point : line.points) {
      for (const size_t box : {1, 2}) {
        const bool in_row = std::abs(point.y - layout.boxes[box].y) <= kBoxHeight / 2;
        const bool at_its_middle = point.x == layout.boxes[box].x;
        if (in_row && !at_its_middle) {
          found = true;
          EXPECT_GT(std::abs(point.x - layout.boxes[box].x), kBoxWidth / 2);
        }
      }
    }
  }
  EXPECT_TRUE(found);
}

TEST(GraphLayout, WhatHasNoInputsLiesAboveItsFirstUse) {
  const ModelGraph graph{.nodes = {Node("in", "", {}), Node("state", "", {}), Node("a", "", {0}), Node("b", "", {2}),
                                   Node("c", "", {3, 1})}};
  const GraphLayout layout = LayOut(graph);
  EXPECT_EQ(layout.boxes[1].y, layout.boxes[3].y);
  EXPECT_EQ(layout.boxes[4].y, layout.boxes[1].y + kRowHeight);
}

TEST(GraphPage, OneBoxForEachNodeAndTheirNumbers) {
  const ModelGraph graph = Blocks(300);
  const std::string page = GraphPage({.title = "m", .target = "HETERO:GPU.0,CPU", .summary = "s"}, graph);
  EXPECT_EQ(Count(page, "<rect "), 901u);
  EXPECT_THAT(page, HasSubstr("CPU: 301 layers"));
  EXPECT_THAT(page, HasSubstr("GPU.0: 600 layers"));
  EXPECT_THAT(page, HasSubstr("<tr><td>Relu</td><td>301</td><td>600</td><td>901</td></tr>"));
  EXPECT_THAT(page, Not(HasSubstr("not told")));
  EXPECT_EQ(page, GraphPage({.title = "m", .target = "HETERO:GPU.0,CPU", .summary = "s"}, graph));
}

TEST(GraphPage, ADeviceThatNobodyTellsHasAColourToo) {
  const std::string page = GraphPage({.title = "m", .target = "CPU", .summary = ""}, {.nodes = {Node("a", "", {})}});
  EXPECT_THAT(page, HasSubstr("not told: 1 layers"));
}

TEST(GraphPage, NamesAreText) {
  const std::string bad = "</title></svg><script>alert(1)</script>&\"'";
  GraphNode node{.name = bad, .type = bad, .device = bad, .shape = bad, .inputs = {}};
  const std::string page = GraphPage({.title = bad, .target = bad, .summary = bad}, {.nodes = {node}});
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_EQ(Count(page, "<script"), 1u);
  EXPECT_EQ(Count(page, "</svg>"), 1u);
  EXPECT_THAT(page, HasSubstr("<g class=\"n d0\"><title>&lt;/title&gt;&lt;/svg&gt;&lt;script&gt;alert(1)&lt;/script&gt;"
                              "&amp;&quot;&apos;\n"));
}

TEST(GraphPage, WhatIsNoTextIsReplaced) {
  const auto title = [](const std::string& name) {
    const std::string page = GraphPage({.title = "", .target = "", .summary = ""}, {.nodes = {Node(name, "", {})}});
    const size_t begin = page.find("<g class=\"n d0\"><title>") + 23;
    return page.substr(begin, page.find('\n', begin) - begin);
  };
  EXPECT_EQ(title("sch\xc3\xb6n \xf0\x9f\x98\x80"), "sch\xc3\xb6n \xf0\x9f\x98\x80");
  for (const char* const bad : {"\xff", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xef\xbf\xbe", "\x1b", "\xf0\x9f\x98", "\x7f"}) {
    EXPECT_THAT(title(std::string("a") + bad), testing::StartsWith("a\xef\xbf\xbd"));
    EXPECT_THAT(title(std::string("a") + bad), Not(HasSubstr(bad)));
  }
  EXPECT_EQ(title(std::string("a\0b", 3)), "a\xef\xbf\xbd""b");
}

TEST(GraphPage, AnEmptyGraphIsAPageAsWell) {
  EXPECT_THAT(GraphPage({.title = "m", .target = "CPU", .summary = ""}, {}), HasSubstr("<svg viewBox=\"0 0 "));
}

}  // namespace
}  // namespace switchyard
