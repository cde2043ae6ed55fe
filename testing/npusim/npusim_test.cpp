// OpenVINO's NPU plugin on the simulated NPU: needs the folder of libze_loader.so.1 in LD_LIBRARY_PATH, as CTest sets it.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <openvino/openvino.hpp>
#include <openvino/opsets/opset13.hpp>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace npusim {
namespace {

namespace ops = ov::opset13;

const std::string& FaultPath() {
  static const std::string path = std::filesystem::temp_directory_path() / ("npusim_test." + std::to_string(getpid()));
  return path;
}

// In one step, as the simulator may read at any moment.
void SetFaults(const std::string& faults) {
  std::string written = FaultPath() + ".new";
  std::ofstream(written) << faults;
  std::filesystem::rename(written, FaultPath());
}

class NpusimTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    setenv("NPUSIM_FAIL_FILE", FaultPath().c_str(), 1);
    SetFaults("");
    // Not the list of all devices: a GPU's driver that this machine may have need not stand sanitizers.
    ASSERT_FALSE(ov::Core().get_property("NPU", ov::available_devices).empty())
        << "run this by ctest, or with build/<preset>/testing/npusim/lib in LD_LIBRARY_PATH";
  }
  static void TearDownTestSuite() { std::filesystem::remove(FaultPath()); }

  NpusimTest() {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (float& value : input_) value = normal(random);
    std::vector<float> weights(kWidth * kWidth);
    for (float& value : weights) value = normal(random);
    auto x = std::make_shared<ops::Parameter>(ov::element::f32, ov::Shape{1, kWidth});
    auto matrix = ops::Constant::create(ov::element::f32, {kWidth, kWidth}, weights);
    auto product = std::make_shared<ops::MatMul>(x, matrix);
    auto softmax = std::make_shared<ops::Softmax>(product, 1);
    model_ = std::make_shared<ov::Model>(ov::OutputVector{softmax, product}, ov::ParameterVector{x}, "model");
    expected_ =
        Infer(core_.compile_model(model_, "CPU", ov::hint::inference_precision(ov::element::f32)).create_infer_request());
  }
  ~NpusimTest() override { SetFaults(""); }

  void Feed(ov::InferRequest& request) { request.set_input_tensor(ov::Tensor(ov::element::f32, {1, kWidth}, input_.data())); }
  static std::vector<float> Outputs(ov::InferRequest& request) {
    std::vector<float> values;
    for (size_t i = 0; i < 2; ++i) {
      ov::Tensor tensor = request.get_output_tensor(i);
      values.insert(values.end(), tensor.data<float>(), tensor.data<float>() + tensor.get_size());
    }
    return values;
  }
  std::vector<float> Infer(ov::InferRequest request) {
    Feed(request);
    request.infer();
    return Outputs(request);
  }
  // The exception's text; empty for none.
  template <class F>
  static std::string ErrorOf(F call) {
    try {
      call();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }

  static constexpr size_t kWidth = 64;
  ov::Core core_;
  std::shared_ptr<ov::Model> model_;
  std::vector<float> input_ = std::vector<float>(kWidth);
  std::vector<float> expected_;
};

TEST_F(NpusimTest, EqualsTheCpuOnManyThreads) {
  std::vector<ov::CompiledModel> models;
  for (int i = 0; i < 2; ++i) models.push_back(core_.compile_model(model_, "NPU"));
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      ov::InferRequest request = models[i % models.size()].create_infer_request();
      for (int round = 0; round < 20; ++round) wrong += Infer(request) != expected_;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(NpusimTest, ImportsWhatItExported) {
  std::stringstream blob;
  core_.compile_model(model_, "NPU").export_model(blob);
  EXPECT_EQ(Infer(core_.import_model(blob, "NPU").create_infer_request()), expected_);
}

// As HETERO makes of an input that two devices read: the first device hands it on to the other.
TEST_F(NpusimTest, HandsAnInputOnBesideComputingWithIt) {
  auto x = std::make_shared<ops::Parameter>(ov::element::f32, ov::Shape{1, kWidth});
  auto exp = std::make_shared<ops::Exp>(x);
  model_ = std::make_shared<ov::Model>(ov::OutputVector{x, exp}, ov::ParameterVector{x}, "model");
  expected_ = input_;
  for (const float value : input_) expected_.push_back(std::exp(value));
  std::vector<float> outputs = Infer(core_.compile_model(model_, "NPU").create_infer_request());
  ASSERT_EQ(outputs.size(), expected_.size());
  for (size_t i = 0; i < outputs.size(); ++i) EXPECT_NEAR(outputs[i], expected_[i], 1e-5 * std::abs(expected_[i])) << i;
}

TEST_F(NpusimTest, AHangHoldsTheWaitAndNotTheStart) {
  ov::CompiledModel compiled = core_.compile_model(model_, "NPU");
  ov::InferRequest request = compiled.create_infer_request();
  Feed(request);
  request.infer();
  SetFaults("hang");
  request.start_async();
  EXPECT_FALSE(request.wait_for(std::chrono::milliseconds(50)));
  SetFaults("");
  request.wait();
  EXPECT_EQ(Outputs(request), expected_);
}

TEST_F(NpusimTest, WhatIsDestroyedInAHangLivesUntilItEnds) {
  SetFaults("hang");
  std::thread lift;
  {
    ov::CompiledModel compiled = core_.compile_model(model_, "NPU");
    std::vector<ov::InferRequest> requests;
    for (int i = 0; i < 3; ++i) {
      requests.push_back(compiled.create_infer_request());
      Feed(requests.back());
      requests.back().start_async();
    }
    EXPECT_FALSE(requests[0].wait_for(std::chrono::milliseconds(1)));
    lift = std::thread([] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      SetFaults("");
    });
  }
  lift.join();
  EXPECT_EQ(Infer(core_.compile_model(model_, "NPU").create_infer_request()), expected_);
}

TEST_F(NpusimTest, FailsAndRecovers) {
  ov::CompiledModel compiled = core_.compile_model(model_, "NPU");
  ov::InferRequest request = compiled.create_infer_request();
  Infer(request);
  SetFaults("execute");
  EXPECT_NE(ErrorOf([&] { request.infer(); }).find("ZE_RESULT_ERROR_DEVICE_LOST"), std::string::npos);
  SetFaults("hang");
  request.start_async();
  EXPECT_FALSE(request.wait_for(std::chrono::milliseconds(20)));
  SetFaults("execute");  // the hang ends in a lost device
  EXPECT_NE(ErrorOf([&] { request.wait(); }).find("ZE_RESULT_ERROR_DEVICE_LOST"), std::string::npos);
  SetFaults("create");
  EXPECT_NE(ErrorOf([&] { core_.compile_model(model_, "NPU"); }).find("compilation failed on request"), std::string::npos);
  SetFaults("");
  EXPECT_EQ(Infer(request), expected_);
}

}  // namespace
}  // namespace npusim
