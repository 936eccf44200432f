// Raw camera frames to RGB or grey: see pixel.h.
#include "vision/pixel.h"

#include <errno.h>

int pixel_min_stride(enum pixel_format format, int width)
{
    if (width < 1 || width > IMAGE_MAX_SIDE_PX)
        return 0;
    switch (format) {
    case PIXEL_GREY:
        return width;
    case PIXEL_RGB24:
    case PIXEL_BGR24:
        return 3 * width;
    case PIXEL_YUYV:
        return 4 * ((width + 1) / 2);
    case PIXEL_NV12:
        return 2 * ((width + 1) / 2);
    default:
        return 0;
    }
}

size_t pixel_frame_bytes(enum pixel_format format, int width, int height, int stride)
{
    int row = pixel_min_stride(format, width);
    if (stride == 0)
        stride = row;
    if (row == 0 || stride < row || height < 1 || height > IMAGE_MAX_SIDE_PX)
        return 0;
    int rows = format == PIXEL_NV12 ? height + (height + 1) / 2 : height;
    return (size_t)stride * (size_t)(rows - 1) + (size_t)row;
}

// BT.601 limited range, 16 fractional bits: 255/219, and 255/224 times 2(1 - Kr), 2(1 - Kb) and their shares in green.
enum { Y_GAIN = 76309, V_TO_R = 104597, U_TO_G = 25675, V_TO_G = 53279, U_TO_B = 132201, HALF = 32768 };

static inline uint8_t clamp_u8(int v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static inline void store_rgb(uint8_t *d, int y, int u, int v)
{
    int base = Y_GAIN * (y - 16) + HALF;
    d[0] = clamp_u8((base + V_TO_R * (v - 128)) >> 16);
    d[1] = clamp_u8((base - U_TO_G * (u - 128) - V_TO_G * (v - 128)) >> 16);
    d[2] = clamp_u8((base + U_TO_B * (u - 128)) >> 16);
}

static inline uint8_t full_luma(int y)
{
    return clamp_u8((Y_GAIN * (y - 16) + HALF) >> 16);
}

static inline uint8_t luma_of_rgb(int r, int g, int b)
{
    return (uint8_t)((77 * r + 150 * g + 29 * b + 128) >> 8);
}

static void row_grey(const uint8_t *s, uint8_t *d, int width, int channels)
{
    for (int x = 0; x < width; x++)
        for (int c = 0; c < channels; c++)
            d[x * channels + c] = s[x];
}

// red: the byte of a pixel that holds red, 0 for RGB and 2 for BGR.
static void row_rgb(const uint8_t *s, uint8_t *d, int width, int channels, int red)
{
    for (int x = 0; x < width; x++) {
        int r = s[3 * x + red], g = s[3 * x + 1], b = s[3 * x + 2 - red];
        if (channels == 1) {
            d[x] = luma_of_rgb(r, g, b);
            continue;
        }
        d[3 * x] = (uint8_t)r;
        d[3 * x + 1] = (uint8_t)g;
        d[3 * x + 2] = (uint8_t)b;
    }
}

static void row_yuyv(const uint8_t *s, uint8_t *d, int width, int channels)
{
    if (channels == 1) {
        for (int x = 0; x < width; x++)
            d[x] = full_luma(s[2 * x]);
        return;
    }
    for (int pair = 0; pair < width / 2; pair++) {
        const uint8_t *q = s + 4 * pair;
        store_rgb(d + 6 * pair, q[0], q[1], q[3]);
        store_rgb(d + 6 * pair + 3, q[2], q[1], q[3]);
    }
    if (width & 1) {
        const uint8_t *q = s + 2 * (width - 1);
        store_rgb(d + 3 * (width - 1), q[0], q[1], q[3]);
    }
}

static void row_nv12(const uint8_t *luma, const uint8_t *uv, uint8_t *d, int width, int channels)
{
    if (channels == 1) {
        for (int x = 0; x < width; x++)
            d[x] = full_luma(luma[x]);
        return;
    }
    for (int x = 0; x < width; x++)
        store_rgb(d + 3 * x, luma[x], uv[x & ~1], uv[(x & ~1) + 1]);
}

int pixel_convert(enum pixel_format format, const uint8_t *data, size_t size, int stride, struct image *dst)
{
    if (!data || image_check(dst) < 0 || stride < 0)
        return -EINVAL;
    if (stride == 0)
        stride = pixel_min_stride(format, dst->width);
    size_t needed = pixel_frame_bytes(format, dst->width, dst->height, stride);
    if (needed == 0)
        return -EINVAL;
    if (size < needed)
        return -EMSGSIZE;
    const uint8_t *chroma = data + (size_t)stride * (size_t)dst->height;
    for (int y = 0; y < dst->height; y++) {
        const uint8_t *s = data + (size_t)stride * (size_t)y;
        uint8_t *d = dst->data + (size_t)dst->stride * (size_t)y;
        switch (format) {
        case PIXEL_GREY:
            row_grey(s, d, dst->width, dst->channels);
            break;
        case PIXEL_RGB24:
        case PIXEL_BGR24:
            row_rgb(s, d, dst->width, dst->channels, format == PIXEL_RGB24 ? 0 : 2);
            break;
        case PIXEL_YUYV:
            row_yuyv(s, d, dst->width, dst->channels);
            break;
        default:
            row_nv12(s, chroma + (size_t)stride * (size_t)(y / 2), d, dst->width, dst->channels);
            break;
        }
    }
    return 0;
}
