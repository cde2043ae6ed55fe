// What reading a request costs whose tensor is JSON: a picture of 150,528 floats, as Python's json writes them, from the body
// to the tensor that an inference takes.
//   json_cost [ROUNDS]
// Prints medians, in microseconds: the codec (which reads large arrays of numbers from the text), and the same values by the
// general parser and its table alone. The two are read in turns.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "protocol/http/json_elements.h"
#include "protocol/kserve/rest_codec.h"

namespace switchyard {
namespace {

constexpr size_t kFloats = 150528;

std::string Numbers() {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<float> values(0, 1);
  std::string text = "[";
  // A float32 that became a double: up to 17 digits.
  for (size_t i = 0; i < kFloats; ++i) text += fmt::format("{}{}", i == 0 ? "" : ", ", static_cast<double>(values(random)));
  return text + "]";
}

HttpBody BodyOf(const std::string& text) {
  HttpBody body;
  body.offset = BodyOffset(0);
  body.size = text.size();
  body.memory = Buffer::Allocate(body.offset + text.size() + kBodyPadding);
  std::memcpy(body.memory.data() + body.offset, text.data(), text.size());
  return body;
}

double CpuMicroseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e6 * static_cast<double>(now.tv_sec) + 1e-3 * static_cast<double>(now.tv_nsec);
}

const Signature& Model() {
  static const Signature model = [] {
    Signature signature;
    TensorSpec image{"image", ElementType::kFp32, {}, 0};
    for (const int64_t size : {1, 3, 224, 224}) image.shape.dims.push_back(Dimension::Fixed(size));
    signature.inputs.push_back(std::move(image));
    return signature;
  }();
  return model;
}

double ByCodec(const std::string& text) {
  HttpBody body = BodyOf(text);
  DecodedRequest request;
  KserveOutputForm form;
  const double begin = CpuMicroseconds();
  const Status status = DecodeKserveInfer(std::move(body), std::nullopt, Model(), TimePoint(), request, form);
  const double end = CpuMicroseconds();
  if (!status.ok() || request.inputs[0].tensor.bytes != kFloats * sizeof(float)) std::abort();
  return end - begin;
}

double ByParser(const std::string& numbers) {
  const HttpBody body = BodyOf(numbers);
  const double begin = CpuMicroseconds();
  JsonDocument document;
  const auto root = document.Parse(body.view());
  JsonElements elements(ElementType::kFp32, NumberRule::kExact, kFloats, numbers.size());
  if (!root.ok() || !elements.AppendFlat(*root).ok()) std::abort();
  return CpuMicroseconds() - begin;
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  using namespace switchyard;
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 200;
  const std::string numbers = Numbers();
  const std::string text = R"({"inputs":[{"name":"image","shape":[1,3,224,224],"datatype":"FP32","data":)" + numbers + "}]}";
  std::vector<double> codec, parser;
  for (int i = 0; i < rounds; ++i) {
    codec.push_back(ByCodec(text));
    parser.push_back(ByParser(numbers));
  }
  std::cout << fmt::format("{} floats, {} bytes of JSON: codec {:.0f} us, general parser {:.0f} us, ratio {:.2f}\n", kFloats,
                           text.size(), Median(codec), Median(parser), Median(codec) / Median(parser));
}
