/* int8_avx2_tile.h - blocks of 6 x 16 sums by VPMADDWD: each lane takes two products of 16-bit terms, which can't
 * saturate. Rows hold their terms in 16 bits; weights stay bytes and are widened when they are loaded, which costs
 * nothing beside the products. NPU_PAIR_EMULATED takes plain C.
 *
 * Each product is added right away: where the additions trail behind, they take the multipliers' ports of Zen 3.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define UNIT_ROWS     6
#define UNIT_COLS     16
#define UNIT_K        2
#define UNIT_GROUP    2
#define UNIT_STEP     768
#define UNIT_TERM     int16_t
#define UNIT_UNSIGNED 0
#define unit_begin()  ((void)0)
#define unit_end()    ((void)0)

#ifdef NPU_PAIR_EMULATED
static inline void unit_block(const int16_t *a, size_t lda, const int8_t *b, size_t panel, int64_t kpad, int64_t rows,
                              bool add, int32_t (*c)[UNIT_COLS])
{
    for (int64_t i = 0; i < rows; i++)
        for (int j = 0; j < UNIT_COLS; j++) {
            uint32_t sum = add ? (uint32_t)c[i][j] : 0;

            for (int64_t k = 0; k < kpad; k += 2)
                sum += (uint32_t)(a[(size_t)i * lda + (size_t)k] * b[k * 16 + 2 * j] +
                                  a[(size_t)i * lda + (size_t)k + 1] * b[k * 16 + 2 * j + 1]);
            c[i][j] = (int32_t)sum;
        }
}
#else
#include <immintrin.h>

static inline __m256i pair_weights(const int8_t *p)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline __m256i pair_spread(const int16_t *p)
{
    int32_t u;

    memcpy(&u, p, sizeof u);
    return _mm256_set1_epi32(u);
}

#define UNIT_PUT16(to, from) _mm256_storeu_si256((__m256i *)(void *)(to), pair_weights(from))

#define PAIR_EACH(F) F(0) F(1) F(2) F(3) F(4) F(5)
#define PAIR_BEGIN(i)                                                                                                  \
    const int16_t *a##i = rows > i ? a + (size_t)i * lda : a;                                                          \
    __m256i c##i##0 = _mm256_setzero_si256(), c##i##1 = c##i##0;                                                       \
    if (add && rows > i) {                                                                                             \
        c##i##0 = _mm256_load_si256((const __m256i *)(const void *)c[i]);                                              \
        c##i##1 = _mm256_load_si256((const __m256i *)(const void *)(c[i] + 8));                                        \
    }
#define PAIR_MAC(i)                                                                                                    \
    if (rows > i) {                                                                                                    \
        __m256i v = pair_spread(a##i + k);                                                                             \
        c##i##0 = _mm256_add_epi32(c##i##0, _mm256_madd_epi16(v, b0));                                                 \
        __asm__("" : "+x"(c##i##0), "+x"(v));                                                                          \
        c##i##1 = _mm256_add_epi32(c##i##1, _mm256_madd_epi16(v, b1));                                                 \
        __asm__("" : "+x"(c##i##1));                                                                                   \
    }
#define PAIR_END(i)                                                                                                    \
    if (rows > i) {                                                                                                    \
        _mm256_store_si256((__m256i *)(void *)c[i], c##i##0);                                                          \
        _mm256_store_si256((__m256i *)(void *)(c[i] + 8), c##i##1);                                                    \
    }

/* b: bytes, or the same in 16 bits if `wide` */
static inline __attribute__((always_inline)) void pair_block(const int16_t *a, size_t lda, const void *b,
                                                             const bool wide, int64_t kpad, const int rows, bool add,
                                                             int32_t (*c)[UNIT_COLS])
{
    const int8_t *narrow = b;
    const __m256i *vector = b;

    PAIR_EACH(PAIR_BEGIN)

    for (int64_t k = 0; k < kpad; k += 2) {
        const __m256i b0 = wide ? _mm256_loadu_si256(vector + k) : pair_weights(narrow + 16 * k);
        const __m256i b1 = wide ? _mm256_loadu_si256(vector + k + 1) : pair_weights(narrow + 16 * k + 16);

        PAIR_EACH(PAIR_MAC)
    }
    PAIR_EACH(PAIR_END)
}

static inline __attribute__((always_inline)) void pair_any(const int16_t *a, size_t lda, const void *b, const bool wide,
                                                           int64_t kpad, int64_t rows, bool add,
                                                           int32_t (*c)[UNIT_COLS])
{
    switch (rows) {
    case 1:
        pair_block(a, lda, b, wide, kpad, 1, add, c);
        break;
    case 2:
        pair_block(a, lda, b, wide, kpad, 2, add, c);
        break;
    case 3:
        pair_block(a, lda, b, wide, kpad, 3, add, c);
        break;
    case 4:
        pair_block(a, lda, b, wide, kpad, 4, add, c);
        break;
    case 5:
        pair_block(a, lda, b, wide, kpad, 5, add, c);
        break;
    default:
        pair_block(a, lda, b, wide, kpad, 6, add, c);
    }
}

/* By themselves: inlined, their sums lose registers to what is round them. */
static __attribute__((noinline, unused)) void unit_block(const int16_t *a, size_t lda, const int8_t *b, size_t panel,
                                                         int64_t kpad, int64_t rows, bool add, int32_t (*c)[UNIT_COLS])
{
    pair_any(a, lda, b, false, kpad, rows, add, c);
}

/* The same with weights of 16 bits. */
static __attribute__((noinline, unused)) void pair_rows(const int16_t *a, size_t lda, const int16_t *b, int64_t kpad,
                                                        int64_t rows, int32_t (*c)[UNIT_COLS])
{
    pair_any(a, lda, b, true, kpad, rows, false, c);
}
#endif
