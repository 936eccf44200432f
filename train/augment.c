// Degradations of a grey patch: resolution, blur, noise, JPEG, light, glare, bars.
#include "train/augment.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vision/image.h"
#include "vision/jpeg.h"

static float bound(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

static void to_bytes(const float *pixels, struct image *image)
{
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++)
            image->data[y * image->stride + x] = (uint8_t)(bound(pixels[y * image->width + x], 0, 255) + 0.5f);
}

static void from_bytes(const struct image *image, float *pixels)
{
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++)
            pixels[y * image->width + x] = image->data[y * image->stride + x];
}

// Gamma, contrast, brightness and a linear gradient in one pass.
static void light(struct rng *rng, float strength, int w, int h, float *pixels)
{
    float gamma = expf(0.3f * strength * rng_normal(rng)), contrast = expf(0.25f * strength * rng_normal(rng));
    float shift = 20 * strength * rng_normal(rng), angle = rng_uniform(rng, 0, 6.2831853f);
    float slope = rng_chance(rng, 0.5f) ? 0.5f * strength * rng_unit(rng) : 0;
    float table[256];
    for (int i = 0; i < 256; i++)
        table[i] = (255 * powf((float)i / 255, gamma) - 128) * contrast + 128 + shift;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            float along = cosf(angle) * ((float)x / (float)w - 0.5f) + sinf(angle) * ((float)y / (float)h - 0.5f);
            float *p = &pixels[y * w + x];
            *p = bound(table[(int)bound(*p, 0, 255)] * (1 + slope * along), 0, 255);
        }
}

static void glare(struct rng *rng, int w, int h, float *pixels)
{
    int count = 1 + rng_below(rng, 3);
    for (int k = 0; k < count; k++) {
        float cx = rng_uniform(rng, 0, (float)w), cy = rng_uniform(rng, 0, (float)h);
        float a = rng_log_uniform(rng, 0.02f, 0.15f) * (float)w, b = a * rng_log_uniform(rng, 0.3f, 1.5f);
        float gain = rng_uniform(rng, 40, 220), turn = rng_uniform(rng, 0, 3.14159f);
        float c = cosf(turn), s = sinf(turn);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                float u = (c * ((float)x - cx) + s * ((float)y - cy)) / a;
                float v = (c * ((float)y - cy) - s * ((float)x - cx)) / b;
                float d = u * u + v * v;
                if (d < 6)
                    pixels[y * w + x] += gain * expf(-d);
            }
    }
}

// A dark or light bar: a strand of hair, a glasses' frame, a finger.
static void bar(struct rng *rng, int w, int h, float *pixels)
{
    float angle = rng_uniform(rng, 0, 3.14159f), c = cosf(angle), s = sinf(angle);
    float offset = c * rng_uniform(rng, 0, (float)w) + s * rng_uniform(rng, 0, (float)h);
    float half = rng_uniform(rng, 0.004f, 0.03f) * (float)w, level = rng_uniform(rng, 0, 160),
          cover = rng_uniform(rng, 0.4f, 1);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            float d = fabsf(c * (float)x + s * (float)y - offset) - half;
            float a = cover * bound(0.5f - d, 0, 1);
            pixels[y * w + x] += a * (level - pixels[y * w + x]);
        }
}

static void noise(struct rng *rng, float strength, int count, float *pixels)
{
    float sigma = strength * rng_log_uniform(rng, 0.7f, 9);
    for (int i = 0; i < count; i += 2) {
        // The sum of four bytes is near enough to normal, and eight come from one draw.
        uint64_t bits = rng_u64(rng);
        for (int k = 0; k < 2 && i + k < count; k++, bits >>= 32) {
            int sum = (int)((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24 & 255)) - 510;
            pixels[i + k] += sigma * (float)sum / 147.8f;
        }
    }
}

