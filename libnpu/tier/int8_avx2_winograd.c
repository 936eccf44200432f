/* int8_avx2_winograd.c - the tier avx2-int8: int8 convolutions of 3 x 3 taps and stride 1 by Winograd's F(2 x 2, 3 x
 * 3), in whole numbers and therefore exact.
 *
 * With the weights' transform taken twice in each direction (2 G: no halves) everything is whole: a tile of 4 x 4 terms
 * x - zero, of 9 bits, becomes 16 numbers of at most 1020; nine weights become 16 of at most 1152: both fit 16 bits.
 * Their products are summed modulo 2^32, and the last transform gives 4 S for the sum S of a result. |S| <= 9 cin 255
 * 128 < 2^29 for cin <= NPU_INT8_WINOGRAD_CIN, so 4 S is known, not only modulo 2^32, and S = 4 S / 4. Weights are
 * packed as [npad / 16][16][cin / 2][16][2]. Compiled with AVX2 enabled.
 */
#include "libnpu/tier/int8_native.h"

#ifdef __AVX2__
#include "libnpu/tier/int8_avx2_kernels.h"
#include "libnpu/tier/int8_avx2_tile.h"
#include "libnpu/tier/int8_finish.h"

enum { PANEL = 16, POINTS = 16, LANES = 16 };

/* ---- weights ---- */
/* 2 G g (2 G)^T of nine weights `step` apart. */
static void transform_weights(const int8_t *w, int64_t step, int16_t to[POINTS])
{
    int16_t half[4][3];

    for (int i = 0; i < 3; i++) {
        const int a = w[i * step], b = w[(3 + i) * step], c = w[(6 + i) * step];

        half[0][i] = (int16_t)(2 * a);
        half[1][i] = (int16_t)(a + b + c);
        half[2][i] = (int16_t)(a - b + c);
        half[3][i] = (int16_t)(2 * c);
    }
    for (int i = 0; i < 4; i++) {
        to[4 * i] = (int16_t)(2 * half[i][0]);
        to[4 * i + 1] = (int16_t)(half[i][0] + half[i][1] + half[i][2]);
        to[4 * i + 2] = (int16_t)(half[i][0] - half[i][1] + half[i][2]);
        to[4 * i + 3] = (int16_t)(2 * half[i][2]);
    }
}

/* Arguments: weights, packed, column sums (0: terms are without their zero point), fields. */
void npu_int8_avx2_winograd_pack(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_int8_conv g;

    read_fields(c, 3, &g);
    for (int64_t p = part; p < g.npad / PANEL; p += n_parts) {
        const int64_t cols = least(PANEL, g.cout - p * PANEL);
        int16_t *to = (int16_t *)c->p[1] + p * POINTS * g.cin * PANEL;

        memset(to, 0, sizeof *to * (size_t)(POINTS * PANEL) * (size_t)g.cin);
        memset((int32_t *)c->p[2] + p * PANEL, 0, PANEL * sizeof(int32_t));
        for (int64_t k = 0; k < g.cin; k++)
            for (int64_t j = 0; j < cols; j++) {
                int16_t u[POINTS];

                transform_weights((const int8_t *)c->p[0] + k * g.cout + p * PANEL + j, (int64_t)g.cin * g.cout, u);
                for (int64_t t = 0; t < POINTS; t++)
                    to[(t * g.cin + k / 2 * 2) * PANEL + 2 * j + k % 2] = u[t];
            }
    }
}

/* ---- terms ---- */
struct job {
    const struct npu_int8_conv *g;
    const struct npu_qconv_attr *a;
    const struct finish *f;
    const int8_t *x, *zeros; /* zeros: cin of the zero point */
    const int16_t *packed;
    int zero;
    int64_t tw, th;            /* tiles of a picture */
    int64_t step;              /* between the terms of two points */
    int16_t *terms;            /* [16][mb][cin] */
    int32_t (*sums)[PANEL];    /* [16][mb][16] */
    int32_t (*results)[PANEL]; /* [2][2 mb][16] */
};

/* Differences and sums of B^T d. */
#define FORWARD(d0, d1, d2, d3, t)                                                                                     \
    {                                                                                                                  \
        (t)[0] = _mm256_sub_epi16(d0, d2);                                                                             \
        (t)[1] = _mm256_add_epi16(d1, d2);                                                                             \
        (t)[2] = _mm256_sub_epi16(d2, d1);                                                                             \
        (t)[3] = _mm256_sub_epi16(d1, d3);                                                                             \
    }

static void transform_tile(const struct job *j, int64_t tile, int16_t *to)
{
    const struct npu_int8_conv *g = j->g;
    const int64_t top = tile / j->tw % j->th * 2 - j->a->pad_top, left = tile % j->tw * 2 - j->a->pad_left;
    const int8_t *x = j->x + tile / j->tw / j->th * g->h * g->w * g->cin, *at[POINTS];
    const __m256i zero = _mm256_set1_epi16((int16_t)j->zero);

    for (int64_t t = 0; t < POINTS; t++) {
        const int64_t iy = top + t / 4, ix = left + t % 4;

        at[t] = iy < 0 || iy >= g->h || ix < 0 || ix >= g->w ? j->zeros : x + (iy * g->w + ix) * g->cin;
    }
    for (int64_t block = 0; block < g->cin; block += LANES) {
        const int64_t k = least(block, g->cin - LANES); /* the last block may do some channels again */
        __m256i half[4][4];                             /* [column][row] */

        for (int i = 0; i < 4; i++) {
            __m256i d[4];

            for (int r = 0; r < 4; r++)
                d[r] = _mm256_sub_epi16(pair_weights(at[4 * r + i] + k), zero);
            FORWARD(d[0], d[1], d[2], d[3], half[i])
        }
        for (int r = 0; r < 4; r++) {
            __m256i t[4];

            FORWARD(half[0][r], half[1][r], half[2][r], half[3][r], t)
            for (int i = 0; i < 4; i++)
                _mm256_storeu_si256((__m256i *)(void *)(to + (4 * r + i) * j->step + k), t[i]);
        }
    }
}

