// 8-bit images: see image.h.
#include "vision/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int check_shape(int width, int height, int channels)
{
    if (width < 1 || height < 1 || width > IMAGE_MAX_SIDE_PX || height > IMAGE_MAX_SIDE_PX)
        return -EINVAL;
    return channels == 1 || channels == 3 ? 0 : -EINVAL;
}

int image_alloc(int width, int height, int channels, struct image *ret_image)
{
    int r = check_shape(width, height, channels);
    if (r < 0)
        return r;
    struct image image = {width, height, width * channels, channels, NULL};
    image.data = calloc((size_t)height, (size_t)image.stride);
    if (!image.data)
        return -ENOMEM;
    *ret_image = image;
    return 0;
}

void image_free(struct image *image)
{
    free(image->data);
    *image = (struct image){0};
}

int image_check(const struct image *image)
{
    if (!image || !image->data || check_shape(image->width, image->height, image->channels) < 0)
        return -EINVAL;
    return image->stride >= image->width * image->channels ? 0 : -EINVAL;
}

int image_view(uint8_t *data, size_t size, int width, int height, int stride, int channels, struct image *ret_view)
{
    struct image view = {width, height, stride, channels, data};
    int r = image_check(&view);
    if (r < 0)
        return r;
    if (size < (size_t)stride * (size_t)(height - 1) + (size_t)width * (size_t)channels)
        return -EMSGSIZE;
    *ret_view = view;
    return 0;
}

int image_crop_view(const struct image *image, int x, int y, int width, int height, struct image *ret_view)
{
    if (image_check(image) < 0 || x < 0 || y < 0 || width < 1 || height < 1 || width > image->width - x ||
        height > image->height - y)
        return -EINVAL;
    uint8_t *corner = image->data + (size_t)y * (size_t)image->stride + (size_t)x * (size_t)image->channels;
    *ret_view = (struct image){width, height, image->stride, image->channels, corner};
    return 0;
}

static uint8_t *row_of(const struct image *image, int y)
{
    return image->data + (size_t)y * (size_t)image->stride;
}

int image_copy(const struct image *src, struct image *dst)
{
    if (image_check(src) < 0 || image_check(dst) < 0 || src->width != dst->width || src->height != dst->height)
        return -EINVAL;
    for (int y = 0; y < src->height; y++) {
        const uint8_t *s = row_of(src, y);
        uint8_t *d = row_of(dst, y);
        if (src->channels == dst->channels)
            memcpy(d, s, (size_t)src->width * (size_t)src->channels);
        else if (dst->channels == 1)
            for (int x = 0; x < src->width; x++)
                d[x] = (uint8_t)((77 * s[3 * x] + 150 * s[3 * x + 1] + 29 * s[3 * x + 2] + 128) >> 8);
        else
            for (int x = 0; x < src->width; x++)
                d[3 * x] = d[3 * x + 1] = d[3 * x + 2] = s[x];
    }
    return 0;
}

// One output pixel of an axis: source pixels first .. first + count - 1, all of weight `inner` but the first and the
// last.
struct taps {
    int first, count;
    float head, inner, tail;
};

static struct taps axis_taps(int i, int n_src, int n_dst)
{
    double ratio = (double)n_src / n_dst;
    struct taps t;
    if (ratio > 1) {
        double begin = i * ratio, end = (i + 1) * ratio;
        t.first = (int)begin;
        int last = end > n_src ? n_src - 1 : (int)end;
        if (last > t.first && last >= end) // an edge on a pixel's edge: the next pixel has no share
            last--;
        t.count = last - t.first + 1;
        t.inner = (float)(1 / ratio);
        t.head = (float)((t.first + 1 - begin) / ratio);
        t.tail = (float)((end - last) / ratio);
        return t;
    }
    double centre = (i + 0.5) * ratio - 0.5;
    centre = centre < 0 ? 0 : centre > n_src - 1 ? n_src - 1 : centre;
    t.first = (int)centre;
    t.count = t.first + 1 < n_src ? 2 : 1;
    t.tail = (float)(centre - t.first);
    t.head = t.count == 2 ? 1 - t.tail : 1;
    t.inner = 0;
    return t;
}

static float tap_weight(const struct taps *t, int k)
{
    return k == 0 ? t->head : k == t->count - 1 ? t->tail : t->inner;
}

static void add_row(float *restrict sum, const uint8_t *restrict row, float weight, int n)
{
    for (int i = 0; i < n; i++)
        sum[i] += weight * row[i];
}

int image_resize(const struct image *src, struct image *dst)
{
    float sum[IMAGE_MAX_SIDE_PX * 3];
    if (image_check(src) < 0 || image_check(dst) < 0 || src->channels != dst->channels)
        return -EINVAL;
    int ch = src->channels, n = src->width * ch;
    for (int y = 0; y < dst->height; y++) {
        struct taps rows = axis_taps(y, src->height, dst->height);
        memset(sum, 0, (size_t)n * sizeof(sum[0]));
        for (int k = 0; k < rows.count; k++)
            add_row(sum, row_of(src, rows.first + k), tap_weight(&rows, k), n);
        uint8_t *d = row_of(dst, y);
        for (int x = 0; x < dst->width; x++) {
            struct taps t = axis_taps(x, src->width, dst->width);
            for (int c = 0; c < ch; c++) {
                const float *s = sum + t.first * ch + c;
                float middle = 0, value = s[0] * t.head;
                for (int k = 1; k < t.count - 1; k++)
                    middle += s[k * ch];
                value += middle * t.inner + (t.count > 1 ? s[(t.count - 1) * ch] * t.tail : 0);
                d[x * ch + c] = (uint8_t)(value < 0 ? 0 : value > 254.5f ? 255 : value + 0.5f);
            }
        }
    }
    return 0;
}

static void swap_or_copy(uint8_t *a_dst, uint8_t *b_dst, const uint8_t *a, const uint8_t *b, int channels)
{
    for (int c = 0; c < channels; c++) {
        uint8_t left = a[c], right = b[c];
        a_dst[c] = right;
        b_dst[c] = left;
    }
}

int image_mirror(const struct image *src, struct image *dst)
{
    if (image_check(src) < 0 || image_check(dst) < 0 || src->width != dst->width || src->height != dst->height ||
        src->channels != dst->channels)
        return -EINVAL;
    int ch = src->channels;
    for (int y = 0; y < src->height; y++) {
        const uint8_t *s = row_of(src, y);
        uint8_t *d = row_of(dst, y);
        for (int x = 0; x <= (src->width - 1) / 2; x++) {
            int m = src->width - 1 - x;
            swap_or_copy(d + x * ch, d + m * ch, s + x * ch, s + m * ch, ch);
        }
    }
    return 0;
}
