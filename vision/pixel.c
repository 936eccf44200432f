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

// BT.601 limited range: 255/219; 255/224 times 2(1 - Kr) and 2(1 - Kb), and their shares in green.
#define Y_GAIN 1.164384f
#define V_TO_R 1.596027f
#define U_TO_G 0.391762f
#define V_TO_G 0.812968f
#define U_TO_B 2.017232f

#define CHUNK_PX 256

// A run of pixels in planes, each with its own chroma, so that the compiler can work on many at a time.
struct yuv_run {
    uint8_t y[CHUNK_PX], u[CHUNK_PX], v[CHUNK_PX];
};

// Clamped as an integer: comparing floats would keep the compiler from vectorising.
static inline uint8_t round_u8(float v)
{
    int i = (int)(v + 0.5f);
    i = i < 0 ? 0 : i;
    return (uint8_t)(i > 255 ? 255 : i);
}

static inline uint8_t full_luma(int y)
{
    return round_u8(Y_GAIN * (float)(y - 16));
}

static void store_rgb(const struct yuv_run *run, int n, uint8_t *restrict d)
{
    uint8_t r[CHUNK_PX], g[CHUNK_PX], b[CHUNK_PX];
    for (int i = 0; i < n; i++) {
        float base = Y_GAIN * ((float)run->y[i] - 16), u = (float)run->u[i] - 128, v = (float)run->v[i] - 128;
        r[i] = round_u8(base + V_TO_R * v);
        g[i] = round_u8(base - U_TO_G * u - V_TO_G * v);
        b[i] = round_u8(base + U_TO_B * u);
    }
    for (int i = 0; i < n; i++) {
        d[3 * i] = r[i];
        d[3 * i + 1] = g[i];
        d[3 * i + 2] = b[i];
    }
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
    struct yuv_run run;
    if (channels == 1) {
        for (int x = 0; x < width; x++)
            d[x] = full_luma(s[2 * x]);
        return;
    }
    for (int x = 0; x < width; x += CHUNK_PX) {
        int n = width - x < CHUNK_PX ? width - x : CHUNK_PX;
        const uint8_t *q = s + 2 * x;
        for (int i = 0; i < n; i++)
            run.y[i] = q[2 * i];
        for (int i = 0; i < (n + 1) / 2; i++) {
            run.u[2 * i] = run.u[2 * i + 1] = q[4 * i + 1];
            run.v[2 * i] = run.v[2 * i + 1] = q[4 * i + 3];
        }
        store_rgb(&run, n, d + 3 * x);
    }
}

static void row_nv12(const uint8_t *luma, const uint8_t *uv, uint8_t *d, int width, int channels)
{
    struct yuv_run run;
    if (channels == 1) {
        for (int x = 0; x < width; x++)
            d[x] = full_luma(luma[x]);
        return;
    }
    for (int x = 0; x < width; x += CHUNK_PX) {
        int n = width - x < CHUNK_PX ? width - x : CHUNK_PX;
        for (int i = 0; i < n; i++)
            run.y[i] = luma[x + i];
        for (int i = 0; i < (n + 1) / 2; i++) {
            run.u[2 * i] = run.u[2 * i + 1] = uv[x + 2 * i];
            run.v[2 * i] = run.v[2 * i + 1] = uv[x + 2 * i + 1];
        }
        store_rgb(&run, n, d + 3 * x);
    }
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
