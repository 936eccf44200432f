/* vnni256_emulated.c - the tier vnni256 over its dot product in plain C: for tests. */
#define NPU_VNNI_EMULATED
#define VNNI_BITS 256
#include "libnpu/tier/int8_dot_columns.h"
#define UNIT_MORE COLUMN_CHANNELS, false, pack_columns, conv_columns, NULL, NULL
#include "libnpu/tier/int8_native_kernels.h"

const struct npu_int8_kernels npu_vnni256_emulated = INT8_KERNELS("vnni256-emulated", 0);
