// Numbers to and from FP16 (IEEE 754 binary16) and BF16 (the upper half of binary32), rounded to nearest, ties to even.
#pragma once

#include <cstdint>

namespace switchyard {

float HalfToFloat(uint16_t bits);
uint16_t FloatToHalf(float value);
float Bfloat16ToFloat(uint16_t bits);
uint16_t FloatToBfloat16(float value);

}  // namespace switchyard
