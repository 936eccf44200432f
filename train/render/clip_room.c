// Draws a room: wall and its light, bookshelf, door, framed print, plant; then the lens' blur.
#include "train/render/clip_room.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_ROOM 44
#define BLUR_SHARE  0.0045f // of the width

// Places are shares of the picture; `mirror` swaps left and right.
struct room {
    struct clip_picture *p;
    int mirror;
};

int clip_picture_init(struct clip_picture *p, int width, int height)
{
    *p = (struct clip_picture){width, height, calloc((size_t)width * (size_t)height, sizeof(v3))};
    return p->pixel ? 0 : -ENOMEM;
}

void clip_picture_free(struct clip_picture *p)
{
    free(p->pixel);
    memset(p, 0, sizeof(*p));
}

// A running mean of 2 * radius + 1 along a line; the ends repeat.
static void box_line(const v3 *src, v3 *dst, int count, int stride, int radius)
{
    v3 sum = v3_mul(src[0], (float)radius);
    float share = 1.0f / (float)(2 * radius + 1);

    for (int i = 0; i <= radius; i++)
        sum = v3_add(sum, src[(i < count ? i : count - 1) * stride]);
    for (int i = 0; i < count; i++) {
        int in = i + radius + 1, out = i - radius;
        dst[i * stride] = v3_mul(sum, share);
        sum = v3_sub(v3_add(sum, src[(in < count ? in : count - 1) * stride]), src[(out > 0 ? out : 0) * stride]);
    }
}

void clip_picture_blur(struct clip_picture *p, struct clip_picture *scratch, float sigma_px)
{
    int radius = (int)(sigma_px + 0.5f); // three boxes of 2r + 1: sigma^2 = r (r + 1)

    if (radius < 1)
        return;
    for (int pass = 0; pass < 3; pass++) {
        for (int y = 0; y < p->height; y++)
            box_line(p->pixel + y * p->width, scratch->pixel + y * p->width, p->width, 1, radius);
        for (int x = 0; x < p->width; x++)
            box_line(scratch->pixel + x, p->pixel + x, p->height, p->width, radius);
    }
}

static void fill(const struct room *m, float x0, float y0, float x1, float y1, v3 colour)
{
    float w = (float)m->p->width, h = (float)m->p->height, left = m->mirror ? 1 - x1 : x0;
    float right = m->mirror ? 1 - x0 : x1;
    int xa = (int)clampf(left * w, 0, w), xb = (int)clampf(right * w, 0, w);
    int ya = (int)clampf(y0 * h, 0, h), yb = (int)clampf(y1 * h, 0, h);

    for (int y = ya; y < yb; y++)
        for (int x = xa; x < xb; x++)
            m->p->pixel[y * m->p->width + x] = colour;
}

static void disc(const struct room *m, float cx, float cy, float rx, float ry, float lean, v3 colour)
{
    float w = (float)m->p->width, h = (float)m->p->height, c = cosf(lean), s = sinf(lean), reach = maxf(rx, ry) * w;
    float mx = (m->mirror ? 1 - cx : cx) * w, my = cy * h;

    for (int y = (int)maxf(0, my - reach); y < (int)minf(h, my + reach); y++) {
        for (int x = (int)maxf(0, mx - reach); x < (int)minf(w, mx + reach); x++) {
            float dx = ((float)x - mx) / w, dy = ((float)y - my) / w;
            float u = (c * dx + s * dy) / rx, v = (c * dy - s * dx) / ry;
            if (u * u + v * v < 1)
                m->p->pixel[y * m->p->width + x] = colour;
        }
    }
}

static v3 tinted(struct rng *rng, float low, float high, float colourful)
{
    float level = rng_log_uniform(rng, low, high);
    return rng_jitter3(rng, v3_make(level, level, level), colourful, 0.7f * colourful, colourful);
}

static void draw_shelf(struct rng *rng, const struct room *m, float x0, float x1)
{
    v3 wood = rng_jitter3(rng, v3_make(.30f, .19f, .11f), 0.25f, 0.15f, 0.1f);
    float gap = rng_uniform(rng, 0.19f, 0.25f), top = rng_uniform(rng, -0.1f, 0.1f);

    fill(m, x0, top, x1, 1, v3_mul(wood, 0.9f));
    for (float y = top + 0.02f; y < 1; y += gap) {
        float foot = y + gap - 0.018f;
        fill(m, x0 + 0.008f, y, x1 - 0.008f, foot, v3_mul(wood, 0.25f));
        for (float x = x0 + 0.01f; x < x1 - 0.02f;) {
            float width = rng_uniform(rng, 0.007f, 0.02f), height = (gap - 0.02f) * rng_uniform(rng, 0.6f, 0.93f);
            v3 colour = tinted(rng, 0.02f, 0.35f, 0.28f);
            int gone = rng_chance(rng, 0.12f);
            if (gone) {
                x += rng_uniform(rng, 0.02f, 0.05f);
                continue;
            }
            fill(m, x, foot - height, minf(x + width, x1 - 0.01f), foot, colour);
            fill(m, x + 0.8f * width, foot - height, minf(x + width, x1 - 0.01f), foot, v3_mul(colour, 0.5f));
            fill(m, x, foot - 0.8f * height, minf(x + 0.8f * width, x1 - 0.01f), foot - 0.7f * height,
                 v3_mix(colour, v3_make(.5f, .45f, .35f), 0.5f));
            x += width + 0.001f;
        }
    }
}

