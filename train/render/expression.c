// Expressions as FACS action units. The table is the data set's AU map; the company that units keep is from the
// prototypes of the FACS investigator's guide (Ekman, Friesen, Hager 2002), loosened by chance.
#include "train/render/expression.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const int expression_au_number[EXPRESSION_AUS] = {1,  2,  4,  5,  6,  7,  9,  10, 12, 14, 15, 16,
                                                  17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 33, 45};

// Weight of a shape at intensity 5. A name that ends in '_' has two sides.
static const struct {
    int au;
    const char *shape;
    float weight;
} au_shapes[] = {
    {1, "browInnerUp_", 0.9f},     {2, "browOuterUp_", 0.9f},    {4, "browDown_", 1.0f},
    {5, "eyeWide_", 1.0f},         {6, "cheekSquint_", 1.0f},    {7, "eyeSquint_", 1.0f},
    {9, "noseSneer_", 1.0f},       {10, "mouthUpperUp_", 0.9f},  {12, "mouthSmile_", 1.0f},
    {14, "mouthDimple_", 1.0f},    {15, "mouthFrown_", 1.0f},    {16, "mouthLowerDown_", 0.9f},
    {17, "mouthShrugLower", 1.0f}, {18, "mouthPucker", 0.9f},    {20, "mouthStretch_", 1.0f},
    {22, "mouthFunnel", 0.9f},     {23, "mouthPress_", 0.4f},    {23, "mouthRollLower", 0.4f},
    {23, "mouthRollUpper", 0.4f},  {24, "mouthPress_", 1.0f},    {25, "mouthLowerDown_", 0.3f},
    {25, "mouthUpperUp_", 0.2f},   {25, "jawOpen", 0.08f},       {26, "jawOpen", 0.4f},
    {27, "jawOpen", 1.0f},         {28, "mouthRollLower", 0.9f}, {28, "mouthRollUpper", 0.9f},
    {33, "cheekPuff_", 0.9f},      {45, "eyeBlink_", 1.0f},
};

// Units of a family with their usual intensity and how often they take part.
struct member {
    int au;
    float intensity, chance;
};

#define FAMILY_MAX 7
static const struct {
    float share;
    struct member member[FAMILY_MAX];
} families[] = {
    {.26f, {{25, 1.0f, .25f}, {26, .8f, .12f}, {4, 1.0f, .2f}, {7, 1.0f, .25f}, {17, .8f, .12f}}},              // rest
    {.20f, {{12, 3.0f, 1}, {6, 2.5f, .7f}, {25, 3.0f, .6f}, {7, 1.5f, .3f}, {14, 1.0f, .2f}, {10, 1.5f, .2f}}}, // joy
    {.08f, {{1, 3.0f, .9f}, {2, 3.0f, .9f}, {5, 2.5f, .7f}, {26, 3.0f, .6f}, {25, 2.5f, .6f}, {27, 2.5f, .12f}}},
    {.07f, {{4, 3.0f, 1}, {5, 1.5f, .4f}, {7, 2.5f, .7f}, {23, 2.5f, .5f}, {24, 2.5f, .4f}, {10, 1.5f, .2f}}}, // anger
    {.06f, {{1, 2.5f, .9f}, {4, 2.0f, .6f}, {15, 2.5f, .8f}, {17, 2.5f, .6f}, {7, 1.0f, .2f}}},                // sorrow
    {.05f, {{9, 2.5f, .8f}, {10, 2.5f, .8f}, {17, 1.5f, .4f}, {4, 1.5f, .4f}, {16, 1.5f, .3f}, {6, 1.0f, .3f}}},
    {.10f, {{25, 3.0f, .9f}, {26, 2.5f, .7f}, {16, 1.5f, .4f}, {18, 2.5f, .3f}, {20, 2.0f, .3f}, {22, 2.5f, .3f}}},
    {.07f, {{4, 2.0f, .7f}, {7, 2.5f, .9f}, {24, 1.0f, .3f}, {23, 1.0f, .2f}, {1, 1.0f, .2f}}}, // effort, bright light
};

// The remaining pictures (11 %) are a free mix of this many units.
#define FREE_UNITS 3

int expression_au_index(int number)
{
    for (int i = 0; i < EXPRESSION_AUS; i++)
        if (expression_au_number[i] == number)
            return i;
    return -1;
}

static int has_sides(int number)
{
    static const int whole[] = {17, 18, 22, 26, 27, 28};
    for (size_t i = 0; i < sizeof(whole) / sizeof(*whole); i++)
        if (whole[i] == number)
            return 0;
    return 1;
}

