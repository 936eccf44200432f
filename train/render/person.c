// Draws a person: distributions wide enough for people of all tones and ages.
#include "train/render/person.h"

#include <string.h>

#define STREAM_PERSON 1
// Shrinks N(0, 1) identity weights: full strength gives too many odd heads.
#define IDENTITY_SCALE 0.8f

static v3 ramp(const v3 *colour, int count, float t)
{
    float at = clampf(t, 0, 1) * (float)(count - 1);
    int i = at >= (float)(count - 1) ? count - 2 : (int)at;
    return v3_mix(colour[i], colour[i + 1], at - (float)i);
}

static void draw_skin(struct rng *rng, struct person *p, float tone, float age)
{
    static const v3 tones[] = {{.68f, .47f, .37f},  {.60f, .39f, .28f},  {.50f, .30f, .20f},
                               {.36f, .20f, .125f}, {.22f, .115f, .07f}, {.105f, .055f, .036f}};
    v3 lip_shift = rng_uniform3(rng, v3_make(.72f, .50f, .55f), v3_make(.95f, .75f, .85f));

    p->skin = rng_jitter3(rng, ramp(tones, 6, tone), 0.06f, 0.06f, 0.06f);
    p->lip = v3_tint(p->skin, lip_shift);
    if (rng_chance(rng, 0.12f)) // lipstick
        p->lip = rng_uniform3(rng, v3_make(.2f, .03f, .04f), v3_make(.5f, .12f, .14f));
    p->redness = rng_uniform(rng, 0, 1) * (1 - 0.6f * tone);
    p->blotch = rng_uniform(rng, 0.3f, 1.3f);
    p->freckles = rng_chance(rng, 0.2f) ? rng_uniform(rng, 0.2f, 1) * (1 - tone) : 0;
    p->wrinkles = age * rng_uniform(rng, 0.5f, 1.2f);
    p->gloss = rng_uniform(rng, 0.3f, 1.5f);
    p->dark_circles = rng_uniform(rng, 0, 0.8f);
    p->moles = rng_chance(rng, 0.3f) ? rng_uniform(rng, 0.2f, 0.8f) : 0;
    for (int i = 0; i < 4; i++)
        p->noise_at[i] = rng_uniform(rng, 0, 64);
}

static void draw_hair(struct rng *rng, struct person *p, float tone, float age)
{
    static const v3 hairs[] = {{.012f, .010f, .009f}, {.03f, .02f, .014f}, {.07f, .042f, .024f},
                               {.16f, .095f, .05f},   {.34f, .23f, .12f},  {.46f, .34f, .2f}};
    float light = 0.15f * rng_unit(rng);

    light = clampf(light + (1.1f - tone) * powf(rng_unit(rng), 2.2f), 0, 1);

    p->hair = rng_jitter3(rng, ramp(hairs, 6, light), 0.12f, 0.12f, 0.12f);
    if (rng_chance(rng, 0.05f))
        p->hair = v3_make(.25f, .085f, .03f);
    p->brow = v3_mul(p->hair, rng_uniform(rng, 0.5f, 1));
    if (rng_unit(rng) < age * 0.7f) {
        float grey = rng_unit(rng), level = rng_uniform(rng, .25f, .6f);
        p->hair = v3_mix(p->hair, v3_make(level, level * .98f, level * .94f), grey);
        p->brow = v3_mix(p->brow, p->hair, 0.5f * rng_unit(rng));
    }
    p->hairline = rng_chance(rng, 0.3f) ? rng_uniform(rng, 7.0f, 8.6f) : rng_uniform(rng, 8.4f, 9.8f);
    p->temples = rng_uniform(rng, 0.0f, 0.035f);
    p->hair_side = rng_uniform(rng, 1.2f, 3.6f);
    p->hair_volume = rng_chance(rng, 0.25f) ? rng_uniform(rng, 0.05f, 0.3f) : rng_uniform(rng, 0.3f, 2.2f);
    p->baldness = rng_chance(rng, 0.12f) ? rng_uniform(rng, 0.5f, 1) : 0;
    p->hair_grain = rng_uniform(rng, 0.4f, 1.1f);
    p->recede = rng_chance(rng, 0.45f) ? rng_uniform(rng, 0.3f, 2.2f) : 0;
    p->peak = rng_chance(rng, 0.3f) ? rng_uniform(rng, 0.2f, 1.0f) : 0;
    p->sweep = rng_chance(rng, 0.5f) ? 0.22f * clampf(rng_normal(rng), -1.5f, 1.5f) : 0;
    p->hair_long = rng_chance(rng, 0.38f) ? rng_uniform(rng, 0.2f, 1) : 0;
    p->hair_cover = p->hair_long > 0 && rng_chance(rng, 0.6f) ? rng_uniform(rng, 0.5f, 1) : 0;
    p->brow_density = rng_uniform(rng, 0.3f, 1.0f);
    p->brow_width = rng_uniform(rng, 0.6f, 1.35f);
    p->brow_lift = 0.12f * rng_normal(rng);
}

