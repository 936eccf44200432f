// What cameras do to pictures: tone, light, blur, loss of detail, noise. JPEG follows when the picture is written.
#include <string.h>

#include "train/render/picture.h"

#define BLUR_RADIUS_MAX 24

// One row along x; beyond the ends the first and last pixel repeat.
static void blur_row(const v3 *restrict src, v3 *restrict dst, int side, const float *kernel, int radius)
{
    float *out = &dst->x, padded[3 * (RENDER_SIDE_MAX + 2 * BLUR_RADIUS_MAX)], *in = padded + 3 * radius;

    for (int x = -radius; x < side + radius; x++)
        memcpy(in + 3 * x, &src[x < 0 ? 0 : x >= side ? side - 1 : x], sizeof(v3));
    for (int i = 0; i < 3 * side; i++)
        out[i] = kernel[0] * in[i];
    for (int k = 1; k <= radius; k++)
        for (int i = 0; i < 3 * side; i++)
            out[i] += kernel[k] * (in[i - 3 * k] + in[i + 3 * k]);
}

static void blur_columns(const v3 *restrict src, v3 *restrict dst, int side, const float *kernel, int radius)
{
    for (int y = 0; y < side; y++) {
        const float *in = &src[y * side].x;
        float *out = &dst[y * side].x;
        for (int i = 0; i < 3 * side; i++)
            out[i] = kernel[0] * in[i];
        for (int k = 1; k <= radius; k++) {
            const float *above = &src[(y < k ? 0 : y - k) * side].x;
            const float *below = &src[(y + k >= side ? side - 1 : y + k) * side].x;
            for (int i = 0; i < 3 * side; i++)
                out[i] += kernel[k] * (above[i] + below[i]);
        }
    }
}

void picture_blur(struct picture *p, struct picture *scratch, float sigma_px)
{
    float kernel[BLUR_RADIUS_MAX + 1], sum;
    int radius = (int)ceilf(2.5f * sigma_px), side = p->side;

    if (sigma_px < 0.15f)
        return;
    radius = radius > BLUR_RADIUS_MAX ? BLUR_RADIUS_MAX : radius;
    sum = kernel[0] = 1;
    for (int k = 1; k <= radius; k++) {
        kernel[k] = expf(-(float)(k * k) / (2 * sigma_px * sigma_px));
        sum += 2 * kernel[k];
    }
    for (int k = 0; k <= radius; k++)
        kernel[k] /= sum;
    for (int y = 0; y < side; y++)
        blur_row(p->pixel + y * side, scratch->pixel + y * side, side, kernel, radius);
    blur_columns(scratch->pixel, p->pixel, side, kernel, radius);
}

static float tone(float linear, const struct degradation *d)
{
    float x = linear > 0.7f ? 0.7f + 0.3f * (1 - expf(-(linear - 0.7f) / 0.3f)) : maxf(linear, 0);
    return powf(x, d->gamma / 2.2f);
}

static void apply_tone(const struct degradation *d, struct picture *p)
{
    float gx = cosf(d->gradient_turn) * d->gradient, gy = sinf(d->gradient_turn) * d->gradient, side = (float)p->side;
    float table[1025];

    for (int i = 0; i <= 1024; i++)
        table[i] = tone((float)(i * i) * (2.0f / (1024 * 1024)), d); // finer in the shadows, up to 2
    for (int y = 0; y < p->side; y++) {
        for (int x = 0; x < p->side; x++) {
            float u = (float)x / side - 0.5f, v = (float)y / side - 0.5f, light = 1 + 2 * (u * gx + v * gy);
            float c[3], *out = &p->pixel[y * p->side + x].x, glare = 0;
            if (d->glare > 0) {
                float dx = u + 0.5f - d->glare_x, dy = v + 0.5f - d->glare_y;
                glare = d->glare * expf(-(dx * dx + dy * dy) / (2 * d->glare_r * d->glare_r));
            }
            for (int k = 0; k < 3; k++) {
                float lit = out[k] * light * d->white[k] + glare;
                int at = (int)(sqrtf(clampf(lit, 0, 2) * 0.5f) * 1024);
                c[k] = (table[at] - 0.45f) * d->contrast + 0.45f + d->brightness;
            }
            if (d->grey) { // infrared sees skin by its red and beyond
                float g = d->infrared ? 0.8f * c[0] + 0.2f * c[1] : 0.299f * c[0] + 0.587f * c[1] + 0.114f * c[2];
                c[0] = c[1] = c[2] = g;
            }
            for (int k = 0; k < 3; k++)
                out[k] = 255 * clampf(c[k], 0, 1);
        }
    }
}

