// Images and raw pixel formats: sizes, limits, values against slow formulas.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vision/image.h"
#include "vision/pixel.h"

static void assert_within(int a, int b, int tolerance)
{
    if (abs(a - b) > tolerance)
        fail_msg("%d is not within %d of %d", a, tolerance, b);
}

static struct image random_image(int width, int height, int channels)
{
    struct image image;
    assert_int_equal(image_alloc(width, height, channels, &image), 0);
    for (int i = 0; i < height * image.stride; i++)
        image.data[i] = (uint8_t)rand();
    return image;
}

static void test_limits(void **state)
{
    struct image image = {.width = 5};
    assert_int_equal(image_alloc(0, 4, 1, &image), -EINVAL);
    assert_int_equal(image_alloc(4, -1, 1, &image), -EINVAL);
    assert_int_equal(image_alloc(4, 4, 2, &image), -EINVAL);
    assert_int_equal(image_alloc(IMAGE_MAX_SIDE_PX + 1, 4, 1, &image), -EINVAL);
    assert_int_equal(image.width, 5);
    assert_int_equal(image_alloc(IMAGE_MAX_SIDE_PX, IMAGE_MAX_SIDE_PX, 1, &image), 0);
    image_free(&image);
    image_free(&image);
    assert_null(image.data);
    assert_int_equal(image_check(&image), -EINVAL);
    assert_int_equal(image_check(NULL), -EINVAL);
    uint8_t data[100];
    assert_int_equal(image_view(data, 100, 3, 10, 10, 3, &image), 0);
    assert_int_equal(image_view(data, 98, 3, 10, 10, 3, &image), -EMSGSIZE);
    assert_int_equal(image_view(data, 99, 3, 10, 10, 3, &image), 0); // the last row needs no padding
    assert_int_equal(image_view(data, 100, 3, 10, 8, 3, &image), -EINVAL);
    assert_int_equal(image_view(NULL, 100, 3, 10, 10, 3, &image), -EINVAL);
}

static void test_crop(void **state)
{
    struct image image = random_image(20, 10, 3), view;
    assert_int_equal(image_crop_view(&image, 18, 9, 2, 1, &view), 0);
    assert_ptr_equal(view.data, image.data + 9 * 60 + 54);
    assert_int_equal(image_crop_view(&image, 18, 9, 3, 1, &view), -EINVAL);
    assert_int_equal(image_crop_view(&image, -1, 0, 3, 1, &view), -EINVAL);
    assert_int_equal(image_crop_view(&image, 1, 0, INT32_MAX, 1, &view), -EINVAL);
    assert_int_equal(image_crop_view(&image, 1, 0, 0, 1, &view), -EINVAL);
    image_free(&image);
}

static void test_copy_and_grey(void **state)
{
    struct image rgb = random_image(31, 7, 3), grey = random_image(31, 7, 1), back = random_image(31, 7, 3);
    assert_int_equal(image_copy(&rgb, &grey), 0);
    for (int i = 0; i < 31 * 7; i++) {
        double luma = 0.299 * rgb.data[3 * i] + 0.587 * rgb.data[3 * i + 1] + 0.114 * rgb.data[3 * i + 2];
        assert_within(grey.data[i], (int)lround(luma), 1);
    }
    assert_int_equal(image_copy(&grey, &back), 0);
    for (int i = 0; i < 31 * 7 * 3; i++)
        assert_int_equal(back.data[i], grey.data[i / 3]);
    // White stays white.
    memset(rgb.data, 255, 31 * 7 * 3);
    assert_int_equal(image_copy(&rgb, &grey), 0);
    assert_int_equal(grey.data[30], 255);
    back.width = 30;
    assert_int_equal(image_copy(&grey, &back), -EINVAL);
    image_free(&rgb);
    image_free(&grey);
    image_free(&back);
}

static void test_mirror(void **state)
{
    for (int width = 1; width < 8; width++) {
        struct image a = random_image(width, 5, 3), b = random_image(width, 5, 3);
        assert_int_equal(image_mirror(&a, &b), 0);
        for (int y = 0; y < 5; y++)
            for (int x = 0; x < width; x++)
                assert_memory_equal(a.data + y * a.stride + 3 * x, b.data + y * b.stride + 3 * (width - 1 - x), 3);
        assert_int_equal(image_mirror(&b, &b), 0); // in place
        assert_memory_equal(a.data, b.data, (size_t)width * 15);
        image_free(&a);
        image_free(&b);
    }
}

