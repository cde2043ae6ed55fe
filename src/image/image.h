// Encoded pictures, JPEG and PNG: what the header says, and the pixels. The bytes come from anybody: nothing here crashes,
// hangs or takes memory that the header did not announce, whatever they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace switchyard {

enum class ColorOrder { kBgr, kRgb };

// A picture as DecodeImage gives it.
struct ImageInfo {
  enum class Format { kJpeg, kPng };

  Format format = Format::kJpeg;
  int64_t width = 0;   // at least 1
  int64_t height = 0;  // at least 1
  // 1: gray; 3: colour; 4: colour and alpha (PNG alone; gray with alpha is expanded to it).
  int channels = 3;
  // 2: samples of 16 bits in the machine's order (PNG alone).
  int sample_bytes = 1;

  uint64_t pixels() const { return static_cast<uint64_t>(width) * static_cast<uint64_t>(height); }
  friend bool operator==(const ImageInfo&, const ImageInfo&) = default;
  // Of the decoded picture; only after pixels() was found small enough to multiply.
  size_t bytes() const { return static_cast<size_t>(pixels()) * channels * sample_bytes; }
};

// Reads the header alone; the cost does not depend on how large the picture would be. InvalidArgument says why the bytes are no
// picture that can be decoded.
StatusOr<ImageInfo> ReadImageInfo(std::string_view encoded);

// Writes info.bytes() to `pixels`: rows from the top, without padding, samples of a pixel side by side in `order`, alpha last.
// Turning by EXIF, gamma and colour profiles are left alone, as OpenCV's IMREAD_UNCHANGED does; CMYK becomes colour. `info` is
// what ReadImageInfo gave for the same bytes. InvalidArgument when they end early or make no sense; `pixels` may be partly
// written then.
Status DecodeImage(std::string_view encoded, const ImageInfo& info, ColorOrder order, std::byte* pixels);

}  // namespace switchyard
