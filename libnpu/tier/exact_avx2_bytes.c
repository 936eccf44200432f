/* exact_avx2_bytes.c - the tier exact-avx2: int8 elements that are moved, and the largest of windows, as native
 * functions with the arguments of kernels/copy.cl and pool.cl. */
#include "libnpu/tier/exact_avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/exact_avx2_kernels.h"
#include "libnpu/tier/exact_avx2_simd.h"

#define ALWAYS static inline __attribute__((always_inline))

void npu_exact_bytes_copy(const struct npu_native_call *c, int part, int n_parts)
{
    const struct share s = share_of(c->arg[6].i, 1, part, n_parts);

    for (int64_t r = s.from; r < s.end; r++)
        memmove((char *)c->p[1] + r * c->arg[5].i + c->arg[4].i, (const char *)c->p[0] + r * c->arg[3].i + c->arg[2].i,
                (size_t)c->arg[7].i);
}

/* ---- axes in another order ---- */
void npu_exact_bytes_permute_rows(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t inner = c->arg[2].i;
    const struct share s = share_of(c->arg[3].i, 1, part, n_parts);

    for (int64_t r = s.from; r < s.end; r++)
        memcpy((int8_t *)c->p[1] + r * inner, (const int8_t *)c->p[0] + bcast_base(c->arg + 2, r), (size_t)inner);
}

/* Sixteen pixels of three planes, `plane` bytes from one to the next: colours side by side. */
ALWAYS void join_planes(const int8_t *x, int64_t plane, int8_t *y)
{
    /* where the bytes of a vector of the result come from in the plane; -1: from another one */
    static const int8_t from[3][3][16] = {{{0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1, 5},
                                           {-1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1},
                                           {-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1}},
                                          {{-1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10, -1},
                                           {5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10},
                                           {-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1}},
                                          {{-1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1, -1},
                                           {-1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1},
                                           {10, -1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15}}};

    for (int v = 0; v < 3; v++) {
        __m128i sum = _mm_setzero_si128();

        for (int k = 0; k < 3; k++) {
            const __m128i which = _mm_loadu_si128((const __m128i *)(const void *)from[v][k]);
            const __m128i all = _mm_loadu_si128((const __m128i *)(const void *)(x + k * plane));

            sum = _mm_or_si128(sum, _mm_shuffle_epi8(all, which));
        }
        _mm_storeu_si128((__m128i *)(void *)(y + (ptrdiff_t)16 * v), sum);
    }
}

/* The last axis of x, q, and the one that becomes last are walked in tiles. */
void npu_exact_bytes_permute_tiles(const struct npu_native_call *c, int part, int n_parts)
{
    enum { TILE = 64 };
    const struct npu_arg *a = c->arg + 2;
    const int64_t n0 = a[0].i, s0 = a[1].i, nq = a[2].i, oq = a[3].i, tiles_q = (nq + TILE - 1) / TILE;
    const struct share s = share_of(a[4].i * tiles_q, 1, part, n_parts);

    for (int64_t t = s.from; t < s.end; t++) {
        const int64_t end = at_most(t % tiles_q * TILE + TILE, nq);
        int64_t k = t / tiles_q, q = t % tiles_q * TILE;
        const int8_t *x = c->p[0];
        int8_t *y = c->p[1];

        for (int i = 0; i < 4; i++) { /* size, step in x, step in y of an outer axis */
            const struct npu_arg *outer = a + 5 + 3 * (ptrdiff_t)i;
            const int64_t at = i < 3 ? k % outer[0].i : k;

            x += at * outer[1].i;
            y += at * outer[2].i;
            k /= outer[0].i;
        }
        for (; n0 == 3 && oq == 3 && q + 16 <= end; q += 16)
            join_planes(x + q, s0, y + q * 3);
        for (int64_t i = 0; i < n0; i += 16)
            for (int64_t b = q; b < end; b++)
                for (int64_t e = i; e < at_most(i + 16, n0); e++)
                    y[b * oq + e] = x[e * s0 + b];
    }
}

/* ---- the largest of windows ---- */
ALWAYS __m256i load_bytes(const int8_t *p, int64_t n)
{
    int8_t some[32] = {0};

    if (n >= 32)
        return _mm256_loadu_si256((const __m256i *)(const void *)p);
    memcpy(some, p, (size_t)n);
    return _mm256_loadu_si256((const __m256i *)(const void *)some);
}

ALWAYS void store_bytes(int8_t *p, int64_t n, __m256i v)
{
    int8_t some[32];

    if (n >= 32) {
        _mm256_storeu_si256((__m256i *)(void *)p, v);
        return;
    }
    _mm256_storeu_si256((__m256i *)(void *)some, v);
    memcpy(p, some, (size_t)n);
}

/* n channels, 32 at most, of a window of x. */
ALWAYS __m256i largest(const int8_t *x, int64_t rows, int64_t line, int64_t pixels, int64_t ch, int64_t n)
{
    __m256i v = _mm256_set1_epi8(-128);

    for (int64_t y = 0; y < rows; y++)
        for (int64_t i = 0; i < pixels; i++)
            v = _mm256_max_epi8(v, load_bytes(x + y * line + i * ch, n));
    return v;
}

void npu_exact_bytes_max_pool(const struct npu_native_call *c, int part, int n_parts)
{
    const struct npu_arg *a = c->arg + 2;
    const int64_t h = a[1].i, w = a[2].i, ch = a[3].i, oh = a[4].i, ow = a[5].i;
    const int64_t kernel = a[6].i, stride = a[7].i, pad = a[8].i;
    const struct share s = share_of(a[0].i * oh * ow, 1, part, n_parts);

    for (int64_t o = s.from; o < s.end; o++) {
        const int64_t top = o / ow % oh * stride - pad, left = o % ow * stride - pad;
        const int64_t y0 = top > 0 ? top : 0, y1 = at_most(h, top + kernel);
        const int64_t x0 = left > 0 ? left : 0, x1 = at_most(w, left + kernel);
        const int8_t *x = (const int8_t *)c->p[0] + ((o / ow / oh * h + y0) * w + x0) * ch;
        int8_t *y = (int8_t *)c->p[1] + o * ch;

        for (int64_t j = 0; j < ch; j += 32) { /* the last block ends with the last channel */
            const int64_t at = ch < 32 ? 0 : at_most(j, ch - 32);

            store_bytes(y + at, ch, largest(x + at, y1 - y0, w * ch, x1 - x0, ch, ch));
        }
    }
}
#endif
