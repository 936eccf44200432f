// Backdrops: plain and graded walls, blotches, stripes, blurred photographs.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "train/render/picture.h"

int picture_init(struct picture *p, int side)
{
    p->side = side;
    p->pixel = calloc((size_t)side * (size_t)side, sizeof(v3));
    return p->pixel ? 0 : -ENOMEM;
}

void picture_free(struct picture *p)
{
    free(p->pixel);
    memset(p, 0, sizeof(*p));
}

static v3 draw_colour(struct rng *rng)
{
    float level = rng_log_uniform(rng, 0.01f, 0.9f);
    return rng_jitter3(rng, v3_make(level, level, level), 0.25f, 0.15f, 0.3f);
}

// Colours at a coarse grid, smooth between: from a plain wall (1 cell) to clutter.
static void draw_blotches(struct rng *rng, struct picture *p)
{
    enum { GRID_MAX = 9 };
    v3 grid[GRID_MAX + 1][GRID_MAX + 1], base = draw_colour(rng);
    int cells = 1 + rng_below(rng, GRID_MAX), hard = rng_chance(rng, 0.4f);
    float spread = rng_unit(rng);

    for (int y = 0; y <= cells; y++)
        for (int x = 0; x <= cells; x++)
            grid[y][x] = v3_mix(base, draw_colour(rng), spread);

    for (int y = 0; y < p->side; y++) {
        for (int x = 0; x < p->side; x++) {
            float gx = (float)x * (float)cells / (float)p->side, gy = (float)y * (float)cells / (float)p->side;
            int cx = (int)gx, cy = (int)gy;
            float u = gx - (float)cx, v = gy - (float)cy;
            if (hard) {
                u = smoothstepf(0.42f, 0.58f, u);
                v = smoothstepf(0.42f, 0.58f, v);
            }
            p->pixel[y * p->side + x] =
                v3_mix(v3_mix(grid[cy][cx], grid[cy][cx + 1], u), v3_mix(grid[cy + 1][cx], grid[cy + 1][cx + 1], u), v);
        }
    }
}

static void draw_shapes(struct rng *rng, struct picture *p)
{
    int count = rng_below(rng, 9);

    for (int i = 0; i < count; i++) {
        v3 colour = draw_colour(rng);
        float cx = rng_unit(rng), cy = rng_unit(rng), w = rng_log_uniform(rng, 0.02f, 0.5f),
              h = rng_log_uniform(rng, 0.02f, 0.8f);
        int round = rng_chance(rng, 0.3f), x0 = (int)(maxf(0, cx - w) * (float)p->side);
        int x1 = (int)(minf(1, cx + w) * (float)p->side), y0 = (int)(maxf(0, cy - h) * (float)p->side);
        int y1 = (int)(minf(1, cy + h) * (float)p->side);
        for (int y = y0; y < y1; y++) {
            for (int x = x0; x < x1; x++) {
                float u = ((float)x / (float)p->side - cx) / w, v = ((float)y / (float)p->side - cy) / h;
                if (!round || u * u + v * v < 1)
                    p->pixel[y * p->side + x] = colour;
            }
        }
    }
}

static void draw_photo(struct rng *rng, const struct image *photo, struct picture *p)
{
    float zoom = rng_uniform(rng, 0.2f, 0.55f) * (float)photo->width, x0 = rng_unit(rng) * ((float)photo->width - zoom);
    float y0 = rng_unit(rng) * ((float)photo->height - zoom), light = rng_log_uniform(rng, 0.4f, 1.6f);
    int mirror = rng_chance(rng, 0.5f), turn = rng_chance(rng, 0.3f); // upside down: no second face to be found

    for (int y = 0; y < p->side; y++) {
        for (int x = 0; x < p->side; x++) {
            int sx = (int)(x0 + zoom * (float)(mirror ? p->side - 1 - x : x) / (float)p->side);
            int sy = (int)(y0 + zoom * (float)(turn ? p->side - 1 - y : y) / (float)p->side);
            const uint8_t *s;
            sx = sx < 0 ? 0 : sx >= photo->width ? photo->width - 1 : sx;
            sy = sy < 0 ? 0 : sy >= photo->height ? photo->height - 1 : sy;
            s = photo->data + (size_t)sy * (size_t)photo->stride + 3 * sx;
            p->pixel[y * p->side + x] =
                v3_make(light * (float)s[0] * (float)s[0] / 65025.0f, light * (float)s[1] * (float)s[1] / 65025.0f,
                        light * (float)s[2] * (float)s[2] / 65025.0f);
        }
    }
}

void backdrop_draw(struct rng *rng, const struct image *photo, struct picture *p)
{
    struct picture scratch;

    if (photo) {
        draw_photo(rng, photo, p);
    } else {
        draw_blotches(rng, p);
        if (rng_chance(rng, 0.5f))
            draw_shapes(rng, p);
    }
    if (picture_init(&scratch, p->side) < 0)
        return;
    picture_blur(p, &scratch,
                 photo ? rng_log_uniform(rng, 4, 9) * (float)p->side / 256
                       : rng_log_uniform(rng, 0.4f, 6) * (float)p->side / 256);
    picture_free(&scratch);
}
