/* vnni512_emulated.c - the tier vnni512 over its dot product in plain C: for tests. */
#define NPU_VNNI_EMULATED
#define VNNI_BITS 512
#include "libnpu/tier/int8_dot_columns.h"
#define UNIT_MORE COLUMN_CHANNELS, false, pack_columns, conv_columns, NULL, NULL
#include "libnpu/tier/int8_native_kernels.h"

const struct npu_int8_kernels npu_vnni512_emulated = INT8_KERNELS("vnni512-emulated", 0);
