// Light and dark of drawn eyes: what photographs have and renders don't.
#include "train/augment_eyes.h"

#include <math.h>

// One face's change; both eyes have the same.
struct look {
    float pale, dull;                      // between the lids: share of the skin's grey in what is darker, brighter
    float pupil;                           // power of the dark's tone curve: above 1 only the darkest stays dark
    float lamp, lamp_x, lamp_y, lamp_size; // mirrored lamp: strength, place and size in radii of the iris
    float lash, lash_up_px, lash_width_px; // dark line along the upper lid
    float shade, shade_px;                 // shadow below it
    float skin, light, dark;               // grey levels
    float edge_px;                         // how soft edges are: as soft as a small or blurred face's
};

static float step(float x)
{
    return 1 / (1 + expf(-x));
}

static float bell(float x)
{
    return expf(-0.5f * x * x);
}

// Height of a lid at x: straight between four points from corner to corner, level beyond.
static float lid_at(const struct point *const p[4], float x)
{
    if (x <= p[0]->x)
        return p[0]->y;
    for (int i = 0; i < 3; i++)
        if (x < p[i + 1]->x)
            return p[i]->y + (p[i + 1]->y - p[i]->y) * (x - p[i]->x) / (p[i + 1]->x - p[i]->x);
    return p[3]->y;
}

// A grey level between the lids. It alone decides, not where the iris is: a network must find no other edges than those
// that the camera saw.
static float tone(const struct look *k, float grey)
{
    if (grey >= k->skin)
        return grey + (k->skin - grey) * k->dull;
    float depth = (k->skin - grey) / (k->skin - k->dark + 1);
    return k->skin - (k->skin - k->dark + 1) * (1 - k->pale) * powf(depth, k->pupil);
}

static float change(const struct look *k, const struct augment_eye *e, float x, float y, float grey)
{
    const struct point *const upper[4] = {&e->lid[0], &e->lid[1], &e->lid[2], &e->lid[3]};
    const struct point *const lower[4] = {&e->lid[0], &e->lid[5], &e->lid[4], &e->lid[3]};
    const struct point *c = &e->iris[0];
    float under = y - lid_at(upper, x), along = step((x - e->lid[0].x) / 0.7f) * step((e->lid[3].x - x) / 0.7f);
    float open = along * step(under / k->edge_px) * step((lid_at(lower, x) - y) / k->edge_px);
    float wide = fmaxf(0.5f * fabsf(e->iris[1].x - e->iris[3].x), 0.5f);
    float high = fmaxf(0.5f * fabsf(e->iris[2].y - e->iris[4].y), 0.5f);
    float u = (x - c->x) / wide, v = (y - c->y) / high;

    grey += (tone(k, grey) - grey) * open;
    grey *= 1 - k->shade * open * expf(-fmaxf(under, 0) / k->shade_px);
    grey += (k->light - grey) * k->lamp * open * bell((u - k->lamp_x) / k->lamp_size) *
            bell((v - k->lamp_y) / k->lamp_size);
    return grey * (1 - k->lash * along * bell((under + k->lash_up_px) / k->lash_width_px));
}

static struct look draw_look(struct rng *rng, int count, const float *pixels)
{
    struct look k = {.shade_px = 1, .edge_px = rng_log_uniform(rng, 0.3f, 1.5f), .pupil = 1, .dark = 255};
    float sum = 0, top = 0;
    for (int i = 0; i < count; i++) {
        sum += pixels[i];
        top = fmaxf(top, pixels[i]);
        k.dark = fminf(k.dark, pixels[i]);
    }
    k.skin = sum / (float)count;
    k.light = fminf(255, top + rng_uniform(rng, 0, 60));
    if (rng_chance(rng, 0.7f))
        k.pale = rng_uniform(rng, 0, 0.65f);
    if (rng_chance(rng, 0.4f)) {
        k.pupil = rng_uniform(rng, 1, 3);
        k.pale *= 0.5f;
    }
    if (rng_chance(rng, 0.5f))
        k.dull = rng_uniform(rng, 0, 0.7f);
    if (rng_chance(rng, 0.5f))
        k.lamp = rng_uniform(rng, 0.15f, 0.9f);
    k.lamp_x = rng_uniform(rng, -0.5f, 0.5f);
    k.lamp_y = rng_uniform(rng, -0.6f, 0.3f);
    k.lamp_size = rng_uniform(rng, 0.12f, 0.35f);
    if (rng_chance(rng, 0.6f))
        k.lash = rng_uniform(rng, 0, 0.7f);
    k.lash_up_px = rng_uniform(rng, -0.3f, 0.9f);
    k.lash_width_px = rng_uniform(rng, 0.5f, 1.3f);
    if (rng_chance(rng, 0.4f)) {
        k.shade = rng_uniform(rng, 0, 0.5f);
        k.shade_px = rng_uniform(rng, 0.7f, 2.5f);
    }
    return k;
}

void augment_eyes(struct rng *rng, const struct augment_eye eye[2], int w, int h, float scale, float *pixels)
{
    struct look look = draw_look(rng, w * h, pixels);
    for (int side = 0; side < 2; side++) {
        const struct augment_eye *e = &eye[side];
        float high = fminf(e->lid[1].y, e->lid[2].y), low = fmaxf(e->lid[4].y, e->lid[5].y);
        int x0 = (int)fmaxf(0, scale * (e->lid[0].x - 3)), x1 = (int)fminf((float)w, scale * (e->lid[3].x + 4));
        int y0 = (int)fmaxf(0, scale * (high - 4));
        int y1 = (int)fminf((float)h, scale * (fmaxf(low, e->lid[0].y) + 5));
        for (int y = y0; y < y1; y++)
            for (int x = x0; x < x1; x++) {
                float *p = &pixels[y * w + x];
                *p = change(&look, e, ((float)x + 0.5f) / scale, ((float)y + 0.5f) / scale, *p);
            }
    }
}
