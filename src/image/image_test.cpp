#include "image/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "image/test_pictures.h"

namespace switchyard {
namespace {

using ::testing::HasSubstr;

StatusOr<std::vector<uint8_t>> Decode(std::string_view encoded, ColorOrder order = ColorOrder::kBgr) {
  SY_ASSIGN_OR_RETURN(const ImageInfo info, ReadImageInfo(encoded));
  // What the limit on pixels keeps away.
  if (info.pixels() > 1'000'000) return Error(StatusCode::kOutOfRange, "{}x{}", info.width, info.height);
  std::vector<uint8_t> pixels(info.bytes());
  SY_RETURN_IF_ERROR(DecodeImage(encoded, info, order, reinterpret_cast<std::byte*>(pixels.data())));
  return pixels;
}

// The largest difference; 255 when the sizes differ.
int Distance(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  if (a.size() != b.size()) return 255;
  int largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

std::vector<uint8_t> SwapRedAndBlue(std::vector<uint8_t> pixels, size_t channels = 3) {
  for (size_t i = 0; i + channels <= pixels.size(); i += channels) std::swap(pixels[i], pixels[i + 2]);
  return pixels;
}

std::string MessageOf(const Status& status) { return std::string(Message(status)); }

TEST(ReadImageInfo, TellsSizeAndChannelsOfBothFormats) {
  const auto jpeg = ReadImageInfo(EncodeJpeg(31, 17, 3, Gradient(31, 17, 3)));
  ASSERT_TRUE(jpeg.ok()) << jpeg.status();
  EXPECT_EQ(jpeg->format, ImageInfo::Format::kJpeg);
  EXPECT_EQ(jpeg->width, 31);
  EXPECT_EQ(jpeg->height, 17);
  EXPECT_EQ(jpeg->channels, 3);
  EXPECT_EQ(ReadImageInfo(EncodeJpeg(8, 8, 1, Gradient(8, 8, 1)))->channels, 1);
  const auto png = ReadImageInfo(EncodePng(5, 7, Gradient(5, 7, 3)));
  ASSERT_TRUE(png.ok()) << png.status();
  EXPECT_EQ(png->format, ImageInfo::Format::kPng);
  EXPECT_EQ(png->width, 5);
  EXPECT_EQ(png->height, 7);
}

TEST(ReadImageInfo, SaysWhatIsNoPicture) {
  EXPECT_THAT(MessageOf(ReadImageInfo("GIF89a....").status()),
              HasSubstr("neither JPEG nor PNG: 10 bytes, the first are 47 49"));
  EXPECT_FALSE(ReadImageInfo("").ok());
  EXPECT_FALSE(ReadImageInfo("\xff\xd8\xff").ok());
}

TEST(DecodeImage, JpegIsBgrUnlessRgbIsAskedFor) {
  const auto pixels = Gradient(40, 30, 3);
  for (const bool progressive : {false, true}) {
    const std::string encoded = EncodeJpeg(40, 30, 3, pixels, progressive);
    EXPECT_LT(Distance(*Decode(encoded), SwapRedAndBlue(pixels)), 12);
    EXPECT_LT(Distance(*Decode(encoded, ColorOrder::kRgb), pixels), 12);
  }
  EXPECT_LT(Distance(*Decode(EncodeJpeg(40, 30, 1, Gradient(40, 30, 1))), Gradient(40, 30, 1)), 4);
}

TEST(DecodeImage, CmykJpegBecomesColour) {
  // Adobe's way: 255 is no ink. Full black channel, no ink but cyan on the right.
  std::vector<uint8_t> pixels;
  for (int i = 0; i < 16 * 16; ++i) pixels.insert(pixels.end(), {static_cast<uint8_t>(i % 16 < 8 ? 255 : 0), 255, 255, 255});
  const auto decoded = Decode(EncodeJpeg(16, 16, 4, pixels), ColorOrder::kRgb);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_GT((*decoded)[0], 245);      // white: red is there
  EXPECT_LT((*decoded)[15 * 3], 10);  // cyan: it is not
  EXPECT_GT((*decoded)[15 * 3 + 1], 245);
}

TEST(DecodeImage, PngInEveryFormKeepsItsPixels) {
  const auto rgb = Gradient(13, 9, 3);
  EXPECT_EQ(*Decode(EncodePng(13, 9, rgb)), SwapRedAndBlue(rgb));
  EXPECT_EQ(*Decode(EncodePng(13, 9, {.interlaced = true}, rgb, 39), ColorOrder::kRgb), rgb);
  const auto rgba = Gradient(13, 9, 4);
  EXPECT_EQ(*Decode(EncodePng(13, 9, {.color = PNG_COLOR_TYPE_RGBA}, rgba, 52)), SwapRedAndBlue(rgba, 4));
  const auto gray = Gradient(13, 9, 1);
  EXPECT_EQ(*Decode(EncodePng(13, 9, {.color = PNG_COLOR_TYPE_GRAY}, gray, 13)), gray);
  // Gray with alpha is expanded.
  EXPECT_EQ(*Decode(EncodePng(1, 1, {.color = PNG_COLOR_TYPE_GRAY_ALPHA}, {10, 20}, 2)),
            (std::vector<uint8_t>{10, 10, 10, 20}));
  // One bit a pixel: black and white.
  EXPECT_EQ(*Decode(EncodePng(4, 1, {.color = PNG_COLOR_TYPE_GRAY, .depth = 1}, {0b10100000}, 1)),
            (std::vector<uint8_t>{255, 0, 255, 0}));
}

TEST(DecodeImage, PaletteBecomesColourAndWithTransparencyAlpha) {
  PngForm form{.color = PNG_COLOR_TYPE_PALETTE, .palette = {{1, 2, 3}, {4, 5, 6}}};
  EXPECT_EQ(*Decode(EncodePng(2, 1, form, {1, 0}, 2)), (std::vector<uint8_t>{6, 5, 4, 3, 2, 1}));
  form.palette_alpha = {7};
  EXPECT_EQ(*Decode(EncodePng(2, 1, form, {1, 0}, 2)), (std::vector<uint8_t>{6, 5, 4, 255, 3, 2, 1, 7}));
}

TEST(DecodeImage, SixteenBitsStay) {
  const std::string encoded = EncodePng(2, 1, {.color = PNG_COLOR_TYPE_GRAY, .depth = 16}, {0x12, 0x34, 0xff, 0xfe}, 4);
  const auto info = ReadImageInfo(encoded);
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->sample_bytes, 2);
  uint16_t pixels[2];
  ASSERT_TRUE(DecodeImage(encoded, *info, ColorOrder::kBgr, reinterpret_cast<std::byte*>(pixels)).ok());
  EXPECT_EQ(pixels[0], 0x1234);
  EXPECT_EQ(pixels[1], 0xfffe);
}

TEST(DecodeImage, EndsEarlyIsAnError) {
  const auto noise = [] {
    std::mt19937 random(1);
    std::vector<uint8_t> pixels(64 * 64 * 3);
    for (auto& pixel : pixels) pixel = static_cast<uint8_t>(random());
    return pixels;
  }();
  for (const std::string& encoded :
       {EncodeJpeg(64, 64, 3, noise), EncodeJpeg(64, 64, 3, noise, true), EncodePng(64, 64, noise)}) {
    ASSERT_TRUE(Decode(encoded).ok());
    for (const double part : {0.3, 0.6, 0.9}) {
      const auto decoded = Decode(std::string_view(encoded).substr(0, static_cast<size_t>(part * encoded.size())));
      EXPECT_EQ(decoded.status().code(), StatusCode::kInvalidArgument) << part;
    }
  }
}

TEST(DecodeImage, JpegWithoutItsEndMarkerIsWhole) {
  std::string encoded = EncodeJpeg(40, 30, 3, Gradient(40, 30, 3));
  const auto whole = Decode(encoded);
  encoded.resize(encoded.size() - 2);
  const auto decoded = Decode(encoded);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, *whole);
}

TEST(DecodeImage, ManyScansAreRefused) {
  // The last scan of a progressive picture, again and again: each costs as much as the picture.
  std::string encoded = EncodeJpeg(64, 64, 1, Gradient(64, 64, 1), true);
  const size_t last = encoded.rfind("\xff\xda");
  const std::string scan = encoded.substr(last, encoded.size() - 2 - last);
  encoded.resize(encoded.size() - 2);
  for (int i = 0; i < 200; ++i) encoded += scan;
  encoded += "\xff\xd9";
  EXPECT_THAT(MessageOf(Decode(encoded).status()), HasSubstr("more than 100 scans"));
}

// Bytes changed, cut out and doubled at random: any answer is right that comes, within the memory that is ours (sanitizers).
TEST(DecodeImage, DamagedPicturesAreAnswered) {
  const auto rgb = Gradient(33, 21, 3);
  const std::vector<std::string> good = {
      EncodeJpeg(33, 21, 3, rgb),
      EncodeJpeg(33, 21, 3, rgb, true),
      EncodeJpeg(33, 21, 1, Gradient(33, 21, 1)),
      EncodeJpeg(33, 21, 4, Gradient(33, 21, 4)),
      EncodePng(33, 21, rgb),
      EncodePng(33, 21, {.color = PNG_COLOR_TYPE_RGBA, .interlaced = true}, Gradient(33, 21, 4), 33 * 4),
      EncodePng(33, 21, {.color = PNG_COLOR_TYPE_PALETTE, .palette = {{1, 2, 3}}, .palette_alpha = {1}},
                std::vector<uint8_t>(33 * 21), 33),
      EncodePng(33, 21, {.color = PNG_COLOR_TYPE_RGB, .depth = 16}, std::vector<uint8_t>(33 * 21 * 6, 77), 33 * 6),
  };
  std::mt19937 random(7);
  const auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  int refused = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string bytes = good[below(good.size())];
    const size_t header = std::min<size_t>(bytes.size(), 64);
    for (size_t changes = 1 + below(4); changes > 0; --changes) {
      const size_t at = below(2) == 0 ? below(header) : below(bytes.size());
      switch (below(4)) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes.erase(at, 1 + below(16));
          break;
        case 2:
          bytes.insert(at, bytes.substr(at, 1 + below(16)));
          break;
        default:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
      }
      if (bytes.size() < header) break;
    }
    refused += Decode(bytes).ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 1000);
  EXPECT_LT(refused, 4000);
}

}  // namespace
}  // namespace switchyard
