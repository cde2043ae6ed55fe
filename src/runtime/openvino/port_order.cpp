#include "runtime/openvino/port_order.h"

#include <algorithm>
#include <optional>

#include "runtime/openvino/convert.h"

namespace switchyard {
namespace {

// What a port, and what it hands on, is known by.
const std::string& OwnName(const Port& port) { return port.get_node()->get_friendly_name(); }
std::optional<Port> SourceOf(const Port& port) {
  if (port.get_node()->get_input_size() == 0) return std::nullopt;
  return port.get_node()->input_value(0);
}
// Devices that make a port of a blob name it after the operation before it.
bool IsNamedAfter(const Port& compiled, const Port& port) {
  const auto source = SourceOf(port);
  if (!source) return false;
  const std::string& operation = OwnName(*source);
  return OwnName(compiled) == operation || OwnName(compiled) == fmt::format("{}.{}", operation, source->get_index());
}

bool ShareATensorName(const Port& a, const Port& b) {
  const auto& names = b.get_names();
  return std::ranges::any_of(a.get_names(), [&](const std::string& name) { return names.contains(name); });
}

// How sure it is that they are one; 0: nothing speaks for it.
int Likeness(const Port& port, const Port& compiled) {
  const int operation = OwnName(port) == OwnName(compiled) ? 2 : IsNamedAfter(compiled, port) ? 1 : 0;
  return (ShareATensorName(port, compiled) ? 4 : 0) + operation;
}

bool SameValue(const Port& a, const Port& b) {
  const auto source = SourceOf(a);
  return source.has_value() && source == SourceOf(b);
}

std::vector<std::string> OwnNames(const std::vector<Port>& ports) {
  std::vector<std::string> names;
  for (const Port& port : ports) names.push_back(port.get_names().empty() ? OwnName(port) : *port.get_names().begin());
  return names;
}

class Matching {
 public:
  Matching(const std::vector<Port>& model, const std::vector<Port>& compiled, bool keeps_order)
      : model_(model), compiled_(compiled), keeps_order_(keeps_order), found_(model.size()), taken_(compiled.size()) {}

  // The port that cannot be told, if there is one.
  std::optional<size_t> Run() {
    // From what is surest on; within that, what is where it was.
    for (const int likeness : {6, 5, 4, 2, 1}) {
      for (size_t i = 0; i < model_.size(); ++i) Take(i, i, likeness);
      for (size_t i = 0; i < model_.size(); ++i) {
        for (size_t k = 0; k < compiled_.size() && !found_[i]; ++k) Take(i, k, likeness);
      }
    }
    const auto open = static_cast<size_t>(std::count(found_.begin(), found_.end(), std::nullopt));
    for (size_t i = 0; i < model_.size(); ++i) {
      if (found_[i]) continue;
      // The only one that is left, or the place.
      const auto last = static_cast<size_t>(std::find(taken_.begin(), taken_.end(), false) - taken_.begin());
      if (open != 1 && (!keeps_order_ || taken_[i])) return i;
      Set(i, open == 1 ? last : i);
    }
    return unclear_;
  }
  std::vector<size_t> order() const {
    std::vector<size_t> order;
    for (const auto& index : found_) order.push_back(*index);
    return order;
  }

 private:
  void Set(size_t i, size_t k) {
    found_[i] = k;
    taken_[k] = true;
  }
  void Take(size_t i, size_t k, int likeness) {
    if (found_[i] || taken_[k] || Likeness(model_[i], compiled_[k]) != likeness) return;
    if (!keeps_order_ && !unclear_ && !IsClear(i, k, likeness)) unclear_ = i;
    Set(i, k);
  }
  // Whether nothing else is as like either of them, but for what hands on the same value.
  bool IsClear(size_t i, size_t k, int likeness) const {
    size_t same = 0, alike = 0;
    for (size_t other = 0; other < model_.size(); ++other) {
      if (other == i || found_[other] || Likeness(model_[other], compiled_[k]) != likeness) continue;
      if (!SameValue(model_[i], model_[other])) return false;
      ++same;
    }
    for (size_t other = 0; other < compiled_.size(); ++other) {
      if (other != k && !taken_[other] && Likeness(model_[i], compiled_[other]) == likeness) ++alike;
    }
    return alike <= same;
  }

  const std::vector<Port>& model_;
  const std::vector<Port>& compiled_;
  const bool keeps_order_;
  std::vector<std::optional<size_t>> found_;
  std::vector<bool> taken_;
  std::optional<size_t> unclear_;
};

}  // namespace

StatusOr<std::vector<size_t>> MatchPorts(const std::vector<Port>& model, const std::vector<Port>& compiled,
                                         const std::vector<std::string>& names, std::string_view kind,
                                         const std::string& target) {
  const auto came = [&] { return Describe(compiled, OwnNames(compiled)); };
  if (model.size() != compiled.size()) {
    return Error(StatusCode::kInternal, "target_device {}: expected the model's {} {}s ({}), but it was compiled to {} ({})",
                 target, model.size(), kind, Describe(model, names), compiled.size(), came());
  }
  Matching matching(model, compiled, !target.starts_with("HETERO"));
  if (const auto unclear = matching.Run()) {
    return Error(
        StatusCode::kInternal,
        "target_device {}: which {} of the compiled model is \"{}\" cannot be told by names: it has {}, and the model {}; "
        "give each tensor a name of its own in the model, or take one device",
        target, kind, names[*unclear], came(), Describe(model, names));
  }
  std::vector<size_t> order = matching.order();
  for (size_t i = 0; i < order.size(); ++i) {
    const Port& port = compiled[order[i]];
    const bool fits = port.get_element_type().compatible(model[i].get_element_type()) &&
                      port.get_partial_shape().compatible(model[i].get_partial_shape());
    if (fits) continue;
    return Error(StatusCode::kInternal, "target_device {}: {} \"{}\" was compiled to {} {}; expected {} {}", target, kind,
                 names[i], TypeName(port.get_element_type()), FromOpenVino(port.get_partial_shape()).ToString(),
                 TypeName(model[i].get_element_type()), FromOpenVino(model[i].get_partial_shape()).ToString());
  }
  return order;
}

StatusOr<PortOrder> FindPortOrder(const ov::Model& model, const ov::CompiledModel& compiled, const PortNames& names,
                                  const std::string& target) {
  PortOrder order;
  SY_ASSIGN_OR_RETURN(order.inputs, MatchPorts(Inputs(model), compiled.inputs(), names.inputs, "input", target));
  SY_ASSIGN_OR_RETURN(order.outputs, MatchPorts(Outputs(model), compiled.outputs(), names.outputs, "output", target));
  return order;
}

}  // namespace switchyard
