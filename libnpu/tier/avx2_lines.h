/* avx2_lines.h - windows of few terms: the lines that a run of neighbours sees are copied side by side, with zeros
 * beyond the picture, so that a window is its first term's place and a fixed pattern. For files compiled with AVX2 and
 * FMA. */
#ifndef NPU_TIER_AVX2_LINES_H
#define NPU_TIER_AVX2_LINES_H

#include "libnpu/tier/avx2_simd.h"

enum { NPU_AVX2_LINES_FLOATS = 4096, NPU_AVX2_LINES_TERMS = 32 };

/* x [n, h, w, cin]; windows of kh lines of kw pixels */
struct lines {
    int64_t h, w, cin, kh, kw, stride, pad_top, pad_left;
};

/* Floats of a line that `run` windows see. */
static inline int64_t lines_step(const struct lines *g, int64_t run)
{
    return ((run - 1) * g->stride + g->kw) * g->cin;
}

/* How many windows at a time fit, at least one: their lines take LINES_FLOATS with 8 to spare. */
static inline int64_t lines_most(const struct lines *g)
{
    return ((NPU_AVX2_LINES_FLOATS - 8) / (g->kh * g->cin) - g->kw) / g->stride + 1;
}

/* The lines of the windows of `run` result pixels from (y, ox) of picture z on; writes up to 7 floats beyond them. */
static inline void lines_copy(const struct lines *g, const float *x, int64_t z, int64_t y, int64_t ox, int64_t run,
                              float *to)
{
    const int64_t columns = (run - 1) * g->stride + g->kw, left = ox * g->stride - g->pad_left;
    const int64_t from = at_most(columns, at_least(0, -left)), end = at_least(from, at_most(columns, g->w - left));

    for (int64_t ky = 0; ky < g->kh; ky++, to += columns * g->cin) {
        const int64_t line = y * g->stride - g->pad_top + ky, len = (end - from) * g->cin;
        const float *src = x + ((z * g->h + line) * g->w + left + from) * g->cin;
        const bool inside = line >= 0 && line < g->h;

        if (!inside || from > 0)
            memset(to, 0, sizeof(float) * (size_t)((inside ? from : columns) * g->cin));
        for (int64_t i = 0; inside && i < len; i += 8)
            _mm256_storeu_ps(to + from * g->cin + i, load_some(src + i, len - i));
        if (inside && end < columns)
            memset(to + end * g->cin, 0, sizeof(float) * (size_t)((columns - end) * g->cin));
    }
}

#endif