static void set_unit(struct rng *rng, struct expression *e, int number, float intensity)
{
    int i = expression_au_index(number);
    float tilt = 0.12f * rng_normal(rng), one_sided = rng_unit(rng);

    intensity = clampf(intensity, 0, 5);
    e->au[i][0] = e->au[i][1] = intensity;
    if (!has_sides(number))
        return;
    e->au[i][0] = clampf(intensity * (1 + tilt), 0, 5);
    e->au[i][1] = clampf(intensity * (1 - tilt), 0, 5);
    if (one_sided < 0.04f)
        e->au[i][0] *= 0.25f;
    else if (one_sided < 0.08f)
        e->au[i][1] *= 0.25f;
}

static void draw_blink(struct rng *rng, struct expression *e)
{
    int i = expression_au_index(45);
    float kind = rng_unit(rng), depth = 0;

    if (kind < 0.04f)
        depth = rng_uniform(rng, 4.4f, 5.0f);
    else if (kind < 0.16f)
        depth = rng_uniform(rng, 0.4f, 4.4f);
    e->au[i][0] = clampf(depth * (1 + 0.06f * rng_normal(rng)), 0, 5);
    e->au[i][1] = clampf(depth * (1 + 0.06f * rng_normal(rng)), 0, 5);
    if (kind < 0.008f) { // a wink
        int side = rng_below(rng, 2);
        e->au[i][side] = rng_uniform(rng, 0, 0.8f);
    }
}

void expression_draw(struct rng *rng, struct expression *ret_expression)
{
    size_t count = sizeof(families) / sizeof(*families), f = 0;
    float pick = rng_unit(rng), strength = powf(rng_unit(rng), 0.9f) * 1.5f;
    struct expression e = {0};

    while (f < count && pick >= families[f].share)
        pick -= families[f++].share;
    if (f < count) {
        for (int m = 0; m < FAMILY_MAX && families[f].member[m].au; m++) {
            const struct member *u = &families[f].member[m];
            if (rng_chance(rng, u->chance))
                set_unit(rng, &e, u->au, u->intensity * strength * (1 + 0.35f * rng_normal(rng)));
        }
    } else {
        for (int n = 0; n < FREE_UNITS; n++) {
            int unit = rng_below(rng, EXPRESSION_AUS - 1);
            set_unit(rng, &e, expression_au_number[unit], rng_uniform(rng, 0.5f, 4));
        }
    }
    // lids and cheeks are narrowed now and then whatever the face does (sun, screens)
    if (rng_chance(rng, 0.4f)) {
        int seven = expression_au_index(7);
        float more = rng_uniform(rng, 0.3f, 3.6f);
        for (int side = 0; side < 2; side++)
            e.au[seven][side] = maxf(e.au[seven][side], clampf(more * (1 + 0.08f * rng_normal(rng)), 0, 5));
    }
    draw_blink(rng, &e);
    *ret_expression = e;
}

int expression_weights(const struct facekit *kit, const struct expression *e, float weights[FK_EXPRESSIONS])
{
    for (size_t s = 0; s < sizeof(au_shapes) / sizeof(*au_shapes); s++) {
        const char *shape = au_shapes[s].shape;
        const float *au = e->au[expression_au_index(au_shapes[s].au)];
        int sided = shape[strlen(shape) - 1] == '_';

        for (int side = 0; side < 1 + sided; side++) {
            char name[32];
            int i;
            snprintf(name, sizeof(name), "%s%s", shape, !sided ? "" : side ? "L" : "R");
            i = facekit_expression(kit, name);
            if (i < 0)
                return i;
            weights[i] = clampf(weights[i] + au_shapes[s].weight * au[side] / 5.0f, 0, 1);
        }
    }
    return 0;
}

void expression_from_weights(const struct facekit *kit, const float weights[FK_EXPRESSIONS],
                             struct expression *ret_expression)
{
    struct expression e = {0};
    uint64_t taken = 0;

    for (size_t s = 0; s < sizeof(au_shapes) / sizeof(*au_shapes); s++) {
        const char *shape = au_shapes[s].shape;
        float *au = e.au[expression_au_index(au_shapes[s].au)];
        int sided = shape[strlen(shape) - 1] == '_', i = -1;

        for (int side = 0; side < 2; side++) {
            char name[32];
            snprintf(name, sizeof(name), "%s%s", shape, !sided ? "" : side ? "L" : "R");
            i = facekit_expression(kit, name);
            if (i >= 0 && !(taken >> i & 1) && au[side] == 0)
                au[side] = clampf(5 * weights[i] / au_shapes[s].weight, 0, 5);
        }
        if (i >= 0)
            taken |= 1ull << i;
    }
    *ret_expression = e;
}