// Share of source pixel s in output pixel d, when n_src shrinks to n_dst.
static double share(int s, int d, int n_src, int n_dst)
{
    double ratio = (double)n_src / n_dst;
    double overlap = fmin(s + 1, (d + 1) * ratio) - fmax(s, d * ratio);
    return overlap > 0 ? overlap / ratio : 0;
}

static void test_shrink_is_the_area_average(void **state)
{
    const int sizes[][4] = {{37, 23, 10, 7}, {64, 64, 16, 16}, {50, 3, 49, 1}, {9, 9, 1, 1}, {640, 2, 7, 1}};
    for (int k = 0; k < 5; k++) {
        struct image a = random_image(sizes[k][0], sizes[k][1], 3), b = random_image(sizes[k][2], sizes[k][3], 3);
        assert_int_equal(image_resize(&a, &b), 0);
        for (int y = 0; y < b.height; y++)
            for (int x = 0; x < b.width; x++)
                for (int c = 0; c < 3; c++) {
                    double sum = 0;
                    for (int v = 0; v < a.height; v++)
                        for (int u = 0; u < a.width; u++)
                            sum += share(u, x, a.width, b.width) * share(v, y, a.height, b.height) *
                                   a.data[v * a.stride + 3 * u + c];
                    assert_within(b.data[y * b.stride + 3 * x + c], (int)lround(sum), 1);
                }
        image_free(&a);
        image_free(&b);
    }
}

static void test_grow_is_bilinear(void **state)
{
    uint8_t from[2] = {0, 100}, to[4];
    struct image a = {2, 1, 2, 1, from}, b = {4, 1, 4, 1, to};
    assert_int_equal(image_resize(&a, &b), 0);
    assert_int_equal(to[0], 0);
    assert_int_equal(to[1], 25);
    assert_int_equal(to[2], 75);
    assert_int_equal(to[3], 100);
    struct image c = random_image(13, 9, 1), d = random_image(13, 9, 1);
    assert_int_equal(image_resize(&c, &d), 0);
    assert_memory_equal(c.data, d.data, 13 * 9); // same size: the same
    d.channels = 3;
    assert_int_equal(image_resize(&c, &d), -EINVAL);
    image_free(&c);
    image_free(&d);
    struct image wide = random_image(IMAGE_MAX_SIDE_PX, 2, 3), dot = random_image(1, 1, 3);
    memset(wide.data, 77, IMAGE_MAX_SIDE_PX * 6);
    assert_int_equal(image_resize(&wide, &dot), 0);
    assert_within(dot.data[2], 77, 0);
    image_free(&wide);
    image_free(&dot);
}

static void test_frame_bytes(void **state)
{
    assert_int_equal(pixel_frame_bytes(PIXEL_YUYV, 640, 480, 0), 640 * 480 * 2);
    assert_int_equal(pixel_frame_bytes(PIXEL_NV12, 640, 480, 0), 640 * 480 * 3 / 2);
    assert_int_equal(pixel_frame_bytes(PIXEL_YUYV, 3, 2, 0), 16);
    assert_int_equal(pixel_frame_bytes(PIXEL_NV12, 3, 3, 0), 4 * 5);
    assert_int_equal(pixel_frame_bytes(PIXEL_GREY, 3, 3, 10), 23);
    assert_int_equal(pixel_frame_bytes(PIXEL_RGB24, 3, 3, 8), 0);
    assert_int_equal(pixel_frame_bytes(PIXEL_FORMATS, 3, 3, 0), 0);
    assert_int_equal(pixel_frame_bytes(PIXEL_GREY, IMAGE_MAX_SIDE_PX + 1, 1, 0), 0);
    assert_int_equal(pixel_frame_bytes(PIXEL_GREY, 1, IMAGE_MAX_SIDE_PX + 1, 0), 0);
}

// BT.601 limited range in floating point.
static void slow_rgb(int y, int u, int v, double rgb[3])
{
    double l = (y - 16) * 255 / 219.0, cb = (u - 128) / 112.0, cr = (v - 128) / 112.0;
    rgb[0] = l + 127.5 * 2 * (1 - 0.299) * cr;
    rgb[2] = l + 127.5 * 2 * (1 - 0.114) * cb;
    rgb[1] = (l - 0.299 * rgb[0] - 0.114 * rgb[2]) / 0.587;
    for (int c = 0; c < 3; c++)
        rgb[c] = fmin(fmax(rgb[c], 0), 255);
}

