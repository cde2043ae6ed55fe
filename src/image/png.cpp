#include <png.h>

#include <bit>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "image/codecs.h"

namespace switchyard {
namespace {

constexpr size_t kLongestMessage = 128;

// libpng leaves by longjmp, so that nothing that needs a destructor may live in a function that calls it.
class PngReader {
 public:
  explicit PngReader(std::string_view encoded) : left_(encoded) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, OnError, OnWarning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool ReadHeader(ImageInfo& info) {
    if (info_ == nullptr) {
      std::snprintf(message_, sizeof(message_), "libpng does not start");
      return false;
    }
    if (setjmp(jump_) != 0) return false;
    png_set_read_fn(png_, this, OnRead);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // the caller judges the size
    // Colour profiles and texts, which may unpack to anything, are passed over.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_read_info(png_, info_);
    color_ = png_get_color_type(png_, info_);
    depth_ = png_get_bit_depth(png_, info_);
    info.format = ImageInfo::Format::kPng;
    info.width = png_get_image_width(png_, info_);
    info.height = png_get_image_height(png_, info_);
    const bool clear = color_ == PNG_COLOR_TYPE_PALETTE && png_get_valid(png_, info_, PNG_INFO_tRNS) != 0;
    if (clear || (color_ & PNG_COLOR_MASK_ALPHA) != 0) {
      info.channels = 4;
    } else {
      info.channels = (color_ & PNG_COLOR_MASK_COLOR) != 0 ? 3 : 1;
    }
    info.sample_bytes = depth_ == 16 ? 2 : 1;
    return true;
  }

  // After ReadHeader, which gave `info`.
  bool ReadPixels(const ImageInfo& info, ColorOrder order, std::byte* pixels) {
    if (setjmp(jump_) != 0) return false;
    if (color_ == PNG_COLOR_TYPE_PALETTE) {
      png_set_palette_to_rgb(png_);
      if (info.channels == 4) png_set_tRNS_to_alpha(png_);
    }
    if (color_ == PNG_COLOR_TYPE_GRAY && depth_ < 8) png_set_expand_gray_1_2_4_to_8(png_);
    if (color_ == PNG_COLOR_TYPE_GRAY_ALPHA) png_set_gray_to_rgb(png_);
    if (info.channels >= 3 && order == ColorOrder::kBgr) png_set_bgr(png_);
    if (depth_ == 16 && std::endian::native == std::endian::little) png_set_swap(png_);
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    const size_t row = static_cast<size_t>(info.width) * info.channels * info.sample_bytes;
    if (png_get_rowbytes(png_, info_) != row) png_error(png_, "rows of an unexpected size");
    for (int pass = 0; pass < passes; ++pass) {
      for (int64_t y = 0; y < info.height; ++y) {
        png_read_row(png_, reinterpret_cast<png_bytep>(pixels + static_cast<size_t>(y) * row), nullptr);
      }
    }
    return true;
  }

  const char* message() const { return message_; }

 private:
  [[noreturn]] static void OnError(png_structp png, png_const_charp message) {
    auto& self = *static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(self.message_, sizeof(self.message_), "%s", message);
    std::longjmp(self.jump_, 1);
  }
  static void OnWarning(png_structp, png_const_charp) {}
  static void OnRead(png_structp png, png_bytep to, size_t size) {
    auto& self = *static_cast<PngReader*>(png_get_io_ptr(png));
    if (size > self.left_.size()) png_error(png, "the bytes end before the picture does");
    std::memcpy(to, self.left_.data(), size);
    self.left_.remove_prefix(size);
  }

  std::string_view left_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int color_ = 0;
  int depth_ = 0;
  std::jmp_buf jump_;
  char message_[kLongestMessage] = "";
};

Status FaultyPng(const PngReader& reader) { return InvalidArgument("faulty PNG: {}", reader.message()); }

}  // namespace

StatusOr<ImageInfo> ReadPngInfo(std::string_view encoded) {
  PngReader reader(encoded);
  ImageInfo info;
  if (!reader.ReadHeader(info)) return FaultyPng(reader);
  return info;
}

Status DecodePng(std::string_view encoded, const ImageInfo& info, ColorOrder order, std::byte* pixels) {
  PngReader reader(encoded);
  ImageInfo found;
  if (!reader.ReadHeader(found)) return FaultyPng(reader);
  SY_RETURN_IF_ERROR(CheckSame(found, info));
  if (!reader.ReadPixels(info, order, pixels)) return FaultyPng(reader);
  return absl::OkStatus();
}

}  // namespace switchyard
