// The two formats behind image.h, each in a file of its own.
#pragma once

#include "image/image.h"

namespace switchyard {

StatusOr<ImageInfo> ReadJpegInfo(std::string_view encoded);
Status DecodeJpeg(std::string_view encoded, const ImageInfo& info, ColorOrder order, std::byte* pixels);

StatusOr<ImageInfo> ReadPngInfo(std::string_view encoded);
Status DecodePng(std::string_view encoded, const ImageInfo& info, ColorOrder order, std::byte* pixels);

}  // namespace switchyard
