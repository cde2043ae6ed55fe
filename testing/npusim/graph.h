// A compiled model of the simulated device. "Compiling" keeps the IR; "executing" runs it on OpenVINO's CPU plugin.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "testing/npusim/ir.h"
#include "testing/npusim/level_zero.h"

namespace npusim {

class Graph {
 public:
  using Values = std::map<uint32_t, const void*>;  // an argument's index to its memory

  // From a container (ir.h), or from `blob()` of another graph. Null with the code to answer and a reason in `error`.
  static std::shared_ptr<Graph> Create(const uint8_t* bytes, size_t size, bool is_blob, Result* result, std::string* error);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  const std::vector<Argument>& arguments() const { return arguments_; }
  const std::vector<uint8_t>& blob() const { return blob_; }

  // What the next append to a command list takes along. One thread at a time, as the interface asks of callers.
  void SetValue(uint32_t index, const void* value) { values_[index] = value; }
  const Values& values() const { return values_; }

  // Computes. Called by device threads; executions of one graph take turns.
  Result Run(const Values& values);

 private:
  Graph() = default;
  std::string Build(const std::string& xml, std::vector<uint8_t> weights);

  std::vector<uint8_t> blob_;
  std::vector<uint8_t> weights_;  // the model's constants stay where they were read
  std::vector<Argument> arguments_;
  Values values_;
  std::mutex mutex_;
  void* model_ = nullptr;
  void* compiled_ = nullptr;
  void* request_ = nullptr;  // null with NPUSIM_COMPUTE=none
};

}  // namespace npusim
