/* int8_avx2_hw.c - the tier avx2-int8. Compiled with AVX2 enabled: nothing here may run before npu_int8_usable() has
 * looked at the processor. */
#include "libnpu/tier/int8_native.h"

#ifdef __AVX2__
#define UNIT_MORE                                                                                                      \
    16, true, npu_int8_avx2_depthwise_pack, npu_int8_avx2_depthwise, npu_int8_avx2_winograd_pack, npu_int8_avx2_winograd
#include "libnpu/tier/int8_avx2_kernels.h"
#include "libnpu/tier/int8_avx2_tile.h"
#include "libnpu/tier/int8_native_kernels.h"

/* Weights that are narrow have their own packing and kernel; a byte behind the packed weights says which it is. */
static int8_t *mark_of(const struct npu_native_call *c, const struct npu_int8_conv *g)
{
    return (int8_t *)c->p[1] + (int64_t)g->npad * g->kpad;
}

static void pack(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_int8_conv g;
    bool narrow;

    read_fields(c, 3, &g);
    narrow = g.kpad % 4 == 0 && npu_int8_avx2_is_narrow(c->p[0], (int64_t)g.kh * g.kw * g.cin, g.cout);
    if (part == 0)
        *mark_of(c, &g) = narrow;
    (narrow ? npu_int8_avx2_narrow_pack : int8_pack)(c, part, n_parts);
}

static void conv(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_int8_conv g;

    read_fields(c, 9, &g);
    (*mark_of(c, &g) ? npu_int8_avx2_narrow : int8_conv)(c, part, n_parts);
}

static const struct npu_int8_kernels hardware = {
    "avx2-int8", NPU_CPU_AVX2_FMA, UNIT_ROWS, UNIT_K, UNIT_COLS, sizeof(UNIT_TERM), pack, conv, UNIT_MORE};

const struct npu_int8_kernels *npu_int8_avx2_hardware(void)
{
    return &hardware;
}
#else
const struct npu_int8_kernels *npu_int8_avx2_hardware(void)
{
    return NULL;
}
#endif
