#include "image/image_tensor.h"

#include <absl/strings/escaping.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>

#include "image/test_pictures.h"

namespace switchyard {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TensorSpec ImageSpec(std::vector<Dimension> dims, ElementType type = ElementType::kUint8, std::string layout = "") {
  return {.name = "image", .type = type, .shape = {.dims = std::move(dims)}, .batch_dim = 0, .layout = std::move(layout)};
}

Dimension Fixed(int64_t value) { return Dimension::Fixed(value); }
constexpr Dimension kOpen{};

std::string Png(int width, int height) { return EncodePng(width, height, Gradient(width, height, 3)); }

class ImageTensorTest : public ::testing::Test {
 protected:
  StatusOr<TensorView> Make(const TensorSpec& spec, std::vector<std::string> pictures, const ImageRules& rules = {}) {
    pictures_ = std::move(pictures);
    views_.assign(pictures_.begin(), pictures_.end());
    TensorView strings;
    strings.type = ElementType::kBytes;
    strings.shape = {static_cast<int64_t>(views_.size())};
    strings.strings = views_;
    SY_ASSIGN_OR_RETURN(ImageTensor tensor, ImageTensor::Plan(spec, strings, rules));
    tensor.Allocate();
    for (size_t i = 0; i < tensor.size(); ++i) SY_RETURN_IF_ERROR(tensor.Decode(i));
    return tensor.Take(memory_);
  }
  std::string Refusal(const TensorSpec& spec, std::vector<std::string> pictures, const ImageRules& rules = {}) {
    const auto made = Make(spec, std::move(pictures), rules);
    EXPECT_EQ(made.status().code(), StatusCode::kInvalidArgument);
    return std::string(Message(made.status()));
  }

  std::vector<std::string> pictures_;
  std::vector<std::string_view> views_;
  std::vector<Buffer> memory_;
};

TEST_F(ImageTensorTest, ABatchIsOneTensorInTheInputsSize) {
  const auto made = Make(ImageSpec({kOpen, Fixed(8), Fixed(6), Fixed(3)}), {Png(6, 8), Png(30, 20)});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->type, ElementType::kUint8);
  EXPECT_EQ(made->shape, (Shape{2, 8, 6, 3}));
  EXPECT_EQ(made->bytes, 2u * 8 * 6 * 3);
  // The first is as it came, blue before red.
  auto pixels = Gradient(6, 8, 3);
  for (size_t i = 0; i < pixels.size(); i += 3) std::swap(pixels[i], pixels[i + 2]);
  EXPECT_EQ(std::memcmp(made->data, pixels.data(), pixels.size()), 0);
}

TEST_F(ImageTensorTest, FloatsAndRgbAsAskedFor) {
  const auto made = Make(ImageSpec({Fixed(1), Fixed(1), Fixed(1), Fixed(3)}, ElementType::kFp32),
                         {EncodePng(1, 1, {10, 20, 30})}, {.order = ColorOrder::kRgb});
  ASSERT_TRUE(made.ok()) << made.status();
  float values[3];
  ASSERT_EQ(made->bytes, sizeof(values));
  std::memcpy(values, made->data, sizeof(values));
  EXPECT_THAT(values, ::testing::ElementsAre(10, 20, 30));
}

TEST_F(ImageTensorTest, OpenSizesAreTheFirstPicturesAndRangesTheNearest) {
  EXPECT_EQ(Make(ImageSpec({kOpen, kOpen, kOpen, Fixed(3)}), {Png(5, 4), Png(5, 4)})->shape, (Shape{2, 4, 5, 3}));
  EXPECT_THAT(Refusal(ImageSpec({kOpen, kOpen, kOpen, Fixed(3)}), {Png(5, 4), Png(4, 5)}), HasSubstr("same resolution"));
  EXPECT_THAT(Refusal(ImageSpec({kOpen, kOpen, Fixed(7), Fixed(3)}), {Png(5, 4)}), HasSubstr("Invalid input shape"));
  const auto range = ImageSpec({Fixed(1), {8, 16}, {8, 16}, Fixed(3)});
  EXPECT_EQ(Make(range, {Png(4, 10)})->shape, (Shape{1, 10, 8, 3}));
  EXPECT_EQ(Make(range, {Png(40, 10)})->shape, (Shape{1, 10, 16, 3}));
  EXPECT_EQ(Make(ImageSpec({Fixed(1), kOpen, kOpen, kOpen}), {EncodeJpeg(8, 8, 1, Gradient(8, 8, 1))})->shape,
            (Shape{1, 8, 8, 1}));
}

