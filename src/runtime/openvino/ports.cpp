#include "runtime/openvino/ports.h"

#include <fmt/ranges.h>

#include <set>
#include <utility>

#include "runtime/openvino/convert.h"

namespace switchyard {
namespace {

// The name that the operation itself bears, else the first in the alphabet: OVMS's get_any_name() takes whichever a hash puts
// first.
std::vector<std::string> NameCandidates(const Port& port, const std::string& operation) {
  std::set<std::string> names(port.get_names().begin(), port.get_names().end());
  std::vector<std::string> candidates;
  if (names.erase(operation) > 0) candidates.push_back(operation);
  candidates.insert(candidates.end(), names.begin(), names.end());
  return candidates;
}

std::string FirstUnused(const std::vector<std::string>& candidates, std::set<std::string>& used, std::string fallback) {
  for (const std::string& name : candidates) {
    if (used.insert(name).second) return name;
  }
  while (!used.insert(fallback).second) fallback += "_";
  return fallback;
}

}  // namespace

PortNames PublicNames(const ov::Model& model) {
  PortNames names;
  std::set<std::string> used;
  for (const Port& port : model.inputs()) {
    const std::string& operation = port.get_node()->get_friendly_name();
    names.inputs.push_back(FirstUnused(NameCandidates(port, operation), used, operation));
  }
  used.clear();
  for (const Port& port : model.outputs()) {
    names.outputs.push_back(FirstUnused(NameCandidates(port, ""), used, fmt::format("out_{}", names.outputs.size())));
  }
  return names;
}

std::vector<Port> Inputs(const ov::Model& model) { return model.inputs(); }
std::vector<Port> Outputs(const ov::Model& model) { return model.outputs(); }

std::string TypeName(const ov::element::Type& type) {
  const ElementType known = FromOpenVino(type);
  return known == ElementType::kUndefined ? type.get_type_name() : std::string(PrecisionName(known));
}

std::string Describe(const std::vector<Port>& ports, const std::vector<std::string>& names) {
  std::vector<std::string> items;
  for (size_t i = 0; i < ports.size(); ++i) {
    items.push_back(fmt::format("{} {} {}", names[i], TypeName(ports[i].get_element_type()),
                                FromOpenVino(ports[i].get_partial_shape()).ToString()));
  }
  return fmt::format("{}", fmt::join(items, ", "));
}

std::optional<size_t> FindPort(const std::vector<Port>& ports, const std::vector<std::string>& public_names,
                               const std::vector<bool>& renamed, const std::string& name) {
  for (size_t i = 0; i < ports.size(); ++i) {
    if (public_names[i] == name) return i;
  }
  for (size_t i = 0; i < ports.size(); ++i) {
    if (i < renamed.size() && renamed[i]) continue;
    if (ports[i].get_names().contains(name) || ports[i].get_node()->get_friendly_name() == name) return i;
  }
  return std::nullopt;
}

std::optional<size_t> BatchDimension(const ov::Layout& layout, const ov::PartialShape& shape) {
  const bool ranked = shape.rank().is_static();
  if (ranked && shape.size() == 0) return std::nullopt;
  if (layout.empty()) return 0;
  if (!ov::layout::has_batch(layout)) return std::nullopt;
  int64_t index = ov::layout::batch_idx(layout);
  // Behind "..." it is counted from the end.
  if (index < 0 && ranked) index += static_cast<int64_t>(shape.size());
  if (index < 0 || (ranked && index >= static_cast<int64_t>(shape.size()))) return std::nullopt;
  return static_cast<size_t>(index);
}

}  // namespace switchyard
