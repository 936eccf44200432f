// A webcam's sensor. The noise is smoothed along the rows as demosaicing leaves it.
#include "train/render/clip_sensor.h"

#define TABLE_SIZE   1024
#define LINEAR_MAX   2.0f
#define CHROMA_SHARE 0.5f
#define LENS_SIDE    0.11f // weight of each direct neighbour

// A shoulder above 0.7, then gamma 2.2: the curve of gaze-render.
static float tone(float x)
{
    return powf(x > 0.7f ? 0.7f + 0.3f * (1 - expf(-(x - 0.7f) / 0.3f)) : maxf(x, 0), 1 / 2.2f);
}

// Nearly normal: the sum of four 16-bit uniforms.
static float quick_normal(struct rng *rng)
{
    uint64_t x = rng_u64(rng);
    int sum = (int)(x & 0xffff) + (int)(x >> 16 & 0xffff) + (int)(x >> 32 & 0xffff) + (int)(x >> 48);
    return (float)(sum - 131070) * (1 / 37837.0f);
}

static void lens(struct clip_picture *p, struct clip_picture *scratch)
{
    int w = p->width, h = p->height;

    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const v3 *row = p->pixel + y * w;
            v3 sides = v3_add(row[x ? x - 1 : 0], row[x + 1 < w ? x + 1 : x]);
            scratch->pixel[y * w + x] = v3_mad(v3_mul(row[x], 1 - 2 * LENS_SIDE), sides, LENS_SIDE);
        }
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            v3 above = scratch->pixel[(y ? y - 1 : 0) * w + x], below = scratch->pixel[(y + 1 < h ? y + 1 : y) * w + x];
            p->pixel[y * w + x] =
                v3_mad(v3_mul(scratch->pixel[y * w + x], 1 - 2 * LENS_SIDE), v3_add(above, below), LENS_SIDE);
        }
}

void clip_sensor_store(struct clip_picture *linear, struct clip_picture *scratch, struct rng *rng, struct image *rgb)
{
    float table[TABLE_SIZE + 1];

    for (int i = 0; i <= TABLE_SIZE; i++)
        table[i] = 255 * tone((float)(i * i) * (LINEAR_MAX / (TABLE_SIZE * TABLE_SIZE))); // finer in the shadows
    lens(linear, scratch);
    for (int y = 0; y < linear->height; y++) {
        uint8_t *row = rgb->data + (size_t)y * (size_t)rgb->stride;
        float last = 0, red = 0, blue = 0;
        for (int x = 0; x < linear->width; x++) {
            const float *in = &linear->pixel[y * linear->width + x].x;
            float out[3], level;
            for (int k = 0; k < 3; k++)
                out[k] = table[(int)(sqrtf(clampf(in[k], 0, LINEAR_MAX) / LINEAR_MAX) * TABLE_SIZE)];
            level = CLIP_NOISE_SD * (1.2f - 0.5f * out[1] / 255);
            last = 0.45f * last + 0.89f * quick_normal(rng);
            red = 0.7f * red + 0.71f * quick_normal(rng);
            blue = 0.7f * blue + 0.71f * quick_normal(rng);
            out[0] += level * (last + CHROMA_SHARE * red);
            out[1] += level * last;
            out[2] += level * (last + CHROMA_SHARE * blue);
            for (int k = 0; k < 3; k++)
                row[3 * x + k] = (uint8_t)(clampf(out[k], 0, 255) + 0.5f);
        }
    }
}