TEST_F(ImageTensorTest, LayoutMustAllowNhwc) {
  const std::vector<Dimension> dims = {Fixed(1), Fixed(4), Fixed(4), Fixed(3)};
  for (const char* layout : {"", "NHWC", "N...", "N??C", "N...C", "..."}) {
    EXPECT_TRUE(Make(ImageSpec(dims, ElementType::kUint8, layout), {Png(4, 4)}).ok()) << layout;
  }
  for (const char* layout : {"NCHW", "N...W", "HWCN", "NHW", "NHWCD"}) {
    EXPECT_THAT(Refusal(ImageSpec(dims, ElementType::kUint8, layout), {Png(4, 4)}), HasSubstr("not configured to accept NHWC"))
        << layout;
  }
}

TEST_F(ImageTensorTest, RefusalsNameWhatWasExpectedAndThePicture) {
  const auto spec = ImageSpec({Fixed(2), Fixed(4), Fixed(4), Fixed(3)});
  EXPECT_THAT(Refusal(spec, {Png(4, 4)}), HasSubstr("Invalid input batch size - Expected: 2; Actual: 1"));
  EXPECT_THAT(Refusal(spec, {Png(4, 4), ""}), HasSubstr("Bytes contents is empty - String val is empty"));
  EXPECT_THAT(
      Refusal(spec, {Png(4, 4), "no picture"}),
      HasSubstr("Image parsing failed - neither JPEG nor PNG: 10 bytes, the first are 6e 6f 20 70 69 63 74 75; image: 1; "
                "input name: image"));
  EXPECT_THAT(Refusal(spec, {Png(4, 4), EncodeJpeg(8, 8, 1, Gradient(8, 8, 1))}),
              HasSubstr("Invalid number of channels in binary input - Expected: 3; Actual: 1; image: 1"));
  EXPECT_THAT(Refusal(ImageSpec({Fixed(1), Fixed(3), Fixed(4), Fixed(4)}), {Png(4, 4)}), HasSubstr("say --layout NHWC:NCHW"));
  EXPECT_THAT(Refusal(ImageSpec({Fixed(1), Fixed(4), Fixed(4), Fixed(3)}, ElementType::kInt64), {Png(4, 4)}),
              HasSubstr("Invalid input precision"));
}

TEST_F(ImageTensorTest, TheHeaderAloneDecidesWhatIsTooLarge) {
  // It says 60000x60000, and has no pixels at all.
  std::string bomb = Png(4, 4);
  for (const size_t at : {16, 20}) bomb.replace(at, 4, std::string("\x00\x00\xea\x60", 4));
  const auto checked = [](std::string& png) {
    const auto crc = static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(png.data() + 12), 17));
    for (int i = 0; i < 4; ++i) png[29 + i] = static_cast<char>(crc >> (24 - 8 * i));
    return png;
  };
  EXPECT_THAT(Refusal(ImageSpec({Fixed(1), Fixed(4), Fixed(4), Fixed(3)}), {checked(bomb)}),
              HasSubstr("Expected: at most 67108864 pixels (--max_image_pixels); Actual: 60000x60000"));
  EXPECT_THAT(Refusal(ImageSpec({kOpen, kOpen, kOpen, Fixed(3)}), {Png(4, 4)}, {.max_pixels = 15}), HasSubstr("Actual: 4x4"));
  EXPECT_THAT(Refusal(ImageSpec({kOpen, kOpen, kOpen, Fixed(3)}), {Png(4, 4), Png(4, 4)}, {.max_tensor_bytes = 95}),
              HasSubstr("too large together"));
}

TEST_F(ImageTensorTest, Base64OfAPictureIsAPicture) {
  std::string text;
  absl::Base64Escape(Png(4, 4), &text);
  const auto spec = ImageSpec({Fixed(1), Fixed(4), Fixed(4), Fixed(3)});
  EXPECT_TRUE(Make(spec, {text}).ok());
  EXPECT_THAT(Refusal(spec, {text + "*"}), HasSubstr("is not base64"));
  // Of a GIF: what is in the text is told, and how a picture comes in JSON.
  const std::string gif = Refusal(spec, {"R0lGODlhAQABAAAAACw="});
  EXPECT_THAT(gif, HasSubstr("decoded it is neither JPEG nor PNG: 14 bytes, the first are 47 49 46 38 39 61 01 00"));
  EXPECT_THAT(gif, HasSubstr("binary extension"));
  EXPECT_THAT(Refusal(spec, {"R0lGODlhAQABAAAAACw"}), HasSubstr("the first are 47 49"));
  EXPECT_THAT(Refusal(spec, {"no base64 at all"}), HasSubstr("the first are 6e 6f"));
  EXPECT_THAT(Refusal(spec, {text.substr(0, 20)}), Not(HasSubstr("the binary extension")));
}

}  // namespace
}  // namespace switchyard
