/* vnni512_emulated.c - the tier vnni512 over its dot product in plain C: for tests. */
#define NPU_VNNI_EMULATED
#define VNNI_BITS 512
#include "libnpu/tier/int8_dot_tile.h"
#include "libnpu/tier/int8_native_kernels.h"

const struct npu_int8_kernels npu_vnni512_emulated = INT8_KERNELS("vnni512-emulated", 0);
