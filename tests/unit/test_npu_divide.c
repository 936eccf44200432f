/* test_npu_divide.c - how the work of a product is shared out: no worse than many rows at a time, by a simulation of
 * threads that take the next unit when they have done one; few rows too occupy all threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libnpu/tier/divide.h"

enum { MOST_THREADS = 16 };

static int64_t round_up(int64_t v, int64_t to)
{
    return (v + to - 1) / to * to;
}

/* When the last thread ends, in rows times panels. */
static double simulate(const struct npu_divide *d, int64_t rows, int64_t slices)
{
    double busy[MOST_THREADS] = {0}, last = 0.0;

    for (int64_t from = 0; from < d->rows; from += rows)
        for (int64_t i = 0; i < slices * d->times; i++) {
            const double some = (double)round_up(from + rows < d->rows ? rows : d->rows - from, d->block);
            int first = 0;

            for (int t = 1; t < d->threads; t++)
                first = busy[t] < busy[first] ? t : first;
            busy[first] += (some + d->weights) * (double)((d->panels + slices - 1) / slices) + d->gather * some;
            last = busy[first] > last ? busy[first] : last;
        }
    return last;
}

static void test_no_worse(void **state)
{
    static const int64_t all_rows[] = {1, 5, 12, 13, 48, 49, 97, 196, 197, 784, 3136, 12544},
                         all_panels[] = {1, 2, 3, 8, 16, 24, 63};
    int better = 0;

    for (size_t r = 0; r < sizeof all_rows / sizeof all_rows[0]; r++)
        for (size_t p = 0; p < sizeof all_panels / sizeof all_panels[0]; p++)
            for (int64_t threads = 1; threads <= MOST_THREADS; threads = threads * 2 - threads / 2)
                for (int64_t times = 1; times <= 8; times *= 8)
                    for (int64_t step = 6; step <= 12; step += 6) {
                        const struct npu_divide d = {all_rows[r], times, all_panels[p], step, step, threads, 3.0, 0.6};
                        int32_t rows = 96, slices = 0;
                        double before, after;

                        npu_divide(&d, 96, 12, &rows, &slices);
                        assert_true(rows >= 1 && rows <= 96 && rows % step == 0);
                        assert_true(slices >= 1 && slices <= d.panels && slices <= 2 * threads);
                        before = simulate(&d, 96, 1);
                        after = simulate(&d, rows, slices);
                        assert_true(after <= before * 1.001);
                        better += after < 0.9 * before;
                    }
    assert_true(better > 100);
}

static void test_few_rows(void **state)
{
    for (int64_t rows = 1; rows <= 6; rows++) {
        const struct npu_divide d = {rows, 1, 192, 6, 6, 8, 3.0, 0.6};
        int32_t some = 48, slices = 0;

        npu_divide(&d, 48, 12, &some, &slices);
        assert_true(slices >= 8);
        assert_true(npu_divide_parts(d.threads, slices) >= 8);
    }
}

static void test_parts(void **state)
{
    assert_int_equal(npu_divide_parts(1, 100), 1);
    assert_int_equal(npu_divide_parts(4, 3), 3);
    assert_int_equal(npu_divide_parts(4, 16), 16);
    assert_int_equal(npu_divide_parts(4, 100), 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_worse), cmocka_unit_test(test_few_rows),
                                       cmocka_unit_test(test_parts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
