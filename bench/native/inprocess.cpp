// What an inference costs without a server: a loop over one infer request, as a program would run that embeds OpenVINO.
//   inprocess make DIR        writes the models add/1/model.xml and sink/1/model.xml under DIR
//   inprocess run MODEL ...   prints {"calls": n, "seconds": wall time, "cpu_us": CPU microseconds each, "ready_s": time until
//                             the first inference could begin, "peak_kb": the most memory that was resident}; see its --help
// The device settings are the server's: CPU, LATENCY, and what --property says. With --rate the loop is open, as bench_load's:
// calls are due at the same times for the same seed, one runs after the other, and a latency counts from when it was due.
// With --fed_by_core each call's inputs come from a socket (feeder.h).
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <openvino/openvino.hpp>
#include <openvino/opsets/opset8.hpp>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include "feeder.h"

namespace {

using Clock = std::chrono::steady_clock;

double Since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// Not ru_maxrss, which begins with what the parent had.
long PeakKilobytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::atol(line.c_str() + 6);
  }
  return 0;
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

struct Options {
  std::string model, latencies;
  double seconds = 1;
  double rate = 0;
  uint64_t seed = 1;
  int fed_by_core = -1;
  std::vector<std::string> shapes, inputs, properties;  // NAME=VALUE
  std::vector<float> mean, scale;
  bool bytes_nhwc = false;
};

std::pair<std::string, std::string> Split(const std::string& text) {
  const size_t at = text.find('=');
  if (at == std::string::npos) throw std::runtime_error("expected NAME=VALUE, got " + text);
  return {text.substr(0, at), text.substr(at + 1)};
}

// What the server's --precision UINT8:FP32 --layout NHWC:NCHW --mean --scale make of a model's only input.
std::shared_ptr<ov::Model> TakeBytes(const std::shared_ptr<ov::Model>& model, const Options& options) {
  ov::preprocess::PrePostProcessor pipeline(model);
  auto& input = pipeline.input();
  input.tensor().set_element_type(ov::element::u8).set_layout("NHWC");
  input.model().set_layout("NCHW");
  auto& steps = input.preprocess();
  steps.convert_element_type(ov::element::f32);
  if (!options.mean.empty()) steps.mean(options.mean);
  if (!options.scale.empty()) steps.scale(options.scale);
  steps.convert_layout();
  return pipeline.build();
}

void Fill(ov::InferRequest& request, const Options& options) {
  for (const std::string& each : options.inputs) {
    const auto [name, path] = Split(each);
    ov::Tensor tensor = request.get_tensor(name);
    std::ifstream file(path, std::ios::binary);
    file.read(static_cast<char*>(tensor.data()), static_cast<std::streamsize>(tensor.get_byte_size()));
    if (static_cast<size_t>(file.gcount()) != tensor.get_byte_size()) {
      throw std::runtime_error(path + ": expected " + std::to_string(tensor.get_byte_size()) + " bytes for input " + name);
    }
  }
}

// The model as it is run, compiled.
ov::CompiledModel Compile(ov::Core& core, const Options& options) {
  auto model = core.read_model(options.model);
  std::map<std::string, ov::PartialShape> shapes;
  for (const std::string& each : options.shapes) {
    const auto [name, shape] = Split(each);
    shapes[name] = ov::PartialShape(shape);
  }
  if (!shapes.empty()) model->reshape(shapes);
  if (options.bytes_nhwc) model = TakeBytes(model, options);
  ov::AnyMap config{ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY)};
  for (const std::string& each : options.properties) {
    const auto [name, value] = Split(each);
    config[name] = value;
  }
  return core.compile_model(model, "CPU", config);
}

// One call: with a feeder its inputs come from there, and its first output goes there.
void Call(ov::InferRequest& request, const std::vector<ov::Tensor>& inputs, const switchyard::bench::Feeder* feeder) {
  if (feeder != nullptr) {
    for (ov::Tensor tensor : inputs) feeder->Read({static_cast<char*>(tensor.data()), tensor.get_byte_size()});
  }
  request.infer();
  if (feeder != nullptr) {
    const ov::Tensor output = request.get_output_tensor(0);
    feeder->Answer({static_cast<const char*>(output.data()), output.get_byte_size()});
  }
}