/* ---- results ---- */
/* A^T of four vectors. */
#define BACKWARD(m0, m1, m2, m3, s0, s1)                                                                               \
    const __m256i s0 = _mm256_add_epi32(_mm256_add_epi32(m0, m1), m2);                                                 \
    const __m256i s1 = _mm256_sub_epi32(_mm256_sub_epi32(m1, m2), m3);

/* Eight columns of one tile: its four sums go to to[row][column]. */
static inline void transform_sums(const struct job *j, int64_t i, int64_t n, int32_t *const to[2][2])
{
    __m256i half[4][2]; /* [column][row] */

    for (int64_t k = 0; k < 4; k++) {
        const __m256i m0 = finish_load(j->sums[(0 + k) * j->g->mb + i] + n),
                      m1 = finish_load(j->sums[(4 + k) * j->g->mb + i] + n);
        const __m256i m2 = finish_load(j->sums[(8 + k) * j->g->mb + i] + n),
                      m3 = finish_load(j->sums[(12 + k) * j->g->mb + i] + n);
        BACKWARD(m0, m1, m2, m3, s0, s1)

        half[k][0] = s0;
        half[k][1] = s1;
    }
    for (int r = 0; r < 2; r++) {
        BACKWARD(half[0][r], half[1][r], half[2][r], half[3][r], s0, s1)

        _mm256_storeu_si256((__m256i *)(void *)(to[r][0] + n), _mm256_srai_epi32(s0, 2));
        _mm256_storeu_si256((__m256i *)(void *)(to[r][1] + n), _mm256_srai_epi32(s1, 2));
    }
}

/* Panel p of tiles first .. first + count - 1, in runs of one row of tiles. */
static void finish_panel(const struct job *j, int64_t first, int64_t count, int64_t p)
{
    const struct npu_int8_conv *g = j->g;
    const int64_t n = least(PANEL, g->cout - p * PANEL);
    uint32_t offset[PANEL];

    finish_offsets(j->f, p * PANEL, PANEL, offset);
    for (int64_t i = 0, run; i < count; i += run) {
        const int64_t tile = first + i, tx = tile % j->tw, oy = tile / j->tw % j->th * 2;
        const int64_t line = tile / j->tw / j->th * g->oh + oy;

        run = least(count - i, j->tw - tx);
        for (int64_t k = 0; k < run; k++) {
            int32_t(*above)[PANEL] = j->results + 2 * k, (*below)[PANEL] = above + 2 * (int64_t)g->mb;
            int32_t *const to[2][2] = {{above[0], above[1]}, {below[0], below[1]}};

            transform_sums(j, i + k, 0, to);
            transform_sums(j, i + k, PANEL / 2, to);
        }
        for (int64_t r = 0; r < least(2, g->oh - oy); r++)
            finish_rows(j->f, j->results[r * 2 * g->mb], PANEL, offset, (line + r) * g->ow + 2 * tx,
                        least(2 * run, g->ow - 2 * tx), p * PANEL, n);
    }
}

static void run_unit(const struct job *j, int64_t first, int64_t count, int64_t slice)
{
    const struct npu_int8_conv *g = j->g;
    const int64_t panels = g->npad / PANEL, end = panels * (slice + 1) / g->slices;

    for (int64_t i = 0; i < count; i++)
        transform_tile(j, first + i, j->terms + i * g->cin);
    for (int64_t p = panels * slice / g->slices; p < end; p++) {
        for (int64_t t = 0; t < POINTS; t++)
            for (int64_t i = 0; i < count; i += UNIT_ROWS)
                pair_rows(j->terms + t * j->step + i * g->cin, (size_t)g->cin,
                          j->packed + (p * POINTS + t) * g->cin * PANEL, g->cin, least(UNIT_ROWS, count - i),
                          j->sums + t * g->mb + i);
        finish_panel(j, first, count, p);
    }
}

/* Arguments as those of conv; mb is a number of tiles. */
void npu_int8_avx2_winograd(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_int8_conv g;
    struct finish f;
    struct job j = {.g = &g, .f = &f, .x = c->p[0], .packed = c->p[1]};
    char *scratch;
    int64_t tiles, unit = 0;

    read_fields(c, 9, &g);
    n_parts = (int)least(n_parts, g.parts);
    if (part >= n_parts)
        return;
    f = finish_of(c, &g, 0, &j.zero);
    f.offset = 0;
    j.a = f.a;
    scratch = (char *)c->p[8] + (size_t)part * npu_int8_winograd_scratch(&g);
    j.sums = (int32_t(*)[PANEL])(void *)scratch;
    j.results = j.sums + (int64_t)POINTS * g.mb;
    j.terms = (int16_t *)(void *)(j.results + 4 * (int64_t)g.mb);
    j.step = npu_int8_winograd_step(&g);
    j.zeros = (const int8_t *)(j.terms + POINTS * j.step);
    memset(j.terms + POINTS * j.step, j.zero, (size_t)g.cin);
    j.tw = (g.ow + 1) / 2;
    j.th = (g.oh + 1) / 2;
    tiles = g.n * j.tw * j.th;
    for (int64_t m = 0; m < tiles; m += g.mb)
        for (int64_t s = 0; s < g.slices; s++)
            if (unit++ % n_parts == part)
                run_unit(&j, m, least(g.mb, tiles - m), s);
}
#endif
