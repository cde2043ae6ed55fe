// The two formats behind image.h, each in a file of its own.
#pragma once

#include "image/image.h"

namespace switchyard {

// Of a picture that is decoded: what its header says now, and what the caller made room for.
inline Status CheckSame(const ImageInfo& found, const ImageInfo& expected) {
  if (found == expected) return absl::OkStatus();
  return Error(StatusCode::kInternal, "The picture is not the one whose header was read");
}

StatusOr<ImageInfo> ReadJpegInfo(std::string_view encoded);
Status DecodeJpeg(std::string_view encoded, const ImageInfo& info, ColorOrder order, std::byte* pixels);

StatusOr<ImageInfo> ReadPngInfo(std::string_view encoded);
Status DecodePng(std::string_view encoded, const ImageInfo& info, ColorOrder order, std::byte* pixels);

}  // namespace switchyard
