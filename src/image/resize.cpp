#include "image/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "tensor/half.h"

namespace switchyard {
namespace {

// Where one output position lies among the input ones: between `first` and `second`, `weight` of the way.
struct Tap {
  size_t first = 0;
  size_t second = 0;
  float weight = 0;
};

// Centres of pixels are mapped to one another; beyond the outer centres the edge goes on.
std::vector<Tap> MakeTaps(int64_t from, int64_t to, size_t step) {
  std::vector<Tap> taps(static_cast<size_t>(to));
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  for (int64_t i = 0; i < to; ++i) {
    float at = static_cast<float>((static_cast<double>(i) + 0.5) * scale - 0.5);
    auto whole = static_cast<int64_t>(std::floor(at));
    float weight = at - static_cast<float>(whole);
    if (whole < 0) whole = 0, weight = 0;
    if (whole >= from - 1) whole = from - 1, weight = 0;
    taps[i] = {static_cast<size_t>(whole) * step, static_cast<size_t>(std::min(whole + 1, from - 1)) * step, weight};
  }
  return taps;
}

// Two rows of the input, stretched to the output's width, of which one is mostly there from the output row before.
template <typename Value>
class RowPair {
 public:
  explicit RowPair(size_t size) : rows_{std::vector<Value>(size), std::vector<Value>(size)} {}

  // `fill(row, values)` stretches an input row.
  template <typename Fill>
  const Value* Get(size_t row, size_t other, const Fill& fill) {
    for (int i = 0; i < 2; ++i) {
      if (has_[i] && row_[i] == row) return rows_[i].data();
    }
    // Not over the one that is wanted beside it.
    const int into = has_[0] && row_[0] == other ? 1 : 0;
    fill(row, rows_[into].data());
    has_[into] = true;
    row_[into] = row;
    return rows_[into].data();
  }