static void draw_features(struct rng *rng, struct person *p)
{
    int man = rng_chance(rng, 0.5f);

    p->beard = man && rng_chance(rng, 0.6f) ? (enum person_beard)(1 + rng_below(rng, 4)) : BEARD_NONE;
    p->beard_density = p->beard == BEARD_STUBBLE ? rng_uniform(rng, 0.1f, 0.45f) : rng_uniform(rng, 0.5f, 0.95f);
    p->lash_density = man ? rng_uniform(rng, 0.2f, 0.7f) : rng_uniform(rng, 0.35f, 1.1f);
    p->eyeliner = !man && rng_chance(rng, 0.4f) ? rng_uniform(rng, 0.2f, 0.9f) : 0;
    p->cloth = rng_uniform3(rng, v3_make(-4.2f, -4.2f, -4.2f), v3_make(-.2f, -.2f, -.2f));
    p->cloth = v3_make(expf(p->cloth.x), expf(p->cloth.y), expf(p->cloth.z));
    p->cloth = v3_mix(p->cloth, v3_make(p->cloth.y, p->cloth.y, p->cloth.y), rng_unit(rng));
    p->cloth_line = rng_uniform(rng, -14.5f, -10.5f);
}

static void draw_eyes(struct rng *rng, struct person *p, float tone)
{
    static const v3 irises[] = {{.022f, .014f, .009f}, {.035f, .02f, .011f}, {.06f, .035f, .017f},
                                {.075f, .058f, .026f}, {.075f, .08f, .05f},  {.06f, .085f, .10f},
                                {.085f, .10f, .11f}};
    float light = clampf((1.1f - tone) * rng_unit(rng), 0, 1);
    float kappa = rng_uniform(rng, 0, 6), lift;

    p->ball_radius = 1.2f + 0.03f * clampf(rng_normal(rng), -2, 2);
    p->iris_radius = rng_uniform(rng, 0.56f, 0.62f);
    p->pupil_bias = rng_uniform(rng, -0.05f, 0.05f);
    p->limbus_width = rng_uniform(rng, 0.03f, 0.09f);
    p->temporal_shift[0] = p->temporal_shift[1] = rng_uniform(rng, 0.05f, 0.33f);
    lift = 0.025f * clampf(rng_normal(rng), -2, 2);
    p->iris = rng_jitter3(rng, ramp(irises, 7, light), 0.15f, 0.15f, 0.15f);
    p->iris_inner = v3_mix(p->iris, v3_make(.09f, .055f, .025f), 0.6f * rng_unit(rng));
    p->iris_grain = rng_uniform(rng, 0.1f, 0.5f);
    p->sclera = rng_uniform3(rng, v3_make(.46f, .41f, .38f), v3_make(.62f, .55f, .53f));
    for (int side = 0; side < 2; side++) {
        p->kappa_out_deg[side] = kappa + 0.5f * rng_normal(rng);
        p->kappa_up_deg[side] = rng_normal(rng);
        p->vertical_shift[side] = lift + rng_uniform(rng, -0.025f, 0.025f);
    }
    p->lid_rest = clampf(0.07f * rng_normal(rng), -0.15f, 0.15f);
    if (rng_chance(rng, 0.15f)) // narrow eyes
        p->lid_rest += rng_uniform(rng, 0.05f, 0.22f);
    if (rng_chance(rng, 0.3f))
        p->hood = rng_uniform(rng, 0.2f, 1);
}

static void draw_glasses(struct rng *rng, struct person *p)
{
    float dark = rng_log_uniform(rng, .01f, .5f);

    p->glasses = rng_chance(rng, 0.16f) ? GLASSES_ALWAYS : rng_chance(rng, 0.1f) ? GLASSES_SOMETIMES : GLASSES_NEVER;
    p->frame_width = rng_uniform(rng, 4.6f, 5.8f);
    p->frame_height = rng_uniform(rng, 2.8f, 4.8f);
    p->frame_round = rng_uniform(rng, 2, 6);
    p->frame_thick = rng_chance(rng, 0.4f) ? rng_uniform(rng, 0.05f, 0.1f) : rng_uniform(rng, 0.12f, 0.4f);
    p->frame_down = rng_uniform(rng, 0.0f, 0.6f);
    p->lens_tint = rng_chance(rng, 0.12f) ? rng_uniform(rng, 0.1f, 0.45f) : rng_uniform(rng, 0, 0.06f);
    p->frame = v3_mul(rng_jitter3(rng, v3_make(1, 0.9f, 0.8f), 0.3f, 0.3f, 0.3f), dark);
}

void person_draw(uint64_t seed, uint32_t id, struct person *ret_person)
{
    struct rng rng = rng_make(seed, STREAM_PERSON, id);
    float tone = rng_unit(&rng), age = rng_unit(&rng);

    memset(ret_person, 0, sizeof(*ret_person));
    ret_person->id = id;
    for (int i = 0; i < FK_IDENTITIES; i++)
        ret_person->identity[i] = IDENTITY_SCALE * clampf(rng_normal(&rng), -2.5f, 2.5f);
    draw_skin(&rng, ret_person, tone, age);
    draw_hair(&rng, ret_person, tone, age);
    draw_features(&rng, ret_person);
    draw_eyes(&rng, ret_person, tone);
    draw_glasses(&rng, ret_person);
}
