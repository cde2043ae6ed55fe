// What an inference costs without a server: a loop over one infer request, as a program would run that embeds OpenVINO.
//   inprocess make DIR                 writes the models add/1/model.xml and sink/1/model.xml under DIR
//   inprocess run MODEL SECONDS        prints {"inferences": n, "cpu_us": CPU microseconds each, "wall_us": ..., "rss_kb": ...}
// The device settings are the server's defaults: CPU, LATENCY.
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <openvino/openvino.hpp>
#include <openvino/opsets/opset8.hpp>
#include <string>

namespace {

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

long ResidentKilobytes() {
  std::ifstream statm("/proc/self/statm");
  long total = 0;
  long resident = 0;
  statm >> total >> resident;
  return resident * 4;
}

void Save(const std::shared_ptr<ov::Model>& model, const std::string& folder) {
  std::filesystem::create_directories(folder);
  ov::serialize(model, folder + "/model.xml", folder + "/model.bin");
}

int Make(const std::string& folder) {
  using namespace ov::opset8;
  const auto named = [](const std::shared_ptr<ov::Node>& node, const std::string& name) {
    node->output(0).set_names({name});
    node->set_friendly_name(name);
    return node;
  };
  const auto b = std::make_shared<Parameter>(ov::element::f32, ov::Shape{1, 10});
  named(b, "b");
  const auto one = Constant::create(ov::element::f32, {1}, {1.0f});
  const auto add = named(std::make_shared<Add>(b, one), "a");
  Save(std::make_shared<ov::Model>(ov::OutputVector{add}, ov::ParameterVector{b}), folder + "/add/1");

  const auto image = std::make_shared<Parameter>(ov::element::f32, ov::Shape{1, 3, 224, 224});
  named(image, "image");
  const auto axes = Constant::create(ov::element::i64, {3}, {1, 2, 3});
  const auto sum = named(std::make_shared<ReduceSum>(image, axes), "sum");
  Save(std::make_shared<ov::Model>(ov::OutputVector{sum}, ov::ParameterVector{image}), folder + "/sink/1");
  return 0;
}

int Run(const std::string& path, double seconds) {
  ov::Core core;
  const auto model = core.read_model(path);
  for (const auto& input : model->inputs()) {
    if (input.get_partial_shape().is_dynamic()) {
      ov::PartialShape shape = input.get_partial_shape();
      for (auto& dim : shape) dim = dim.is_dynamic() ? ov::Dimension(1) : dim;
      model->reshape({{input.get_any_name(), shape}});
    }
  }
  auto compiled = core.compile_model(model, "CPU", ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY));
  auto request = compiled.create_infer_request();
  for (const auto& input : compiled.inputs()) {
    ov::Tensor tensor = request.get_tensor(input);
    std::memset(tensor.data(), 0, tensor.get_byte_size());
  }
  for (int i = 0; i < 20; ++i) request.infer();
  const auto start = std::chrono::steady_clock::now();
  const double cpu = CpuSeconds();
  long count = 0;
  double elapsed = 0;
  while (elapsed < seconds) {
    for (int i = 0; i < 8; ++i) request.infer();
    count += 8;
    elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  const double n = static_cast<double>(count);
  std::cout << "{\"inferences\": " << count << ", \"cpu_us\": " << 1e6 * (CpuSeconds() - cpu) / n
            << ", \"wall_us\": " << 1e6 * elapsed / n << ", \"rss_kb\": " << ResidentKilobytes() << "}\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string verb = argc > 1 ? argv[1] : "";
    if (verb == "make" && argc == 3) return Make(argv[2]);
    if (verb == "run" && argc == 4) return Run(argv[2], std::atof(argv[3]));
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  std::cerr << "usage: inprocess make DIR | inprocess run MODEL SECONDS\n";
  return 64;
}
