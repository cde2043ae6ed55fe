#include "runtime/openvino/batching.h"

#include <exception>
#include <map>
#include <openvino/core/layout.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/openvino/convert.h"

namespace switchyard {
namespace {

constexpr std::string_view kRemedy =
    "export it with a batch that varies, or give batch_size, the number of rows that it takes, to have batches filled up to "
    "it, "
    "or remove dynamic_batching";

std::optional<size_t> BatchOf(const Port& port) {
  return BatchDimension(ov::layout::get_layout(port), port.get_partial_shape());
}

void SetBatch(ov::Model& model, const ov::Dimension& batch) {
  std::map<ov::Output<ov::Node>, ov::PartialShape> shapes;
  for (const ov::Output<ov::Node>& input : model.inputs()) {
    ov::PartialShape shape = input.get_partial_shape();
    shape[*BatchOf(input)] = batch;
    shapes[input] = shape;
  }
  model.reshape(shapes);
}

Status CheckInputs(const ov::Model& model, const PortNames& names) {
  if (!model.get_variables().empty()) {
    return InvalidArgument(
        "dynamic_batching: the model keeps state between calls (variable \"{}\"), which calls that are joined would mix; "
        "remove "
        "dynamic_batching",
        model.get_variables()[0]->get_info().variable_id);
  }
  const std::vector<Port> inputs = Inputs(model);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].get_partial_shape().rank().is_static() && BatchOf(inputs[i])) continue;
    return InvalidArgument(
        "dynamic_batching: input \"{}\" has no batch dimension; the model's inputs: {}. Name it by layout, such as \"N...\", "
        "or "
        "remove dynamic_batching",
        names.inputs[i], Describe(inputs, names.inputs));
  }
  if (inputs.empty()) return InvalidArgument("dynamic_batching: the model has no inputs; remove dynamic_batching");
  return absl::OkStatus();
}

// Whether every output has so many rows.
Status CheckOutputs(const ov::Model& model, const PortNames& names, int64_t rows) {
  const std::vector<Port> outputs = Outputs(model);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const ov::PartialShape& shape = outputs[i].get_partial_shape();
    const std::optional<size_t> batch = BatchOf(outputs[i]);
    if (batch && shape.rank().is_static() && shape[*batch] == ov::Dimension(rows)) continue;
    return InvalidArgument(
        "dynamic_batching: output \"{}\" has the shape {} for a batch of {} rows, so that they cannot be told apart; give the "
        "output's layout, such as \"N...\", if its batch is another dimension, or else {}",
        names.outputs[i], FromOpenVino(shape).ToString(), rows, kRemedy);
  }
  return absl::OkStatus();
}

// A model may take another batch and yet give outputs of other rows: it is asked for two sizes, whose rows are told exactly.
Status CheckRows(const ov::Model& model, const PortNames& names) {
  for (const int64_t rows : {2, 3}) {
    const std::shared_ptr<ov::Model> tried = model.clone();
    SetBatch(*tried, ov::Dimension(rows));
    SY_RETURN_IF_ERROR(CheckOutputs(*tried, names, rows));
  }
  return absl::OkStatus();
}

Status CheckFixed(const ov::Model& model, const ModelSettings& settings, const PortNames& names) {
  const int64_t rows = settings.batch_size->min;
  if (rows < settings.dynamic_batching->max_batch_size) {
    return InvalidArgument(
        "dynamic_batching: max_batch_size is {}, and batch_size fixes the batch at {} rows; give both the same number, or "
        "remove "
        "batch_size",
        settings.dynamic_batching->max_batch_size, rows);
  }
  return CheckOutputs(model, names, rows);
}

}  // namespace

Status PrepareBatching(ov::Model& model, const ModelSettings& settings, const PortNames& names) {
  if (!settings.dynamic_batching) return absl::OkStatus();
  SY_RETURN_IF_ERROR(CheckInputs(model, names));
  const bool fixed = settings.batch_size && settings.batch_size->is_static() && settings.shapes.empty();
  if (fixed) return CheckFixed(model, settings, names);
  const std::string own = Describe(Inputs(model), names.inputs);
  try {
    SY_RETURN_IF_ERROR(CheckRows(model, names));
    SetBatch(model, ov::Dimension(1, settings.dynamic_batching->max_batch_size));
    return absl::OkStatus();
  } catch (const std::exception& exception) {
    return InvalidArgument("dynamic_batching: the model (its inputs: {}) takes no batch that varies: {}; {}", own,
                           LayerMessage(exception.what()), kRemedy);
  }
}

}  // namespace switchyard
