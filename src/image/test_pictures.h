// Pictures for tests, encoded by the same libraries.
#pragma once

#include <png.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "image/libjpeg.h"

namespace switchyard {

// Smooth enough for JPEG to keep, different in every channel and along both axes.
inline std::vector<uint8_t> Gradient(int width, int height, int channels) {
  std::vector<uint8_t> pixels;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const int values[] = {x * 255 / std::max(1, width - 1), y * 255 / std::max(1, height - 1),
                            255 - x * 255 / std::max(1, width - 1), 255 - y * 128 / std::max(1, height - 1)};
      for (int c = 0; c < channels; ++c) pixels.push_back(static_cast<uint8_t>(values[c]));
    }
  }
  return pixels;
}

// `pixels`: gray (1), RGB (3) or CMYK as Adobe inverts it (4).
inline std::string EncodeJpeg(int width, int height, int channels, const std::vector<uint8_t>& pixels,
                              bool progressive = false) {
  jpeg_compress_struct compress{};
  jpeg_error_mgr errors{};
  compress.err = jpeg_std_error(&errors);
  jpeg_create_compress(&compress);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&compress, &memory, &size);
  compress.image_width = static_cast<JDIMENSION>(width);
  compress.image_height = static_cast<JDIMENSION>(height);
  compress.input_components = channels;
  compress.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&compress);
  jpeg_set_quality(&compress, 100, TRUE);
  if (progressive) jpeg_simple_progression(&compress);
  jpeg_start_compress(&compress, TRUE);
  while (compress.next_scanline < compress.image_height) {
    auto* row = const_cast<JSAMPROW>(pixels.data() + size_t{compress.next_scanline} * static_cast<size_t>(width * channels));
    jpeg_write_scanlines(&compress, &row, 1);
  }
  jpeg_finish_compress(&compress);
  jpeg_destroy_compress(&compress);
  std::string encoded(reinterpret_cast<char*>(memory), size);
  std::free(memory);
  return encoded;
}

struct PngForm {
  int color = PNG_COLOR_TYPE_RGB;
  int depth = 8;
  bool interlaced = false;
  std::vector<png_color> palette = {};
  std::vector<uint8_t> palette_alpha = {};
};

// `rows`: as the format has them, 16 bits big endian, `row_bytes` each.
inline std::string EncodePng(int width, int height, const PngForm& form, const std::vector<uint8_t>& rows, size_t row_bytes) {
  std::string encoded;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &encoded,
      [](png_structp writer, png_bytep data, size_t size) {
        static_cast<std::string*>(png_get_io_ptr(writer))->append(reinterpret_cast<char*>(data), size);
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), form.depth, form.color,
               form.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  if (!form.palette.empty()) png_set_PLTE(png, info, form.palette.data(), static_cast<int>(form.palette.size()));
  if (!form.palette_alpha.empty()) {
    png_set_tRNS(png, info, form.palette_alpha.data(), static_cast<int>(form.palette_alpha.size()), nullptr);
  }
  std::vector<png_bytep> pointers;
  for (int y = 0; y < height; ++y) pointers.push_back(const_cast<png_bytep>(rows.data() + static_cast<size_t>(y) * row_bytes));
  png_set_rows(png, info, pointers.data());
  png_write_png(png, info, PNG_TRANSFORM_IDENTITY, nullptr);
  png_destroy_write_struct(&png, &info);
  return encoded;
}

// An RGB PNG.
inline std::string EncodePng(int width, int height, const std::vector<uint8_t>& pixels) {
  return EncodePng(width, height, PngForm{}, pixels, static_cast<size_t>(width) * 3);
}

}  // namespace switchyard
