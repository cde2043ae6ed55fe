#include "tools/graph_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/graph_layout.h"
#include "tools/markup.h"

namespace switchyard {
namespace {

// Told apart also by those who see colours otherwise; black text is readable on each.
constexpr std::array<std::string_view, 8> kColours = {"#8ecbf0", "#f2b84b", "#6fcfae", "#f3e97a",
                                                      "#ee9b73", "#dda6c6", "#8fa8e8", "#b5d16b"};
constexpr std::string_view kNoColour = "#d0d0d0";
constexpr std::string_view kUntold = "not told";
constexpr size_t kNameLength = 24;  // characters that fit into a box

// Nothing is fetched, and nothing but what stands here runs, whatever a name may hold.
constexpr std::string_view kHead = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
)";
constexpr std::string_view kStyle = R"(<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 16px; color: black; background: #fff; }
h1 { font-size: 18px; margin: 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; font-size: 12px; }
#bar { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; margin: 8px 0; }
.key { display: inline-block; width: 14px; height: 14px; border: 1px solid dimgray; vertical-align: -2px; margin-right: 4px; }
svg { width: 100%; height: 75vh; border: 1px solid silver; cursor: grab; touch-action: none; }
.n rect { stroke: dimgray; }
.n.found rect { stroke: #c00; stroke-width: 4; }
.n text { text-anchor: middle; font-size: 12px; pointer-events: none; }
.n text + text { font-size: 10px; fill: black; unicode-bidi: isolate; }
.l { fill: none; stroke: gray; }
table { border-collapse: collapse; margin-top: 16px; }
td, th { border: 1px solid silver; padding: 2px 8px; text-align: right; }
td:first-child, th:first-child { text-align: left; }
)";
constexpr std::string_view kScript = R"(<script>
"use strict";
const svg = document.querySelector("svg");
const nodes = [...document.querySelectorAll(".n")];
const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
let view = [0, 0, width, height];
const show = () => svg.setAttribute("viewBox", view.join(" "));
const scale = () => Math.max(view[2] / svg.clientWidth, view[3] / svg.clientHeight);
function whole() { view = [0, 0, width, height]; show(); }
function centre(node) {
  const box = node.querySelector("rect");
  const x = Number(box.getAttribute("x")), y = Number(box.getAttribute("y"));
  view = [x + Number(box.getAttribute("width")) / 2 - svg.clientWidth / 2, y - svg.clientHeight / 3,
          svg.clientWidth, svg.clientHeight];
  show();
}
function start() {
  if (nodes.length === 0 || (width <= svg.clientWidth && height <= svg.clientHeight)) return whole();
  centre(nodes[0]);
  view[1] = 0;
  show();
}
svg.addEventListener("wheel", event => {
  event.preventDefault();
  const by = Math.exp(Math.max(-100, Math.min(100, event.deltaY)) * 0.003);
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  view = [at.x - (at.x - view[0]) * by, at.y - (at.y - view[1]) * by, view[2] * by, view[3] * by];
  show();
}, { passive: false });
let held = false;
svg.addEventListener("pointerdown", event => { held = true; svg.setPointerCapture(event.pointerId); });
svg.addEventListener("pointerup", () => { held = false; });
svg.addEventListener("pointercancel", () => { held = false; });
svg.addEventListener("pointermove", event => {
  if (!held) return;
  const by = scale();
  view[0] -= event.movementX * by;
  view[1] -= event.movementY * by;
  show();
});
let last = "", next = 0;
document.querySelector("#find").addEventListener("keydown", event => {
  if (event.key !== "Enter") return;
  const text = event.target.value.toLowerCase();
  const found = text === "" ? [] : nodes.filter(node => node.firstChild.textContent.toLowerCase().includes(text));
  next = text === last ? next + 1 : 0;
  last = text;
  nodes.forEach(node => node.classList.remove("found"));
  document.querySelector("#hits").textContent = text === "" ? "" : found.length + " found";
  if (found.length === 0) return;
  found[next % found.length].classList.add("found");
  centre(found[next % found.length]);
});
document.querySelector("#whole").addEventListener("click", whole);
document.querySelector("#start").addEventListener("click", start);
start();
</script>
)";

// The end of a name says more than its beginning, which many share.
std::string ShortName(std::string_view name) {
  std::vector<std::string_view> characters = Utf8Characters(name);
  if (characters.size() > kNameLength) {
    characters.erase(characters.begin(), characters.end() - static_cast<ptrdiff_t>(kNameLength - 1));
    characters.insert(characters.begin(), "\xe2\x80\xa6");
  }
  return EscapeMarkup(characters);
}

std::string_view DeviceName(const std::string& device) { return device.empty() ? kUntold : std::string_view(device); }

// Devices in their order, and the number of layers of each.
using Devices = std::map<std::string, size_t>;

size_t IndexOf(const Devices& devices, const std::string& device) {
  return static_cast<size_t>(std::distance(devices.begin(), devices.find(device)));
}

