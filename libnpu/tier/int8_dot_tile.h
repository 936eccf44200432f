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
static inline vnni_vec vnni_spread(const void *p)
{
    int32_t u;

    memcpy(&u, p, sizeof u);
    return _mm512_set1_epi32(u);
}
/* Written out: of the intrinsic GCC 12 keeps two copies of each sum, one of them in memory. */
static inline vnni_vec vnni_dp(vnni_vec c, vnni_vec a, vnni_vec b)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
    return c;
}
#else
#include <immintrin.h>

typedef __m256i vnni_vec;
#define vnni_load(p)     _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define vnni_store(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
static inline vnni_vec vnni_spread(const void *p)
{
    int32_t u;

    memcpy(&u, p, sizeof u);
    return _mm256_set1_epi32(u);
}
static inline vnni_vec vnni_dp(vnni_vec c, vnni_vec a, vnni_vec b)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(c) : "x"(a), "x"(b));
    return c;
}
#endif

#ifndef NPU_VNNI_EMULATED /* x + 128 */
#define UNIT_PUT16(to, from)                                                                                           \
    _mm_storeu_si128((__m128i *)(void *)(to),                                                                          \
                     _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)(from)), _mm_set1_epi8(-128)))
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
#define UNIT_ROWS 12
#define VNNI_EACH(F)                                                                                                   \
    F(0, 0, 0)                                                                                                         \
    F(1, 0, 1)                                                                                                         \
    F(2, 0, 2) F(3, 3, 0) F(4, 3, 1) F(5, 3, 2) F(6, 6, 0) F(7, 6, 1) F(8, 6, 2) F(9, 9, 0) F(10, 9, 1) F(11, 9, 2)
#else
#define UNIT_ROWS    6
#define VNNI_EACH(F) F(0, 0, 0) F(1, 0, 1) F(2, 0, 2) F(3, 3, 0) F(4, 3, 1) F(5, 3, 2)
#endif

#define VNNI_ZERO(i, base, more) vnni_vec c##i##_0 = zero, c##i##_1 = zero;
#define VNNI_MAC(i, base, more)                                                                                        \
    if (rows > i) {                                                                                                    \
        const vnni_vec v = vnni_spread(a##base + more * lda);                                                          \
        c##i##_0 = vnni_dp(c##i##_0, v, b0);                                                                           \
        c##i##_1 = vnni_dp(c##i##_1, v, b1);                                                                           \
    }
#define VNNI_PUT(i, base, more)                                                                                        \
    if (rows > i) {                                                                                                    \
        vnni_store(c[i], c##i##_0);                                                                                    \
        vnni_store(c[i] + VNNI_LANES, c##i##_1);                                                                       \
    }

/* Every third row has a pointer; compilers that make twelve of them run out of registers. */
static inline __attribute__((always_inline)) void vnni_block(const uint8_t *a0, size_t lda, const int8_t *b,
                                                             const int8_t *second, int64_t kpad, const int rows,
                                                             int32_t (*c)[UNIT_COLS])
{
    const uint8_t *a3 = rows > 3 ? a0 + 3 * lda : a0, *a6 = rows > 6 ? a0 + 6 * lda : a0,
                  *a9 = rows > 9 ? a0 + 9 * lda : a0;
    static const uint8_t nothing[VNNI_BITS / 8];
    const vnni_vec zero = vnni_load(nothing);
    VNNI_EACH(VNNI_ZERO)

    for (int64_t k = 0; k < kpad; k += 4) {
        const vnni_vec b0 = vnni_load(b + k * 16), b1 = vnni_load(second + k * 16);

        __asm__("" : "+r"(a0), "+r"(a3), "+r"(a6), "+r"(a9));
        VNNI_EACH(VNNI_MAC)
        a0 += 4;
        a3 += 4;
        a6 += 4;
        a9 += 4;
    }
    VNNI_EACH(VNNI_PUT)
}

/* By itself: inlined, the sums lose registers to what is round them. */
static __attribute__((noinline)) void unit_block(const uint8_t *a, size_t lda, const int8_t *b, size_t panel,
                                                 int64_t kpad, int64_t rows, bool add, int32_t (*c)[UNIT_COLS])
{
    /* the second vector: the next panel, or the other half of this one */
    const int8_t *second = b + (VNNI_LANES == 16 ? panel : VNNI_BITS / 8);

    if (UNIT_ROWS > 6 && rows > 9)
        vnni_block(a, lda, b, second, kpad, 12, c);
    else if (UNIT_ROWS > 6 && rows > 6)
        vnni_block(a, lda, b, second, kpad, 9, c);
    else if (rows > 3)
        vnni_block(a, lda, b, second, kpad, 6, c);
    else
        vnni_block(a, lda, b, second, kpad, 3, c);
}
