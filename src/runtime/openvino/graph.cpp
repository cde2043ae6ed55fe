#include "runtime/openvino/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <utility>

#include "device/target.h"
#include "runtime/openvino/convert.h"

namespace switchyard {
namespace {

// These do more than compute with their inputs: they stay even where all of those are constants.
constexpr std::array<std::string_view, 7> kNeverConstant = {"Parameter",    "Result",     "ReadValue",  "ReadValueWithSubgraph",
                                                            "RandomUniform", "Multinomial", "Assign"};

bool IsConstant(const ov::Node& node, const std::map<const ov::Node*, size_t>& drawn) {
  const std::string_view type = node.get_type_name();
  if (type == "Constant") return true;
  if (node.get_input_size() == 0 || std::ranges::find(kNeverConstant, type) != kNeverConstant.end()) return false;
  for (size_t i = 0; i < node.get_input_size(); ++i) {
    if (drawn.contains(node.get_input_node_ptr(i))) return false;
  }
  return true;
}

std::string ShapesOf(const ov::Node& node) {
  std::string text;
  for (size_t i = 0; i < node.get_output_size(); ++i) {
    text += (i == 0 ? "" : ", ") + FromOpenVino(node.get_output_partial_shape(i)).ToString();
  }
  return text;
}

}  // namespace

StatusOr<ModelGraph> ReadGraph(ov::Core& core, const std::shared_ptr<ov::Model>& model, const std::string& target,
                               const ov::AnyMap& properties) {
  const auto read = [&]() -> StatusOr<ModelGraph> {
    const bool divided = target.starts_with("HETERO:");
    const ov::SupportedOpsMap told = divided ? core.query_model(model, target, properties) : ov::SupportedOpsMap();
    const std::string whole = divided ? "" : DevicesOf(target).front();
    ModelGraph graph;
    std::map<const ov::Node*, size_t> drawn;
    for (const auto& node : model->get_ordered_ops()) {
      if (IsConstant(*node, drawn)) {
        ++graph.left_out;
        continue;
      }
      GraphNode one{.name = node->get_friendly_name(), .type = node->get_type_name(), .device = whole, .shape = ShapesOf(*node),
                    .inputs = {}};
      const auto found = told.find(one.name);
      if (found != told.end()) one.device = CanonicalDevice(found->second);
      for (size_t i = 0; i < node->get_input_size(); ++i) {
        const auto input = drawn.find(node->get_input_node_ptr(i));
        if (input != drawn.end()) one.inputs.push_back(input->second);
      }
      drawn[node.get()] = graph.nodes.size();
      graph.nodes.push_back(std::move(one));
    }
    return graph;
  };
  return Guarded(StatusCode::kInternal, fmt::format("{} does not tell which device takes which layer", target), read);
}

}  // namespace switchyard
