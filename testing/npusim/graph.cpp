#include "testing/npusim/graph.h"

#include <cstring>
#include <fstream>
#include <utility>

#include "testing/npusim/openvino_c.h"
#include "testing/npusim/settings.h"

namespace npusim {
namespace {

constexpr char kMagic[8] = "NPUSIM1";  // in front of a blob

void Dump(const std::string& xml) {
  std::string folder = Setting("NPUSIM_DUMP", "");
  if (!folder.empty()) std::ofstream(folder + "/npusim_model.xml") << xml;
}

}  // namespace

std::shared_ptr<Graph> Graph::Create(const uint8_t* bytes, size_t size, bool is_blob, Result* result, std::string* error) {
  std::shared_ptr<Graph> graph(new Graph);
  if (is_blob) {
    if (size < sizeof kMagic || memcmp(bytes, kMagic, sizeof kMagic) != 0) {
      *result = kInvalidNativeBinary;
      *error = "npusim: this is not a blob of this driver";
      return nullptr;
    }
    graph->blob_.assign(bytes, bytes + size);
    bytes += sizeof kMagic;
    size -= sizeof kMagic;
  } else {
    graph->blob_.assign(kMagic, kMagic + sizeof kMagic);
    graph->blob_.insert(graph->blob_.end(), bytes, bytes + size);
  }
  std::string xml;
  std::vector<uint8_t> weights;
  Ir ir;
  if (!UnpackContainer(bytes, size, &xml, &weights)) {
    *error = "npusim: the serialised model is not in the expected container";
  } else if (!ParseIr(xml, &ir)) {
    *error = "npusim: the model's XML could not be read";
  } else {
    Dump(xml);
    *error = ReadArguments(ir, &graph->arguments_);
    if (error->empty()) *error = graph->Build(xml, std::move(weights));
  }
  *result = error->empty() ? kSuccess : kBuildFailure;
  return error->empty() ? graph : nullptr;
}

std::string Graph::Build(const std::string& xml, std::vector<uint8_t> weights) {
  if (Setting("NPUSIM_COMPUTE", "cpu") != "cpu") return "";
  OpenVino& api = OpenVino::Get();
  if (!api.error.empty()) return api.error;
  constexpr uint32_t kU8 = 16;
  weights_ = std::move(weights);
  auto size = static_cast<int64_t>(weights_.size());
  void* tensor = nullptr;
  if (size > 0 && api.create_tensor(kU8, OvShape{1, &size}, weights_.data(), &tensor) != 0) return api.Why("weights");
  std::string precision = Setting("NPUSIM_PRECISION", "f32"), error;
  if (api.read_model(api.core, xml.data(), xml.size(), tensor, &model_) != 0) {
    error = api.Why("read_model");
  } else if (api.compile(api.core, model_, "CPU", 2, &compiled_, "INFERENCE_PRECISION_HINT", precision.c_str()) != 0) {
    error = api.Why("compile_model");
  } else if (api.create_request(compiled_, &request_) != 0) {
    error = api.Why("create_infer_request");
  }
  if (tensor) api.free_tensor(tensor);
  return error;
}

Graph::~Graph() {
  OpenVino& api = OpenVino::Get();
  if (request_) api.free_request(request_);
  if (compiled_) api.free_compiled(compiled_);
  if (model_) api.free_model(model_);
}

Result Graph::Run(const Values& values) {
  if (!request_) return kSuccess;  // outputs stay as they are
  OpenVino& api = OpenVino::Get();
  std::lock_guard<std::mutex> lock(mutex_);
  size_t inputs = 0, outputs = 0;
  for (uint32_t i = 0; i < arguments_.size(); ++i) {
    Argument& argument = arguments_[i];
    auto value = values.find(i);
    if (value == values.end() || !value->second) {
      Trace("argument %u was not set", i);
      return kInvalidArgument;
    }
    // An output that hands on an input is one tensor with it in the CPU plugin: setting it would take the input's place.
    if (argument.copy_of >= 0) {
      ++outputs;
      continue;
    }
    void* tensor = nullptr;
    OvShape shape{static_cast<int64_t>(argument.dimensions.size()), argument.dimensions.data()};
    bool fine = api.create_tensor(argument.precision->openvino_code, shape, const_cast<void*>(value->second), &tensor) == 0;
    fine = fine &&
           (argument.is_input ? api.set_input(request_, inputs++, tensor) : api.set_output(request_, outputs++, tensor)) == 0;
    if (tensor) api.free_tensor(tensor);  // the request holds its own reference
    if (!fine) {
      Trace("%s", api.Why("set tensor").c_str());
      return kUnknown;
    }
  }
  if (api.infer(request_) != 0) {
    Trace("%s", api.Why("infer").c_str());
    return kUnknown;
  }
  for (uint32_t i = 0; i < arguments_.size(); ++i) {
    if (int from = arguments_[i].copy_of; from >= 0) {
      memcpy(const_cast<void*>(values.at(i)), values.at(static_cast<uint32_t>(from)), arguments_[i].bytes());
    }
  }
  return kSuccess;
}

}  // namespace npusim
