/* int8_dot_tile.h - blocks of sums by VPDPBUSD: each lane of c += the four products of unsigned bytes of a and signed
 * bytes of b, modulo 2^32 (Intel SDM volume 2). VNNI_BITS is 512 or 256; NPU_VNNI_EMULATED takes plain C.
 *
 * Rows of A are broadcast four terms at a time; two vectors of B hold four terms of 2 * lanes columns. 12 rows fill the
 * 32 registers of AVX-512, 6 the 16 of AVX2.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { VNNI_LANES = VNNI_BITS / 32 };

#ifdef NPU_VNNI_EMULATED
typedef struct {
    uint32_t lane[VNNI_LANES];
} vnni_vec;

static inline vnni_vec vnni_load(const void *p)
{
    vnni_vec v;

    memcpy(&v, p, sizeof v);
    return v;
}
static inline void vnni_store(void *p, vnni_vec v)
{
    memcpy(p, &v, sizeof v);
}
static inline vnni_vec vnni_spread(const void *p)
{
    vnni_vec v;

    for (int i = 0; i < VNNI_LANES; i++)
        memcpy(&v.lane[i], p, sizeof v.lane[i]);
    return v;
}
static inline vnni_vec vnni_dp(vnni_vec c, vnni_vec a, vnni_vec b)
{
    uint8_t x[VNNI_BITS / 8];
    int8_t y[VNNI_BITS / 8];

    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    for (int i = 0; i < VNNI_LANES; i++)
        for (int k = 0; k < 4; k++)
            c.lane[i] += (uint32_t)(x[4 * i + k] * y[4 * i + k]);
    return c;
}
#elif VNNI_BITS == 512
#include <immintrin.h>

typedef __m512i vnni_vec;
#define vnni_load(p)     _mm512_loadu_si512(p)
#define vnni_store(p, v) _mm512_storeu_si512(p, v)
#define vnni_dp(c, a, b) _mm512_dpbusd_epi32(c, a, b)
static inline vnni_vec vnni_spread(const void *p)
{
    int32_t u;

    memcpy(&u, p, sizeof u);
    return _mm512_set1_epi32(u);
}
#else
#include <immintrin.h>

typedef __m256i vnni_vec;
#define vnni_load(p)     _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define vnni_store(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define vnni_dp(c, a, b) _mm256_dpbusd_avx_epi32(c, a, b)
static inline vnni_vec vnni_spread(const void *p)
{
    int32_t u;

    memcpy(&u, p, sizeof u);
    return _mm256_set1_epi32(u);
}
#endif

#define UNIT_COLS     (2 * VNNI_LANES)
#define UNIT_K        4
#define UNIT_GROUP    4
#define UNIT_STEP     NPU_QUANT_MAX_DEPTH
#define UNIT_TERM     uint8_t
#define UNIT_UNSIGNED 1
#define unit_begin()  ((void)0)
#define unit_end()    ((void)0)

#if VNNI_BITS == 512
#define UNIT_ROWS    12
#define VNNI_EACH(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11)
#else
#define UNIT_ROWS    6
#define VNNI_EACH(F) F(0) F(1) F(2) F(3) F(4) F(5)
#endif

#define VNNI_ZERO(i) vnni_vec c##i##_0 = zero, c##i##_1 = zero;
#define VNNI_ROW(i)  const uint8_t *a##i = a + (size_t)i * lda;
#define VNNI_MAC(i)                                                                                                    \
    {                                                                                                                  \
        const vnni_vec v = vnni_spread(a##i + k);                                                                      \
        c##i##_0 = vnni_dp(c##i##_0, v, b0);                                                                           \
        c##i##_1 = vnni_dp(c##i##_1, v, b1);                                                                           \
    }
#define VNNI_PUT(i)                                                                                                    \
    vnni_store(c[i], c##i##_0);                                                                                        \
    vnni_store(c[i] + VNNI_LANES, c##i##_1);

static inline void unit_block(const uint8_t *a, size_t lda, const int8_t *b, size_t panel, int64_t kpad, int64_t rows,
                              bool add, int32_t (*c)[UNIT_COLS])
{
    /* the second vector: the next panel, or the other half of this one */
    const int8_t *second = b + (VNNI_LANES == 16 ? panel : VNNI_BITS / 8);
    static const uint8_t nothing[VNNI_BITS / 8];
    const vnni_vec zero = vnni_load(nothing);
    VNNI_EACH(VNNI_ROW)
    VNNI_EACH(VNNI_ZERO)

    for (int64_t k = 0; k < kpad; k += 4) {
        const vnni_vec b0 = vnni_load(b + k * 16), b1 = vnni_load(second + k * 16);

        VNNI_EACH(VNNI_MAC)
    }
    VNNI_EACH(VNNI_PUT)
}
