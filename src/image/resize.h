// Decoded pixels to the elements of a tensor: bilinear, with OpenCV's geometry and, from 8 bits to 8 bits, its arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>

#include "image/image.h"
#include "tensor/element_type.h"

namespace switchyard {

// FP32, FP64, FP16, BF16, U8, I8, U16, I16, I32: what pictures can become.
bool TakesPixels(ElementType type);

// Writes height x width x info.channels elements of `type`, for which TakesPixels holds, to `to`. Values stay what they are (0
// to 255, or to 65535 of samples of 16 bits) and are cut off at the ends of the type's range, but 16 bits to 8 bits keep the
// upper half. `pixels` are info's.
void ResizePixels(const ImageInfo& info, const std::byte* pixels, int64_t height, int64_t width, ElementType type,
                  std::byte* to);

}  // namespace switchyard