static void draw_print(struct rng *rng, const struct room *m, float cx)
{
    float y = rng_uniform(rng, 0.08f, 0.14f), w = rng_uniform(rng, 0.05f, 0.075f), h = rng_uniform(rng, 0.25f, 0.34f);
    v3 hill = tinted(rng, 0.05f, 0.2f, 0.4f), sky = v3_make(.42f, .5f, .56f);

    fill(m, cx - w - 0.006f, y + 0.012f, cx + w + 0.01f, y + h + 0.025f, v3_make(.16f, .15f, .14f));
    fill(m, cx - w - 0.008f, y - 0.014f, cx + w + 0.008f, y + h + 0.014f, v3_make(.04f, .035f, .03f));
    fill(m, cx - w, y, cx + w, y + h, v3_make(.66f, .64f, .6f));
    fill(m, cx - 0.75f * w, y + 0.12f * h, cx + 0.75f * w, y + 0.55f * h, sky);
    fill(m, cx - 0.75f * w, y + 0.55f * h, cx + 0.75f * w, y + 0.88f * h, hill);
    disc(m, cx + 0.2f * w, y + 0.6f * h, 0.5f * w, 0.09f * h, 0.2f, v3_mul(hill, 1.6f));
}

static void draw_plant(struct rng *rng, const struct room *m, float cx)
{
    for (int i = 0; i < 46; i++) {
        float turn = rng_uniform(rng, -2.6f, -0.5f), reach = rng_uniform(rng, 0.03f, 0.11f);
        v3 leaf = rng_jitter3(rng, v3_make(.035f, .10f, .03f), 0.3f, 0.4f, 0.3f);
        disc(m, cx + reach * cosf(turn), 0.80f + 1.78f * 1.25f * reach * sinf(turn), 0.028f, 0.009f, turn, leaf);
    }
    fill(m, cx - 0.035f, 0.80f, cx + 0.035f, 1, v3_make(.36f, .17f, .10f));
    fill(m, cx - 0.042f, 0.78f, cx + 0.042f, 0.82f, v3_make(.42f, .2f, .12f));
}

// The daylight that falls in from one side, and the corners' darkness.
static void light_wall(struct clip_picture *p, float side)
{
    for (int y = 0; y < p->height; y++) {
        for (int x = 0; x < p->width; x++) {
            float u = (float)x / (float)p->width - 0.5f, v = (float)y / (float)p->height - 0.5f;
            float light = (1 + 0.45f * side * u - 0.25f * v) * (1 - 0.5f * (u * u + v * v));
            v3 *c = &p->pixel[y * p->width + x];
            *c = v3_tint(*c, v3_make(light * 1.01f, light, light * (1 + 0.06f * side * u)));
        }
    }
}

int clip_room_draw(uint64_t seed, struct clip_picture *p)
{
    struct rng rng = rng_make(seed, STREAM_ROOM, 0);
    struct room m = {p, rng_chance(&rng, 0.5f)};
    struct clip_picture scratch;
    v3 wall = rng_jitter3(&rng, v3_make(.42f, .40f, .37f), 0.12f, 0.08f, 0.14f), panel = v3_make(.56f, .55f, .52f);
    int r = clip_picture_init(&scratch, p->width, p->height);

    if (r < 0)
        return r;
    fill(&m, 0, 0, 1, 1, wall);
    fill(&m, 0.0f, 0.06f, 0.16f, 1, v3_mul(panel, 0.72f)); // a door in its frame
    fill(&m, 0.0f, 0.09f, 0.145f, 1, panel);
    fill(&m, 0.02f, 0.16f, 0.12f, 0.46f, v3_mul(panel, 0.86f));
    fill(&m, 0.024f, 0.168f, 0.12f, 0.46f, v3_mul(panel, 0.97f));
    fill(&m, 0.02f, 0.56f, 0.12f, 0.95f, v3_mul(panel, 0.86f));
    fill(&m, 0.024f, 0.568f, 0.12f, 0.95f, v3_mul(panel, 0.97f));
    disc(&m, 0.134f, 0.53f, 0.008f, 0.008f, 0, v3_make(.12f, .11f, .10f));
    draw_print(&rng, &m, rng_uniform(&rng, 0.26f, 0.31f));
    draw_shelf(&rng, &m, rng_uniform(&rng, 0.70f, 0.75f), 1.02f);
    draw_plant(&rng, &m, rng_uniform(&rng, 0.63f, 0.67f));
    clip_picture_blur(p, &scratch, BLUR_SHARE * (float)p->width);
    light_wall(p, m.mirror ? 1 : -1);
    clip_picture_free(&scratch);
    return 0;
}
