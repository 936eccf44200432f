/* dtype.h - conversions between f32 and the 16-bit storage types: to nearest even, NaN stays NaN. */
#ifndef NPU_DTYPE_H
#define NPU_DTYPE_H

#include <stdint.h>

float npu_bf16_to_f32(uint16_t h);
uint16_t npu_f32_to_bf16(float f);
float npu_f16_to_f32(uint16_t h);
uint16_t npu_f32_to_f16(float f);

#endif
