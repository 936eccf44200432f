/* divide.c - units of work: how long the thread that ends last takes with them. */
#include "libnpu/tier/divide.h"

static int64_t round_up(int64_t v, int64_t to)
{
    return (v + to - 1) / to * to;
}

static double unit(const struct npu_divide *d, int64_t rows, int64_t slices)
{
    const double done = (double)round_up(rows, d->block);

    return (done + d->weights) * (double)((d->panels + slices - 1) / slices) + d->gather * done;
}

/* In rows times panels. All units are alike but those with the last rows, which come last. */
static double last_of(const struct npu_divide *d, int64_t rows, int64_t slices)
{
    const int64_t blocks = (d->rows + rows - 1) / rows, full = (blocks - 1) * slices * d->times,
                  rest = slices * d->times, free = d->threads - full % d->threads;
    const double each = unit(d, rows < d->rows ? rows : d->rows, slices),
                 small = unit(d, d->rows - (blocks - 1) * rows, slices);
    const double before = (double)(full / d->threads) * each;
    const int64_t fit = (int64_t)(each / small) * free; /* while the others still compute */

    if (free == d->threads)
        return before + (double)((rest + free - 1) / free) * small;
    if (rest <= fit)
        return before + each;
    return before + each + (double)((rest - fit + d->threads - 1) / d->threads) * small;
}

void npu_divide(const struct npu_divide *d, int64_t most, int64_t least, int32_t *rows, int32_t *ret_slices)
{
    const int64_t top = round_up(most < d->rows ? most : d->rows, d->step);
    double best;

    *ret_slices = 1;
    if (d->threads == 1 || d->rows < 1 || (d->rows + most - 1) / most * d->times > 16 * d->threads)
        return;
    best = last_of(d, *rows, 1);
    for (int64_t slices = 1; slices <= d->panels && slices <= 2 * d->threads; slices++)
        for (int64_t some = top; some >= (least < top ? least : top); some -= d->step) {
            const double last = last_of(d, some, slices);

            if (last < 0.98 * best) {
                best = last;
                *rows = (int32_t)some;
                *ret_slices = (int32_t)slices;
            }
        }
}

int32_t npu_divide_parts(int64_t threads, int64_t units)
{
    return (int32_t)(threads == 1 ? 1 : units < 4 * threads ? units : 4 * threads);
}
