#include "image/image.h"

#include <string>

#include "image/codecs.h"

namespace switchyard {
namespace {

constexpr std::string_view kJpegStart = "\xff\xd8\xff";
constexpr std::string_view kPngStart = "\x89PNG\r\n\x1a\n";

std::string Hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format("{}{:02x}", text.empty() ? "" : " ", static_cast<uint8_t>(byte));
  return text;
}

}  // namespace

StatusOr<ImageInfo> ReadImageInfo(std::string_view encoded) {
  if (encoded.starts_with(kJpegStart)) return ReadJpegInfo(encoded);
  if (encoded.starts_with(kPngStart)) return ReadPngInfo(encoded);
  return InvalidArgument("neither JPEG nor PNG: {} bytes, the first are {}", encoded.size(), Hex(encoded.substr(0, 8)));
}

Status DecodeImage(std::string_view encoded, const ImageInfo& info, ColorOrder order, std::byte* pixels) {
  return info.format == ImageInfo::Format::kJpeg ? DecodeJpeg(encoded, info, order, pixels)
                                                 : DecodePng(encoded, info, order, pixels);
}

}  // namespace switchyard
