/* exact_avx2_depthwise.c - convolutions with one channel a group in int8 networks, as libnpu/op/exact.c says: one chain
 * over the taps, those outside of the picture as 0. */
#include "libnpu/tier/exact_avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/exact_avx2_kernels.h"
#include "libnpu/tier/exact_avx2_simd.h"

static __m256 tap_at(const struct npu_avx2_conv *g, const float *x, int64_t y, int64_t px, int64_t n)
{
    if (y < 0 || y >= g->h || px < 0 || px >= g->w)
        return _mm256_setzero_ps();
    return load_some(x + (y * g->w + px) * g->cin + n, g->cin - n);
}

/* Channels n .. n + 7 of one result pixel. */
static void pixel(const struct npu_native_call *c, const struct npu_avx2_conv *g, int64_t m, int64_t n)
{
    const int64_t left = m % g->ow * g->stride - g->pad_left, top = m / g->ow % g->oh * g->stride - g->pad_top;
    const float *x = (const float *)c->p[0] + m / g->ow / g->oh * g->h * g->w * g->cin, *w = c->p[1];
    const float *bias = c->p[2], *res = c->p[3];
    const int64_t count = g->cin - n;
    __m256 sum = _mm256_setzero_ps();

    for (int64_t t = 0; t < (int64_t)g->kh * g->kw; t++)
        sum = _mm256_fmadd_ps(tap_at(g, x, top + t / g->kw, left + t % g->kw, n), load_some(w + t * g->cin + n, count),
                              sum);
    sum = _mm256_add_ps(sum, bias ? load_some(bias + n, count) : _mm256_setzero_ps());
    if (res)
        sum = _mm256_add_ps(sum, load_some(res + m * g->cin + n, count));
    store_some((float *)c->p[4] + m * g->cin + n, count, x_act8(sum, g->act));
}

void npu_exact_avx2_grouped(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_conv g = {0};
    int64_t pixels;

    npu_avx2_fields(c, 5, &g.n, sizeof g);
    pixels = (int64_t)g.n * g.oh * g.ow;
    for (int64_t m = pixels * part / n_parts; m < pixels * (part + 1) / n_parts; m++)
        for (int64_t n = 0; n < g.cin; n += 8)
            pixel(c, &g, m, n);
}

static const struct npu_exact_kernels kernels = {
    .attention = npu_exact_avx2_attention, .act = npu_exact_avx2_act, .grouped = npu_exact_avx2_grouped};

const struct npu_exact_kernels *npu_exact_avx2_kernels(void)
{
    return &kernels;
}
#else
const struct npu_exact_kernels *npu_exact_avx2_kernels(void)
{
    return NULL;
}
#endif
