/* avx2.c - whether the tier serves here, and the sizes that lowering and kernels share. */
#include "libnpu/tier/avx2.h"

#include <pthread.h>
#include <stdlib.h>

size_t npu_avx2_conv_scratch(const struct npu_avx2_conv *g)
{
    const size_t taps = (size_t)g->kh, mb = (size_t)g->mb, line = (size_t)g->kw * (size_t)g->cin;
    const size_t copies = g->kw > 1 ? mb * taps * line : 0;

    return (mb * (taps * sizeof(float *) + sizeof(int64_t)) + (line + copies + 16) * sizeof(float) + 63) / 64 * 64;
}

int64_t npu_avx2_winograd_tiles(const struct npu_avx2_conv *g)
{
    return (int64_t)g->n * ((g->oh + 3) / 4) * ((g->ow + 3) / 4);
}

size_t npu_avx2_winograd_scratch(const struct npu_avx2_conv *g)
{
    const int64_t floats = npu_avx2_winograd_step(g->mb, g->cin) + npu_avx2_winograd_step(g->mb, NPU_AVX2_PANEL);

    return ((size_t)(36 * floats + g->cin) * sizeof(float) + 63) / 64 * 64;
}

size_t npu_avx2_winograd_sums_floats(const struct npu_avx2_conv *g)
{
    const size_t panel = NPU_AVX2_PANEL, rows = NPU_AVX2_ROWS;

    return 36 * (((size_t)g->cout + panel - 1) / panel * panel) * (((size_t)g->cin + rows - 1) / rows * rows);
}

size_t npu_avx2_winograd_sums_scratch(const struct npu_avx2_conv *g)
{
    const int64_t columns = (g->cout + NPU_AVX2_PANEL - 1) / NPU_AVX2_PANEL * NPU_AVX2_PANEL;
    const int64_t floats = npu_avx2_winograd_step(g->mb, g->cin) + npu_avx2_winograd_step(g->mb, columns);

    return ((size_t)(36 * floats + g->cin) * sizeof(float) + 63) / 64 * 64;
}

size_t npu_avx2_outer_scratch(const struct npu_avx2_outer *g)
{
    const size_t rows = NPU_AVX2_ROWS, panels = ((size_t)g->cout + NPU_AVX2_PANEL - 1) / NPU_AVX2_PANEL;
    const size_t line = (size_t)g->kw * (size_t)g->cin, strips = (size_t)g->kh * ((line + rows - 1) / rows);
    const size_t row_units = (size_t)g->row_units, col_units = (size_t)g->col_units;
    const size_t own = (strips + row_units - 1) / row_units, own_panels = (panels + col_units - 1) / col_units;
    const size_t tiles = own * own_panels * rows * NPU_AVX2_PANEL;
    const size_t floats = NPU_AVX2_OUTER_ROWS * NPU_AVX2_PANEL + tiles + own * NPU_AVX2_OUTER_STRIP + line + 8;

    return (floats * sizeof(float) + 63) / 64 * 64;
}

size_t npu_avx2_grad_x_scratch(const struct npu_avx2_grad_x *g)
{
    const size_t taps = (size_t)g->kh * (size_t)g->kw, mb = (size_t)g->mb;

    return (mb * (taps * sizeof(float *) + sizeof(int64_t)) + (size_t)g->cout * sizeof(float) + 63) / 64 * 64;
}

size_t npu_avx2_attention_scratch(const struct npu_avx2_attention *a)
{
    const size_t panels = ((size_t)a->n + NPU_AVX2_PANEL - 1) / NPU_AVX2_PANEL, dh = (size_t)a->dh;
    const size_t dp = (dh + NPU_AVX2_PANEL - 1) / NPU_AVX2_PANEL * NPU_AVX2_PANEL;
    const size_t keys = panels * NPU_AVX2_PANEL;

    return (keys * (dh + dp + NPU_AVX2_ROWS) * sizeof(float) + panels * NPU_AVX2_ROWS * sizeof(float *) + 63) / 64 * 64;
}

size_t npu_avx2_attention_grad_scratch(const struct npu_avx2_attention *a)
{
    const size_t panel = NPU_AVX2_PANEL, rows = NPU_AVX2_ROWS, block = NPU_AVX2_GRAD_QUERIES;
    const size_t n = (size_t)a->n, dh = (size_t)a->dh, np = (n + panel - 1) / panel * panel;
    const size_t dp = (dh + panel - 1) / panel * panel, strips = (n + rows - 1) / rows;

    return ((np * (2 * dh + dp + 2 * block) + 2 * dp * strips * rows + block * panel) * sizeof(float) + 63) / 64 * 64;
}

/* ---- choice ---- */
static bool passed;

static void test_hardware(void)
{
    const struct npu_avx2_kernels *k = npu_avx2_kernels();

    passed = k && npu_avx2_self_test(k) == 0;
}

const struct npu_avx2_kernels *npu_avx2_for(const struct npu_traits *t)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const char *native = getenv("NPU_MAT_NATIVE"), *portable = getenv("NPU_MAT_PORTABLE");

    if (!t->native || !(t->cpu & NPU_CPU_AVX2_FMA) || getenv("NPU_MAT_VEC") || (native && native[0] == '0') ||
        (portable && portable[0] == '1'))
        return NULL;
    pthread_once(&once, test_hardware);
    return passed ? npu_avx2_kernels() : NULL;
}