 private:
  std::vector<Value> rows_[2];
  size_t row_[2] = {0, 0};
  bool has_[2] = {false, false};
};

// 8 bits to 8 bits with weights of 11 bits.
void ResizeBytes(const ImageInfo& info, const uint8_t* pixels, int64_t height, int64_t width, uint8_t* to) {
  constexpr int kOne = 2048;
  const size_t channels = static_cast<size_t>(info.channels);
  const size_t row_size = static_cast<size_t>(width) * channels;
  const std::vector<Tap> columns = MakeTaps(info.width, width, channels);
  const std::vector<Tap> rows = MakeTaps(info.height, height, 1);
  RowPair<int32_t> pair(row_size);
  const auto fill = [&](size_t row, int32_t* values) {
    const uint8_t* from = pixels + row * static_cast<size_t>(info.width) * channels;
    for (const Tap& tap : columns) {
      const auto second = static_cast<int32_t>(std::lrint(tap.weight * kOne));
      const auto first = static_cast<int32_t>(std::lrint((1.0F - tap.weight) * kOne));
      for (size_t c = 0; c < channels; ++c) *values++ = from[tap.first + c] * first + from[tap.second + c] * second;
    }
  };
  for (const Tap& tap : rows) {
    const int32_t* upper = pair.Get(tap.first, tap.second, fill);
    const int32_t* lower = pair.Get(tap.second, tap.first, fill);
    const auto below = static_cast<int32_t>(std::lrint(tap.weight * kOne));
    const auto above = static_cast<int32_t>(std::lrint((1.0F - tap.weight) * kOne));
    for (size_t i = 0; i < row_size; ++i) {
      *to++ = static_cast<uint8_t>((((above * (upper[i] >> 4)) >> 16) + ((below * (lower[i] >> 4)) >> 16) + 2) >> 2);
    }
  }
}

template <typename Number>
Number Rounded(float value) {
  return static_cast<Number>(std::lrint(value));
}

// Sample: uint8_t or uint16_t. `store(value, index)` writes one element; samples are cut off at `most` before anything is
// mixed.
template <typename Sample, typename Store>
void ResizeFloats(const ImageInfo& info, const std::byte* pixels, int64_t height, int64_t width, float most,
                  const Store& store) {
  const size_t channels = static_cast<size_t>(info.channels);
  const size_t row_size = static_cast<size_t>(width) * channels;
  const size_t input_row = static_cast<size_t>(info.width) * channels;
  const auto* const samples = reinterpret_cast<const Sample*>(pixels);
  const auto load = [&](size_t i) { return std::min(static_cast<float>(samples[i]), most); };
  if (info.width == width && info.height == height) {
    const size_t count = input_row * static_cast<size_t>(height);
    for (size_t i = 0; i < count; ++i) store(load(i), i);
    return;
  }
  const std::vector<Tap> columns = MakeTaps(info.width, width, channels);
  const std::vector<Tap> rows = MakeTaps(info.height, height, 1);
  RowPair<float> pair(row_size);
  const auto fill = [&](size_t row, float* values) {
    const size_t from = row * input_row;
    for (const Tap& tap : columns) {
      for (size_t c = 0; c < channels; ++c) {
        *values++ = load(from + tap.first + c) * (1 - tap.weight) + load(from + tap.second + c) * tap.weight;
      }
    }
  };
  size_t index = 0;
  for (const Tap& tap : rows) {
    const float* upper = pair.Get(tap.first, tap.second, fill);
    const float* lower = pair.Get(tap.second, tap.first, fill);
    for (size_t i = 0; i < row_size; ++i) store(upper[i] * (1 - tap.weight) + lower[i] * tap.weight, index++);
  }
}

template <typename Sample>
void ResizeTo(const ImageInfo& info, const std::byte* pixels, int64_t height, int64_t width, ElementType type, std::byte* to) {
  constexpr float kAny = 65536;
  const auto run = [&]<typename Number>(float most, Number (*convert)(float)) {
    auto* const out = reinterpret_cast<Number*>(to);
    ResizeFloats<Sample>(info, pixels, height, width, most, [out, convert](float v, size_t i) { out[i] = convert(v); });
  };
  switch (type) {
    case ElementType::kFp32:
      return run.template operator()<float>(kAny, [](float v) { return v; });
    case ElementType::kFp64:
      return run.template operator()<double>(kAny, [](float v) { return static_cast<double>(v); });
    case ElementType::kFp16:
      return run.template operator()<uint16_t>(65504, FloatToHalf);
    case ElementType::kBf16:
      return run.template operator()<uint16_t>(kAny, FloatToBfloat16);
    case ElementType::kUint8:
      return run.template operator()<uint8_t>(255, Rounded<uint8_t>);
    case ElementType::kInt8:
      return run.template operator()<int8_t>(127, Rounded<int8_t>);
    case ElementType::kUint16:
      return run.template operator()<uint16_t>(65535, Rounded<uint16_t>);
    case ElementType::kInt16:
      return run.template operator()<int16_t>(32767, Rounded<int16_t>);
    case ElementType::kInt32:
      return run.template operator()<int32_t>(kAny, Rounded<int32_t>);
    default:
      return;
  }
}

}  // namespace

bool TakesPixels(ElementType type) {
  switch (type) {
    case ElementType::kFp32:
    case ElementType::kFp64:
    case ElementType::kFp16:
    case ElementType::kBf16:
    case ElementType::kUint8:
    case ElementType::kInt8:
    case ElementType::kUint16:
    case ElementType::kInt16:
    case ElementType::kInt32:
      return true;
    default:
      return false;
  }
}

void ResizePixels(const ImageInfo& info, const std::byte* pixels, int64_t height, int64_t width, ElementType type,
                  std::byte* to) {
  const bool narrow = ElementSize(type) == 1;
  if (info.sample_bytes == 2 && narrow) {
    ImageInfo upper = info;
    upper.sample_bytes = 1;
    std::vector<std::byte> bytes(upper.bytes());
    const auto* const samples = reinterpret_cast<const uint16_t*>(pixels);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(samples[i] >> 8);
    return ResizePixels(upper, bytes.data(), height, width, type, to);
  }
  if (info.sample_bytes == 2) return ResizeTo<uint16_t>(info, pixels, height, width, type, to);
  if (type != ElementType::kUint8) return ResizeTo<uint8_t>(info, pixels, height, width, type, to);
  if (info.width == width && info.height == height) {
    std::memcpy(to, pixels, info.bytes());
  } else {
    ResizeBytes(info, reinterpret_cast<const uint8_t*>(pixels), height, width, reinterpret_cast<uint8_t*>(to));
  }
}

}  // namespace switchyard