// Separable Gaussian blur; a longer sigma along one axis stands for motion.
static void blur_axis(float sigma, int w, int h, bool vertical, float *pixels, float *line)
{
    int radius = (int)ceilf(2.5f * sigma), n = vertical ? h : w, lines = vertical ? w : h, step = vertical ? w : 1;
    float kernel[33] = {0}, sum = 0;
    radius = radius > 16 ? 16 : radius;
    for (int i = -radius; i <= radius; i++)
        sum += kernel[i + radius] = expf(-0.5f * (float)(i * i) / (sigma * sigma));
    for (int k = 0; k < lines; k++) {
        float *p = pixels + (vertical ? k : k * w);
        for (int i = 0; i < n; i++)
            line[i] = p[i * step];
        for (int i = 0; i < n; i++) {
            float y = 0;
            for (int j = -radius; j <= radius; j++) {
                int at = i + j < 0 ? 0 : i + j >= n ? n - 1 : i + j;
                y += kernel[j + radius] * line[at];
            }
            p[i * step] = y / sum;
        }
    }
}

static int blur(struct rng *rng, float strength, int w, int h, float *pixels)
{
    float sx = rng_log_uniform(rng, 0.2f, 1.6f) * strength, sy = sx;
    if (rng_chance(rng, 0.15f))
        *(rng_chance(rng, 0.5f) ? &sx : &sy) += strength * rng_uniform(rng, 0.5f, 2);
    float *line = malloc(sizeof(float) * (size_t)(w > h ? w : h));
    if (!line)
        return -ENOMEM;
    if (sx > 0.25f)
        blur_axis(sx, w, h, false, pixels, line);
    if (sy > 0.25f)
        blur_axis(sy, w, h, true, pixels, line);
    free(line);
    return 0;
}

// Down to `share` of the size and up again.
static int coarsen(float share, int w, int h, float *pixels)
{
    struct image full = {0}, small = {0};
    int sw = (int)((float)w * share + 0.5f), sh = (int)((float)h * share + 0.5f);
    int r = image_alloc(w, h, 1, &full);
    if (r >= 0)
        r = image_alloc(sw < 4 ? 4 : sw, sh < 4 ? 4 : sh, 1, &small);
    if (r >= 0) {
        to_bytes(pixels, &full);
        r = image_resize(&full, &small);
    }
    if (r >= 0)
        r = image_resize(&small, &full);
    if (r >= 0)
        from_bytes(&full, pixels);
    image_free(&full);
    image_free(&small);
    return r;
}

static int compress(int quality, int w, int h, float *pixels)
{
    struct image image = {0};
    struct jpeg_decoder *decoder = NULL;
    struct jpeg_frame frame;
    uint8_t *data = NULL;
    size_t size = 0;
    int r = image_alloc(w, h, 1, &image);
    if (r >= 0) {
        to_bytes(pixels, &image);
        r = jpeg_encode(&image, quality, &data, &size);
    }
    if (r >= 0)
        r = jpeg_decoder_new(&decoder);
    if (r >= 0)
        r = jpeg_decode(decoder, data, size, 1, 0, 0, &frame, NULL);
    if (r >= 0)
        from_bytes(&frame.image, pixels);
    jpeg_decoder_free(decoder);
    free(data);
    image_free(&image);
    return r;
}

int augment_patch(struct rng *rng, const struct augment_strength *s, int w, int h, float *pixels)
{
    int r = 0;
    if (s->light > 0)
        light(rng, s->light, w, h, pixels);
    if (rng_chance(rng, 0.12f * s->glare))
        glare(rng, w, h, pixels);
    if (rng_chance(rng, 0.12f * s->glare))
        bar(rng, w, h, pixels);
    float share = rng_uniform(rng, 0.38f, 1.1f);
    if (s->detail > 0 && share < 0.95f)
        r = coarsen(1 - s->detail * (1 - share), w, h, pixels);
    if (r >= 0 && s->detail > 0 && rng_chance(rng, 0.7f))
        r = blur(rng, s->detail, w, h, pixels);
    if (r >= 0 && s->noise > 0 && rng_chance(rng, 0.8f))
        noise(rng, s->noise, w * h, pixels);
    if (r >= 0 && s->noise > 0 && rng_chance(rng, 0.5f))
        r = compress(40 + rng_below(rng, 56), w, h, pixels);
    for (int i = 0; i < w * h; i++)
        pixels[i] = bound(pixels[i], 0, 255);
    return r;
}