// Where each format keeps the values of pixel x, y.
static void look_up(enum pixel_format f, const uint8_t *d, int stride, int height, int x, int y, double rgb[3])
{
    const uint8_t *row = d + y * stride, *chroma = d + (height + y / 2) * stride + (x & ~1);
    if (f == PIXEL_GREY)
        rgb[0] = rgb[1] = rgb[2] = row[x]; // NOLINT(clang-analyzer-core.uninitialized.Assign): the caller fills all
    else if (f == PIXEL_YUYV)
        slow_rgb(row[2 * x], row[4 * (x / 2) + 1], row[4 * (x / 2) + 3], rgb);
    else if (f == PIXEL_NV12)
        slow_rgb(row[x], chroma[0], chroma[1], rgb);
    else
        for (int c = 0; c < 3; c++)
            rgb[c] = row[3 * x + (f == PIXEL_RGB24 ? c : 2 - c)];
}

static void test_formats(void **state)
{
    for (int f = 0; f < PIXEL_FORMATS; f++)
        for (int run = 0; run < 40; run++) {
            int width = 1 + rand() % 21, height = 1 + rand() % 9, channels = run & 1 ? 3 : 1;
            int stride = pixel_min_stride((enum pixel_format)f, width) + (run & 2 ? rand() % 9 : 0);
            size_t size = pixel_frame_bytes((enum pixel_format)f, width, height, stride);
            uint8_t *data = malloc(size); // exactly: the sanitizer sees a byte read too far
            for (size_t i = 0; i < size; i++)
                data[i] = (uint8_t)rand();
            struct image out = random_image(width, height, channels);
            assert_int_equal(pixel_convert((enum pixel_format)f, data, size, stride, &out), 0);
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++) {
                    double rgb[3];
                    look_up((enum pixel_format)f, data, stride, height, x, y, rgb);
                    const uint8_t *p = out.data + y * out.stride + x * channels;
                    if (channels == 3)
                        for (int c = 0; c < 3; c++)
                            assert_within(p[c], (int)lround(rgb[c]), 1);
                    else if (f == PIXEL_YUYV || f == PIXEL_NV12) {
                        int luma = data[y * stride + (f == PIXEL_YUYV ? 2 * x : x)];
                        assert_within(p[0], (int)lround(fmin(fmax((luma - 16) * 255 / 219.0, 0), 255)), 1);
                    } else
                        assert_within(p[0], (int)lround(0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]), 1);
                }
            assert_int_equal(pixel_convert((enum pixel_format)f, data, size - 1, stride, &out), -EMSGSIZE);
            assert_int_equal(pixel_convert((enum pixel_format)f, data, 0, stride, &out), -EMSGSIZE);
            int short_stride = pixel_min_stride((enum pixel_format)f, width) - 1;
            if (short_stride > 0) // 0 means the smallest
                assert_int_equal(pixel_convert((enum pixel_format)f, data, size, short_stride, &out), -EINVAL);
            image_free(&out);
            free(data);
        }
}

static void test_format_goldens(void **state)
{
    // Black, white, and the primaries of colour bars at 100 % (BT.601).
    const struct {
        uint8_t y, u, v, rgb[3];
    } bars[] = {{16, 128, 128, {0, 0, 0}},
                {235, 128, 128, {255, 255, 255}},
                {81, 90, 240, {255, 0, 0}},
                {145, 54, 34, {0, 255, 0}},
                {41, 240, 110, {0, 0, 255}}};
    for (int i = 0; i < 5; i++) {
        uint8_t yuyv[4] = {bars[i].y, bars[i].u, bars[i].y, bars[i].v}, rgb[6];
        struct image out = {2, 1, 6, 3, rgb};
        assert_int_equal(pixel_convert(PIXEL_YUYV, yuyv, 4, 0, &out), 0);
        for (int c = 0; c < 6; c++)
            assert_within(rgb[c], bars[i].rgb[c % 3], 1);
    }
    uint8_t data[4] = {0}, rgb[6];
    struct image out = {2, 1, 6, 3, rgb};
    assert_int_equal(pixel_convert(PIXEL_FORMATS, data, 4, 0, &out), -EINVAL);
    assert_int_equal(pixel_convert(PIXEL_YUYV, NULL, 4, 0, &out), -EINVAL);
    assert_int_equal(pixel_convert(PIXEL_YUYV, data, 4, -4, &out), -EINVAL);
    out.stride = 5;
    assert_int_equal(pixel_convert(PIXEL_YUYV, data, 4, 0, &out), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_crop),
        cmocka_unit_test(test_copy_and_grey),
        cmocka_unit_test(test_mirror),
        cmocka_unit_test(test_shrink_is_the_area_average),
        cmocka_unit_test(test_grow_is_bilinear),
        cmocka_unit_test(test_frame_bytes),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_format_goldens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
