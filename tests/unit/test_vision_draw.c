// Overlays: shapes cover what they should, nothing is written outside, glyphs differ.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vision/draw.h"

static const struct colour white = {255, 255, 255};

static struct image black(int width, int height, int channels)
{
    struct image image;
    assert_int_equal(image_alloc(width, height, channels, &image), 0);
    return image;
}

// Sum of an image in whole white pixels.
static double ink(const struct image *image)
{
    double sum = 0;
    for (int i = 0; i < image->height * image->stride; i++)
        sum += image->data[i] / 255.0 / image->channels;
    return sum;
}

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%.9g is not within %g of %.9g", a, tolerance, b);
}

static void test_line(void **state)
{
    struct image image = black(100, 100, 1);
    draw_line(&image, (struct point){10, 50}, (struct point){90, 50}, 2, white);
    assert_near(ink(&image), 160, 4);
    assert_int_equal(image.data[50 * 100 + 40], 255);
    assert_int_equal(image.data[49 * 100 + 40], 255);
    assert_int_equal(image.data[47 * 100 + 40], 0);
    memset(image.data, 0, 10000);
    draw_line(&image, (struct point){10, 10}, (struct point){90, 80}, 1.5f, white);
    assert_near(ink(&image), 1.5 * hypot(80, 70), 8);
    memset(image.data, 0, 10000);
    draw_line(&image, (struct point){50, 50}, (struct point){50, 50}, 4, white); // a point is a dot
    assert_near(ink(&image), M_PI * 4, 2);
    image_free(&image);
}

static void test_round_shapes(void **state)
{
    struct image image = black(100, 100, 3);
    draw_circle(&image, (struct point){50, 50}, 30, 2, white);
    assert_near(ink(&image), 2 * M_PI * 30 * 2, 8);
    memset(image.data, 0, 30000);
    draw_dot(&image, (struct point){50, 50}, 10, white);
    assert_near(ink(&image), M_PI * 100, 12);
    assert_int_equal(image.data[(50 * 100 + 50) * 3], 255);
    memset(image.data, 0, 30000);
    draw_rectangle(&image, (struct box){20, 30, 40, 20}, 2, white);
    assert_near(ink(&image), 2 * 120, 8);
    image_free(&image);
}

static void test_arrow_points(void **state)
{
    struct image image = black(100, 100, 1);
    draw_arrow(&image, (struct point){10, 50}, (struct point){90, 50}, 2, white);
    double tail = 0, head = 0;
    for (int y = 0; y < 100; y++) {
        tail += image.data[y * 100 + 15] > 64;
        head += image.data[y * 100 + 84] > 64;
    }
    assert_true(head > 2 * tail && tail >= 2);
    assert_int_equal(image.data[50 * 100 + 95], 0);
    assert_true(image.data[50 * 100 + 87] > 200);
    image_free(&image);
}

static void test_text(void **state)
{
    struct image image = black(12, 10, 1), other = black(12, 10, 1);
    for (int a = 33; a < 127; a++) {
        memset(image.data, 0, 120);
        draw_text(&image, (struct point){1, 1}, 1, white, (char[]){(char)a, 0});
        assert_true(ink(&image) >= 2 && ink(&image) <= 25);
        for (int b = a + 1; b < 127; b++) {
            memset(other.data, 0, 120);
            draw_text(&other, (struct point){1, 1}, 1, white, (char[]){(char)b, 0});
            assert_memory_not_equal(image.data, other.data, 120);
        }
    }
    memset(image.data, 0, 120);
    draw_text(&image, (struct point){1, 1}, 1, white, "\xc3\n\x01"); // unknown ones are boxes; the second is below
    assert_near(ink(&image), 20 + 5, 0.1);
    image_free(&image);
    image_free(&other);
    image = black(40, 40, 1);
    draw_text(&image, (struct point){0, 0}, 3, white, "I");
    assert_near(ink(&image), 11 * 9, 0.1);
    image_free(&image);
}

static void test_outside(void **state)
{
    // Everything far out, huge, negative or not a number; the sanitizer watches the edges.
    struct image image = black(31, 17, 3), stamp = black(10, 10, 1);
    const float values[] = {-1e9f, -40, -1, 0, 5.5f, 16, 31, 500, 9e5f, 1e9f, NAN, INFINITY};
    for (int i = 0; i < 20000; i++) {
        struct point p = {values[rand() % 12], values[rand() % 12]}, q = {values[rand() % 12], values[rand() % 12]};
        float a = values[rand() % 12], b = values[rand() % 12];
        draw_line(&image, p, q, a, white);
        draw_arrow(&image, p, q, a, white);
        draw_circle(&image, p, a, b, white);
        draw_dot(&image, p, a, white);
        draw_text(&image, p, rand() % 5, white, "Ag\n~");
        draw_rectangle(&image, (struct box){p.x, p.y, q.x, q.y}, 1, white);
    }
    memset(stamp.data, 200, 100);
    memset(image.data, 0, 31 * 17 * 3);
    draw_image(&image, -4, -7, &stamp);
    assert_near(ink(&image), 6 * 3 * 200 / 255.0, 1e-6);
    draw_image(&image, 28, 15, &stamp);
    assert_near(ink(&image), (6 * 3 + 3 * 2) * 200 / 255.0, 1e-6);
    draw_image(&image, 31, 0, &stamp);
    draw_image(&image, -10, 0, &stamp);
    draw_image(&image, INT32_MIN, INT32_MAX, &stamp);
    assert_near(ink(&image), (6 * 3 + 3 * 2) * 200 / 255.0, 1e-6);
    struct image bad = {0};
    draw_line(&bad, (struct point){0, 0}, (struct point){5, 5}, 1, white);
    draw_text(&bad, (struct point){0, 0}, 1, white, "x");
    image_free(&image);
    image_free(&stamp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line), cmocka_unit_test(test_round_shapes), cmocka_unit_test(test_arrow_points),
        cmocka_unit_test(test_text), cmocka_unit_test(test_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