// Down to `share` of the size and up again, bilinear both ways after a matching blur.
static void lose_detail(struct picture *p, struct picture *scratch, float share)
{
    int side = p->side, small = (int)(share * (float)side + 0.5f);
    float ratio;

    if (small < 8 || small >= side)
        return;
    ratio = (float)side / (float)small;
    picture_blur(p, scratch, 0.35f * (ratio - 0.5f));
    for (int pass = 0; pass < 2; pass++) {
        int n = pass ? side : small;
        float k = pass ? 1 / ratio : ratio;
        const v3 *src = pass ? scratch->pixel : p->pixel;
        v3 *dst = pass ? p->pixel : scratch->pixel;
        int limit = pass ? small : side;
        for (int y = 0; y < n; y++) {
            float fy = clampf(((float)y + 0.5f) * k - 0.5f, 0, (float)(limit - 1));
            int y0 = (int)fy, y1 = y0 + (y0 + 1 < limit);
            for (int x = 0; x < n; x++) {
                float fx = clampf(((float)x + 0.5f) * k - 0.5f, 0, (float)(limit - 1));
                int x0 = (int)fx, x1 = x0 + (x0 + 1 < limit);
                v3 top = v3_mix(src[y0 * side + x0], src[y0 * side + x1], fx - (float)x0);
                v3 low = v3_mix(src[y1 * side + x0], src[y1 * side + x1], fx - (float)x0);
                dst[y * side + x] = v3_mix(top, low, fy - (float)y0);
            }
        }
    }
}

// Nearly normal: the sum of four 16-bit uniforms.
static float quick_normal(struct rng *rng)
{
    uint64_t x = rng_u64(rng);
    int sum = (int)(x & 0xffff) + (int)(x >> 16 & 0xffff) + (int)(x >> 32 & 0xffff) + (int)(x >> 48);
    return (float)(sum - 131070) * (1 / 37837.0f);
}

static void add_noise(const struct degradation *d, struct rng *rng, struct picture *p)
{
    int side = p->side;
    float coarse = 0;

    for (int y = 0; y < side; y++) {
        for (int x = 0; x < side; x++) {
            v3 *c = &p->pixel[y * side + x];
            float n = d->noise * quick_normal(rng), level = 0.6f + 0.4f * (1 - c->y / 255);
            if (d->grain > 0) {
                coarse = 0.7f * coarse + 0.7f * quick_normal(rng);
                n += d->grain * coarse;
            }
            n *= level;
            c->x += n + (d->grey ? 0 : 0.4f * d->noise * quick_normal(rng));
            c->y += n;
            c->z += n + (d->grey ? 0 : 0.4f * d->noise * quick_normal(rng));
        }
    }
}

void picture_spoil(const struct degradation *d, struct rng *rng, struct picture *p, struct picture *scratch)
{
    apply_tone(d, p);
    picture_blur(p, scratch, d->blur_px * (float)p->side / 256);
    lose_detail(p, scratch, d->resample);
    add_noise(d, rng, p);
}

void picture_store(const struct picture *p, struct image *rgb)
{
    for (int y = 0; y < p->side; y++) {
        uint8_t *row = rgb->data + (size_t)y * (size_t)rgb->stride;
        for (int x = 0; x < p->side; x++) {
            const float *c = &p->pixel[y * p->side + x].x;
            for (int k = 0; k < 3; k++)
                row[3 * x + k] = (uint8_t)(clampf(c[k], 0, 255) + 0.5f);
        }
    }
}
