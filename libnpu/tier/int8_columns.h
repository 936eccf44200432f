/* int8_columns.h - int8 convolutions with one channel a group and 3 x 3 taps, by columns of three rows, so that what
 * was prepared of a column for one result serves the next ones, over a unit that the including file describes before:
 *
 *   COLUMN_CHANNELS   channels that are computed together; a convolution has as many at least
 *   sum_columns(l, n, ix, w, npad, stride, count, to)   sums of `count` results of channels n .. n + COLUMN_CHANNELS -
 * 1 in line l, the first of which begins at column ix: to[count][COLUMN_CHANNELS]. w: packed weights of npad channels.
 * Inlined where the stride is known
 */
#include "libnpu/tier/int8_depthwise.h"

enum { COLUMN_PIXELS = 64 };

/* One line of results, some pixels and a block of channels at a time; the last block ends with the last channel,
 * whatever the one before it has done. */
static inline __attribute__((always_inline)) void line_by_columns(const struct depthwise *d, int64_t line,
                                                                  const int stride)
{
    const struct npu_int8_conv *g = &d->g;
    const struct line l = line_of(d, line);
    int32_t sums[COLUMN_PIXELS][COLUMN_CHANNELS] __attribute__((aligned(64)));

    for (int64_t ox = 0; ox < g->ow; ox += COLUMN_PIXELS)
        for (int64_t n = 0; n < g->cout; n += COLUMN_CHANNELS) {
            const int64_t from = least(n, g->cout - COLUMN_CHANNELS), count = least(COLUMN_PIXELS, g->ow - ox);

            sum_columns(&l, from, ox * stride - d->f.a->pad_left, d->w, g->npad, stride, count, sums[0]);
            finish_rows(&d->f, sums[0] + (n - from), COLUMN_CHANNELS, d->offset + n, line * g->ow + ox, count, n,
                        least(COLUMN_CHANNELS, g->cout - n));
        }
}

static __attribute__((noinline)) void line_of_stride_1(const struct depthwise *d, int64_t line)
{
    line_by_columns(d, line, 1);
}

static __attribute__((noinline)) void line_of_stride_2(const struct depthwise *d, int64_t line)
{
    line_by_columns(d, line, 2);
}

static void depthwise_by_columns(const struct depthwise *d)
{
    for (int64_t line = d->from; line < d->end; line++)
        (d->f.a->stride == 2 ? line_of_stride_2 : line_of_stride_1)(d, line);
}
