// Tests only: tiny models in a temporary folder, and a runtime to load them.
#pragma once

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <openvino/openvino.hpp>
#include <openvino/opsets/opset13.hpp>
#include <string>
#include <vector>

#include "runtime/openvino/openvino_runtime.h"
#include "tensor/element_type.h"

namespace switchyard {

namespace ops = ov::opset13;

inline std::shared_ptr<ops::Parameter> Input(const std::string& name, ov::PartialShape shape,
                                             ov::element::Type type = ov::element::f32) {
  auto parameter = std::make_shared<ops::Parameter>(type, shape);
  parameter->set_friendly_name(name);
  parameter->output(0).set_names({name});
  return parameter;
}

inline ov::Output<ov::Node> Named(ov::Output<ov::Node> output, const std::string& name) {
  output.set_names({name});
  return output;
}

inline ov::Output<ov::Node> PlusOne(const ov::Output<ov::Node>& input) {
  return std::make_shared<ops::Add>(input, ops::Constant::create(input.get_element_type(), ov::Shape{}, {1}));
}

// `b` to `a` = b + 1.
inline std::shared_ptr<ov::Model> AddModel(ov::PartialShape shape, ov::element::Type type = ov::element::f32) {
  auto input = Input("b", shape, type);
  return std::make_shared<ov::Model>(ov::OutputVector{Named(PlusOne(input), "a")}, ov::ParameterVector{input});
}

// The CPU's plugin a second time, for a device of another name.
inline std::string CpuPlugin() {
  Dl_info info;
  EXPECT_NE(dladdr(reinterpret_cast<void*>(&ov::get_openvino_version), &info), 0);
  return std::filesystem::path(info.dli_fname).parent_path() / "libopenvino_intel_cpu_plugin.so";
}

template <typename T>
TensorView View(const std::vector<T>& values, Shape shape, ElementType type) {
  return {.type = type,
          .shape = std::move(shape),
          .data = reinterpret_cast<const std::byte*>(values.data()),
          .bytes = values.size() * sizeof(T)};
}
inline TensorView View(const std::vector<float>& values, Shape shape) {
  return View(values, std::move(shape), ElementType::kFp32);
}

template <typename T>
std::vector<T> Values(const OutputTensor& output) {
  std::vector<T> values(output.bytes / sizeof(T));
  if (output.bytes > 0) std::memcpy(values.data(), output.data, output.bytes);
  return values;
}

class OpenVinoTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto made = MakeOpenVinoRuntime({});
    ASSERT_TRUE(made.ok()) << made.status();
    runtime_ = std::move(*made).release();
  }
  static void TearDownTestSuite() {
    delete runtime_;
    runtime_ = nullptr;
  }
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "sy_openvino_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Save(const std::shared_ptr<ov::Model>& model) {
    const std::string path = folder_ / "model.xml";
    ov::serialize(model, path);
    return path;
  }
  static LoadRequest Request(const std::string& path, ModelSettings settings = {}) {
    settings.name = "model";
    if (settings.target_device.empty()) settings.target_device = "CPU";
    const std::string target = settings.target_device;
    const PropertyMap properties = settings.plugin_config;
    return {.settings = std::move(settings), .model_path = path, .target = target, .properties = properties};
  }
  std::shared_ptr<CompiledModel> Load(const std::shared_ptr<ov::Model>& model, ModelSettings settings = {}) {
    return LoadPath(Save(model), std::move(settings));
  }
  static std::shared_ptr<CompiledModel> LoadPath(const std::string& path, ModelSettings settings = {}) {
    auto loaded = runtime_->Load(Request(path, std::move(settings)));
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded.ok() ? *loaded : nullptr;
  }
  std::unique_ptr<InferRequest> MakeRequest(const std::shared_ptr<ov::Model>& model, ModelSettings settings = {}) {
    auto loaded = Load(model, std::move(settings));
    if (loaded == nullptr) return nullptr;
    auto request = loaded->CreateInferRequest();
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? std::move(*request) : nullptr;
  }
  // All outputs of one inference.
  static std::vector<OutputTensor> Run(InferRequest& request, const std::vector<TensorView>& inputs, size_t outputs = 1) {
    std::vector<OutputTensor> result;
    Status status = request.Bind(inputs);
    if (status.ok()) status = request.Infer();
    EXPECT_TRUE(status.ok()) << status;
    for (size_t i = 0; status.ok() && i < outputs; ++i) {
      auto output = request.TakeOutput(i);
      EXPECT_TRUE(output.ok()) << output.status();
      if (output.ok()) result.push_back(*std::move(output));
    }
    result.resize(outputs);
    return result;
  }
  std::string LoadFault(const std::shared_ptr<ov::Model>& model, ModelSettings settings, StatusCode code) {
    const auto loaded = runtime_->Load(Request(Save(model), std::move(settings)));
    EXPECT_EQ(loaded.status().code(), code) << loaded.status();
    return std::string(Message(loaded.status()));
  }

  static inline Runtime* runtime_ = nullptr;
  std::filesystem::path folder_;
};

}  // namespace switchyard
