/* int8_avx2_narrow_tile.h - blocks of 6 x 16 sums of unsigned bytes by signed ones: VPMADDUBSW sums two products in 16
 * bits, which saturates unless the weights are narrow (int8_avx2_narrow.c), VPMADDWD with ones the next two. That is
 * three operations for 32 products, where terms of 16 bits take four.
 */
#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define UNIT_ROWS     6
#define UNIT_COLS     16
#define UNIT_K        4
#define UNIT_GROUP    4
#define UNIT_STEP     1024
#define UNIT_TERM     uint8_t
#define UNIT_UNSIGNED 1
#define unit_begin()  ((void)0)
#define unit_end()    ((void)0)

#define UNIT_PUT16(to, from)                                                                                           \
    _mm_storeu_si128((__m128i *)(void *)(to),                                                                          \
                     _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)(from)), _mm_set1_epi8(-128)))

static const int16_t narrow_ones[16] __attribute__((aligned(32))) = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* Four terms of a row times those of sixteen columns. Written out, and with the ones in memory, since compilers want
 * more than the sixteen registers that there are. */
static inline __attribute__((always_inline)) void narrow_mac(const uint8_t *a, __m256i b0, __m256i b1, __m256i *c0,
                                                             __m256i *c1)
{
    __m256i v, t;

    __asm__("vpbroadcastd %[a], %[v]\n\t"
            "vpmaddubsw %[b0], %[v], %[t]\n\t"
            "vpmaddwd %[ones], %[t], %[t]\n\t"
            "vpaddd %[t], %[c0], %[c0]\n\t"
            "vpmaddubsw %[b1], %[v], %[v]\n\t"
            "vpmaddwd %[ones], %[v], %[v]\n\t"
            "vpaddd %[v], %[c1], %[c1]"
            : [c0] "+x"(*c0), [c1] "+x"(*c1), [v] "=&x"(v), [t] "=&x"(t)
            : [a] "m"(*(const uint8_t(*)[4])a), [b0] "x"(b0), [b1] "x"(b1), [ones] "m"(narrow_ones));
}

#define NARROW_EACH(F) F(0) F(1) F(2) F(3) F(4) F(5)
#define NARROW_BEGIN(i)                                                                                                \
    const uint8_t *a##i = rows > i ? a + (size_t)i * lda : a;                                                          \
    __m256i c##i##0 = _mm256_setzero_si256(), c##i##1 = c##i##0;                                                       \
    if (add && rows > i) {                                                                                             \
        c##i##0 = _mm256_load_si256((const __m256i *)(const void *)c[i]);                                              \
        c##i##1 = _mm256_load_si256((const __m256i *)(const void *)(c[i] + 8));                                        \
    }
#define NARROW_MAC(i)                                                                                                  \
    if (rows > i)                                                                                                      \
        narrow_mac(a##i + k, b0, b1, &c##i##0, &c##i##1);
#define NARROW_END(i)                                                                                                  \
    if (rows > i) {                                                                                                    \
        _mm256_store_si256((__m256i *)(void *)c[i], c##i##0);                                                          \
        _mm256_store_si256((__m256i *)(void *)(c[i] + 8), c##i##1);                                                    \
    }

static inline __attribute__((always_inline)) void narrow_block(const uint8_t *a, size_t lda, const int8_t *b,
                                                               int64_t kpad, const int rows, bool add,
                                                               int32_t (*c)[UNIT_COLS])
{
    const __m256i *w = (const __m256i *)(const void *)b;

    NARROW_EACH(NARROW_BEGIN)

    for (int64_t k = 0; k < kpad; k += 4, w += 2) {
        const __m256i b0 = _mm256_loadu_si256(w), b1 = _mm256_loadu_si256(w + 1);

        NARROW_EACH(NARROW_MAC)
    }
    NARROW_EACH(NARROW_END)
}

/* By itself: inlined, its sums lose registers to what is round them. */
static __attribute__((noinline)) void unit_block(const uint8_t *a, size_t lda, const int8_t *b, size_t panel,
                                                 int64_t kpad, int64_t rows, bool add, int32_t (*c)[UNIT_COLS])
{
    switch (rows) {
    case 1:
        narrow_block(a, lda, b, kpad, 1, add, c);
        break;
    case 2:
        narrow_block(a, lda, b, kpad, 2, add, c);
        break;
    case 3:
        narrow_block(a, lda, b, kpad, 3, add, c);
        break;
    case 4:
        narrow_block(a, lda, b, kpad, 4, add, c);
        break;
    case 5:
        narrow_block(a, lda, b, kpad, 5, add, c);
        break;
    default:
        narrow_block(a, lda, b, kpad, 6, add, c);
    }
}