size_t InputBytes(const Options& options) {
  size_t bytes = 0;
  for (const std::string& each : options.inputs) bytes += std::filesystem::file_size(Split(each).second);
  return bytes;
}

int Run(const Options& options) {
  std::optional<switchyard::bench::Feeder> feeder;
  if (options.fed_by_core >= 0) feeder.emplace(InputBytes(options), options.fed_by_core);
  const switchyard::bench::Feeder* fed = feeder ? &*feeder : nullptr;
  const auto begin = Clock::now();
  ov::Core core;
  ov::CompiledModel compiled = Compile(core, options);
  auto request = compiled.create_infer_request();
  Fill(request, options);
  const double ready_s = Since(begin);
  std::vector<ov::Tensor> inputs;
  for (const std::string& each : options.inputs) inputs.push_back(request.get_tensor(Split(each).first));
  for (int i = 0; i < 10; ++i) Call(request, inputs, fed);

  std::vector<float> latencies;
  latencies.reserve(4 << 20);
  std::mt19937_64 random(options.seed);
  const auto start = Clock::now();
  const double cpu = CpuSeconds();
  auto due = start;
  for (auto last = start; last - start < std::chrono::duration<double>(options.seconds);) {
    if (options.rate > 0) {
      const std::chrono::duration<double> gap(std::exponential_distribution<double>(options.rate)(random));
      due += std::chrono::duration_cast<Clock::duration>(gap);
      if (due - start >= std::chrono::duration<double>(options.seconds)) break;
      std::this_thread::sleep_until(due);
    }
    Call(request, inputs, fed);
    const auto now = Clock::now();
    latencies.push_back(std::chrono::duration<float, std::micro>(now - (options.rate > 0 ? due : last)).count());
    // With a rate all calls that are due before the end are made, however late.
    last = options.rate > 0 ? start : now;
  }
  const double wall = Since(start);
  const double n = static_cast<double>(latencies.size());
  const double cpu_us = 1e6 * (CpuSeconds() - cpu) / n;
  std::cout << "{\"calls\": " << latencies.size() << ", \"seconds\": " << wall << ", \"cpu_us\": " << cpu_us
            << ", \"ready_s\": " << ready_s << ", \"peak_kb\": " << PeakKilobytes() << "}\n";
  if (!options.latencies.empty()) {
    std::ofstream file(options.latencies, std::ios::binary);
    file.write(reinterpret_cast<const char*>(latencies.data()), static_cast<std::streamsize>(latencies.size() * sizeof(float)));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("What an inference costs without a server");
  app.require_subcommand(1);
  std::string folder;
  auto* make = app.add_subcommand("make", "writes the small models");
  make->add_option("folder", folder)->required();
  Options options;
  auto* run = app.add_subcommand("run", "runs one model over and over");
  run->add_option("model", options.model)->required()->check(CLI::ExistingFile);
  run->add_option("--seconds", options.seconds)->check(CLI::PositiveNumber);
  run->add_option("--rate", options.rate, "calls a second in an open loop")->check(CLI::PositiveNumber);
  run->add_option("--seed", options.seed);
  run->add_option("--fed_by_core", options.fed_by_core, "the processor of the process that sends the inputs")
      ->check(CLI::NonNegativeNumber);
  run->add_option("--shape", options.shapes, "NAME=[1,3,224,224]");
  run->add_option("--input", options.inputs, "NAME=FILE of raw values; zeros if not given");
  run->add_option("--property", options.properties, "NAME=VALUE of the device");
  run->add_flag("--bytes_nhwc", options.bytes_nhwc, "the input takes bytes, NHWC, and the model FP32, NCHW");
  run->add_option("--mean", options.mean)->delimiter(',');
  run->add_option("--scale", options.scale)->delimiter(',');
  run->add_option("--latencies", options.latencies, "a file for them: microseconds, float32");
  CLI11_PARSE(app, argc, argv);
  try {
    return make->parsed() ? Make(folder) : Run(options);
  } catch (const std::exception& error) {
    std::cerr << "inprocess: " << error.what() << "\n";
    return 1;
  }
}