std::string Style(const Devices& devices) {
  std::string text(kStyle);
  size_t colour = 0;
  for (const auto& [device, count] : devices) {
    const std::string_view paint = device.empty() ? kNoColour : kColours[colour++ % kColours.size()];
    text += fmt::format(".d{0} rect {{ fill: {1}; }} .key.d{0} {{ background: {1}; }}\n", IndexOf(devices, device), paint);
  }
  return text + "</style></head><body>\n";
}

std::string Bar(const Devices& devices, const ModelGraph& graph) {
  std::string text = "<div id=\"bar\">";
  for (const auto& [device, count] : devices) {
    text += fmt::format("<span><span class=\"key d{}\"></span>{}: {} layers</span>\n", IndexOf(devices, device),
                        EscapeMarkup(DeviceName(device)), count);
  }
  text +=
      "<input id=\"find\" type=\"search\" placeholder=\"name, type, shape: Enter\"><span id=\"hits\"></span>\n"
      "<button id=\"start\">start</button><button id=\"whole\">whole</button>\n";
  return text + fmt::format("<span>{} constant nodes are not drawn. Wheel: zoom; drag: move.</span></div>\n", graph.left_out);
}

std::string Line(const GraphLine& line) {
  std::string path = fmt::format("M{:.1f} {:.1f}", line.points[0].x, line.points[0].y);
  for (size_t i = 1; i < line.points.size(); ++i) {
    const Point& from = line.points[i - 1];
    const Point& to = line.points[i];
    const double middle = (from.y + to.y) / 2;
    if (from.x == to.x) {
      path += fmt::format("V{:.1f}", to.y);
    } else {
      path += fmt::format("C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}", from.x, middle, to.x, middle, to.x, to.y);
    }
  }
  return fmt::format("<path class=\"l\" d=\"{}\"/>\n", path);
}

std::string Drawing(const Devices& devices, const ModelGraph& graph) {
  const GraphLayout layout = LayOut(graph);
  std::string text = fmt::format("<svg viewBox=\"0 0 {:.1f} {:.1f}\">\n", layout.width, layout.height);
  for (const GraphLine& line : layout.lines) text += Line(line);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const GraphNode& node = graph.nodes[i];
    const auto [x, y] = layout.boxes[i];
    text +=
        fmt::format("<g class=\"n d{}\"><title>{}\n{} {}\n{}</title>", IndexOf(devices, node.device), EscapeMarkup(node.name),
                    EscapeMarkup(node.type), EscapeMarkup(node.shape), EscapeMarkup(DeviceName(node.device)));
    text += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.0f}\" height=\"{:.0f}\" rx=\"4\"/>", x - kBoxWidth / 2,
                        y - kBoxHeight / 2, kBoxWidth, kBoxHeight);
    text += fmt::format("<text x=\"{0:.1f}\" y=\"{1:.1f}\">{3}</text><text x=\"{0:.1f}\" y=\"{2:.1f}\">{4}</text></g>\n", x,
                        y - 3, y + 12, ShortName(node.type), ShortName(node.name));
  }
  return text + "</svg>\n";
}

// Types with the most layers first.
std::string Summary(const Devices& devices, const ModelGraph& graph) {
  std::map<std::string, Devices> types;
  for (const GraphNode& node : graph.nodes) ++types[node.type][node.device];
  std::vector<std::pair<std::string, size_t>> order;
  for (const auto& [type, counts] : types) {
    size_t sum = 0;
    for (const auto& [device, count] : counts) sum += count;
    order.emplace_back(type, sum);
  }
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text = "<table><tr><th>Type</th>";
  for (const auto& [device, count] : devices) text += fmt::format("<th>{}</th>", EscapeMarkup(DeviceName(device)));
  text += "<th>All</th></tr>\n";
  for (const auto& [type, sum] : order) {
    text += fmt::format("<tr><td>{}</td>", EscapeMarkup(type));
    for (const auto& [device, count] : devices) {
      const auto found = types[type].find(device);
      text += found == types[type].end() ? "<td></td>" : fmt::format("<td>{}</td>", found->second);
    }
    text += fmt::format("<td>{}</td></tr>\n", sum);
  }
  text += "<tr><th>All</th>";
  for (const auto& [device, count] : devices) text += fmt::format("<th>{}</th>", count);
  return text + fmt::format("<th>{}</th></tr></table>\n", graph.nodes.size());
}

}  // namespace

std::string GraphPage(const GraphPageText& text, const ModelGraph& graph) {
  Devices devices;
  for (const GraphNode& node : graph.nodes) ++devices[node.device];
  std::string page(kHead);
  page += fmt::format("<title>{} on {}</title>\n", EscapeMarkup(text.title), EscapeMarkup(text.target));
  page += Style(devices);
  page += fmt::format("<h1>{} on {}</h1>\n<pre>{}</pre>\n", EscapeMarkup(text.title), EscapeMarkup(text.target),
                      EscapeMarkup(text.summary));
  page += Bar(devices, graph);
  page += Drawing(devices, graph);
  page += Summary(devices, graph);
  page += kScript;
  return page + "</body></html>\n";
}

}  // namespace switchyard
