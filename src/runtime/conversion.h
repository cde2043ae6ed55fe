// Models of every format that is served, to OpenVINO IR: what `switchyard convert` asks for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

struct ConversionRequest {
  std::string source;  // a model's file, or the folder of a SavedModel
  // What becomes part of the model: shapes, batch_size, layouts, color_formats, precisions, means, scales. A layout that is
  // needed and not given is guessed where an input has three channels in one place only.
  ModelSettings settings;
  bool reverse_input_channels = false;  // before mean and scale; for inputs with three channels
  bool half = false;                    // keep weights as FP16
};

struct ConvertedModel {
  std::vector<std::string> inputs;  // "data FP32 (1,224,224,3)", as the written model has them
  std::vector<std::string> outputs;
  std::vector<std::string> notes;  // sentences: what was guessed
  uint64_t bytes = 0;              // of .xml and .bin
};

// How far what was written is from its source, on the same random inputs.
struct Comparison {
  struct Output {
    std::string name;
    double difference = 0;  // the largest between two values
    double largest = 0;     // magnitude in the source's answers
  };
  std::vector<Output> outputs;
  int inputs_tried = 0;
  std::string not_compared;  // why: the source itself cannot be run on random input; empty otherwise

  double difference() const {
    double most = 0;
    for (const Output& output : outputs) most = std::max(most, output.difference);
    return most;
  }
  // Of the output where it is worst: the difference in terms of max(1, largest).
  double relative() const {
    double most = 0;
    for (const Output& output : outputs) most = std::max(most, output.difference / std::max(1.0, output.largest));
    return most;
  }
};

class ModelConverter {
 public:
  virtual ~ModelConverter() = default;
  // Writes model.xml and model.bin into `folder`. InvalidArgument: the model or a setting is faulty, with the remedy; NotFound:
  // there is no such file; Internal: it cannot be written.
  virtual StatusOr<ConvertedModel> Convert(const ConversionRequest& request, const std::string& folder) = 0;
  // Runs the source, with the request's settings, and the model `xml`. Internal: what was written cannot be read or run, or its
  // answers have other shapes or are no numbers where the source's are.
  virtual StatusOr<Comparison> Compare(const ConversionRequest& request, const std::string& xml) = 0;
};

}  // namespace switchyard
