#include "image/resize.h"

#include <gtest/gtest.h>

#include <vector>

#include "tensor/half.h"

namespace switchyard {
namespace {

template <typename Element>
std::vector<Element> Resize(int64_t width, int64_t height, int channels, const std::vector<uint8_t>& pixels, int64_t to_width,
                            int64_t to_height, ElementType type) {
  const ImageInfo info{.width = width, .height = height, .channels = channels};
  std::vector<Element> out(static_cast<size_t>(to_width * to_height) * static_cast<size_t>(channels));
  ResizePixels(info, reinterpret_cast<const std::byte*>(pixels.data()), to_height, to_width, type,
               reinterpret_cast<std::byte*>(out.data()));
  return out;
}

using Bytes = std::vector<uint8_t>;
using Floats = std::vector<float>;

TEST(ResizePixels, CentresOfPixelsAreMappedToOneAnother) {
  EXPECT_EQ(Resize<float>(2, 1, 1, {0, 100}, 4, 1, ElementType::kFp32), (Floats{0, 25, 75, 100}));
  EXPECT_EQ(Resize<uint8_t>(2, 1, 1, {0, 100}, 4, 1, ElementType::kUint8), (Bytes{0, 25, 75, 100}));
  EXPECT_EQ(Resize<uint8_t>(1, 2, 1, {0, 100}, 1, 4, ElementType::kUint8), (Bytes{0, 25, 75, 100}));
  EXPECT_EQ(Resize<float>(4, 2, 1, {0, 10, 20, 30, 40, 50, 60, 70}, 2, 1, ElementType::kFp32), (Floats{25, 45}));
}

TEST(ResizePixels, ChannelsDoNotMix) {
  EXPECT_EQ(Resize<float>(2, 1, 3, {0, 10, 20, 100, 110, 120}, 1, 1, ElementType::kFp32), (Floats{50, 60, 70}));
}

TEST(ResizePixels, OnePixelFillsAnything) {
  EXPECT_EQ(Resize<uint8_t>(1, 1, 1, {77}, 3, 2, ElementType::kUint8), (Bytes{77, 77, 77, 77, 77, 77}));
  EXPECT_EQ(Resize<uint8_t>(3, 3, 1, Bytes(9, 255), 1, 1, ElementType::kUint8), (Bytes{255}));
}

TEST(ResizePixels, ValuesStayWhatTheyAreInEveryType) {
  const Bytes pixels = {0, 127, 255};
  EXPECT_EQ(Resize<uint8_t>(3, 1, 1, pixels, 3, 1, ElementType::kUint8), pixels);
  EXPECT_EQ(Resize<float>(3, 1, 1, pixels, 3, 1, ElementType::kFp32), (Floats{0, 127, 255}));
  EXPECT_EQ(Resize<double>(3, 1, 1, pixels, 3, 1, ElementType::kFp64), (std::vector<double>{0, 127, 255}));
  EXPECT_EQ(Resize<int8_t>(3, 1, 1, pixels, 3, 1, ElementType::kInt8), (std::vector<int8_t>{0, 127, 127}));
  EXPECT_EQ(Resize<uint16_t>(3, 1, 1, pixels, 3, 1, ElementType::kUint16), (std::vector<uint16_t>{0, 127, 255}));
  EXPECT_EQ(Resize<int16_t>(3, 1, 1, pixels, 3, 1, ElementType::kInt16), (std::vector<int16_t>{0, 127, 255}));
  EXPECT_EQ(Resize<int32_t>(3, 1, 1, pixels, 3, 1, ElementType::kInt32), (std::vector<int32_t>{0, 127, 255}));
  const auto halves = Resize<uint16_t>(3, 1, 1, pixels, 3, 1, ElementType::kFp16);
  EXPECT_EQ(HalfToFloat(halves[1]), 127);
  EXPECT_EQ(HalfToFloat(halves[2]), 255);
  EXPECT_FALSE(TakesPixels(ElementType::kInt64));
  EXPECT_FALSE(TakesPixels(ElementType::kBytes));
}

TEST(ResizePixels, SixteenBitsKeepTheirUpperHalfInEight) {
  const uint16_t pixels[] = {0x1234, 0xffff};
  const ImageInfo info{.width = 2, .height = 1, .channels = 1, .sample_bytes = 2};
  uint8_t bytes[2];
  ResizePixels(info, reinterpret_cast<const std::byte*>(pixels), 1, 2, ElementType::kUint8,
               reinterpret_cast<std::byte*>(bytes));
  EXPECT_EQ(bytes[0], 0x12);
  EXPECT_EQ(bytes[1], 0xff);
  float floats[2];
  ResizePixels(info, reinterpret_cast<const std::byte*>(pixels), 1, 2, ElementType::kFp32,
               reinterpret_cast<std::byte*>(floats));
  EXPECT_EQ(floats[0], 0x1234);
  EXPECT_EQ(floats[1], 65535);
}

}  // namespace
}  // namespace switchyard
