// Paints a person's skin and hair.
#include "train/render/skin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GLOSS_SKIN 0.10f
#define GLOSS_HAIR 0.05f
#define GLOSS_LIP  0.22f

int skin_init(struct skin *skin)
{
    memset(skin, 0, sizeof(*skin));
    skin->face = calloc((size_t)SKIN_FACE_SIDE * SKIN_FACE_SIDE, sizeof(*skin->face));
    skin->scalp = calloc((size_t)SKIN_SCALP_SIDE * SKIN_SCALP_SIDE, sizeof(*skin->scalp));
    if (skin->face && skin->scalp)
        return 0;
    skin_free(skin);
    return -ENOMEM;
}

void skin_free(struct skin *skin)
{
    free(skin->face);
    free(skin->scalp);
    memset(skin, 0, sizeof(*skin));
}

// Height of the hairline at this place of the forehead.
static float hairline_at(const struct person *p, v3 pos)
{
    float ax = fabsf(pos.x), line = p->hairline - p->temples * ax * ax;

    line += p->recede * smoothstepf(1.0f, 4.2f, ax) * smoothstepf(7.5f, 5.5f, ax);
    line += p->sweep * pos.x - p->peak * expf(-pos.x * pos.x / 1.5f);
    return line + 0.18f * sinf(1.7f * pos.x + p->noise_at[0]) + 0.10f * sinf(5.3f * pos.x + p->noise_at[1]) +
           0.06f * sinf(13.1f * pos.x + p->noise_at[2]);
}

float skin_hair_at(const struct person *p, v3 pos)
{
    float ax = fabsf(pos.x), line = hairline_at(p, pos), nape = -4.5f - 9.5f * p->hair_long;
    float ear = smoothstepf(7.55f, 7.8f, ax) * smoothstepf(5.0f, 4.4f, pos.y) * smoothstepf(-3.2f, -2.2f, pos.z);
    float ragged = 0.25f * sinf(2.9f * pos.y + p->noise_at[3]) + 0.12f * sinf(8.3f * pos.y + p->noise_at[0]);
    float top = smoothstepf(line - 0.2f, line + 0.45f, pos.y);
    float side = smoothstepf(p->hair_side + 0.4f, p->hair_side - 0.4f, pos.z + ragged) * smoothstepf(0.6f, 2.2f, pos.y);
    float behind = -1.0f + 2.2f * p->hair_long * smoothstepf(1, -2, pos.y);
    float back =
        smoothstepf(behind + 0.5f, behind - 0.5f, pos.z + ragged) * smoothstepf(nape - 0.8f, nape + 0.8f, pos.y);
    float bald = p->baldness * smoothstepf(6.5f, 9.5f, pos.y);

    return maxf(maxf(top, side), back) * (1 - ear * (1 - p->hair_cover)) * (1 - bald);
}

static float beard_at(const struct person *p, const struct skin_texel *x)
{
    v3 q = x->pos;
    float ax = fabsf(q.x), jaw, chin, lip;

    if (p->beard == BEARD_NONE || q.y > 1.0f || q.z < 1.0f)
        return 0;
    jaw = smoothstepf(-0.3f, -2.2f, q.y - 0.42f * (ax - 5.0f)) *
          smoothstepf(2.4f, 3.4f, ax + 0.4f * maxf(0, -3.6f - q.y));
    chin = smoothstepf(-4.9f, -5.5f, q.y) * smoothstepf(4.2f, 2.8f, ax);
    lip = smoothstepf(-2.9f, -2.5f, q.y + 0.12f * ax) * smoothstepf(-1.15f, -1.45f, q.y) * smoothstepf(3.0f, 2.4f, ax) *
          smoothstepf(8, 9, q.z);
    lip =
        maxf(lip, smoothstepf(0.7f, 0.2f, fabsf(ax - 3.0f)) * smoothstepf(-1.6f, -2.6f, q.y) * smoothstepf(8, 9, q.z));
    jaw *= smoothstepf(-10.5f, -8.0f, q.y);
    switch (p->beard) {
    case BEARD_MOUSTACHE:
        return lip;
    case BEARD_CHIN:
        return maxf(lip, chin * smoothstepf(-9.5f, -8.0f, q.y));
    default:
        return maxf(maxf(lip, jaw), chin * smoothstepf(-9.5f, -8.0f, q.y));
    }
}

// Lines of age: forehead, frown, crow's feet, mouth folds; 0..1 darkness.
static float wrinkle_at(const struct skin_atlas *atlas, const struct person *p, const struct skin_texel *x)
{
    v3 q = x->pos;
    float ax = fabsf(q.x), wave = skin_noise(atlas, x->around * 0.35f + p->noise_at[0], q.y * 0.3f), sum = 0;

    if (q.z < 5)
        return 0;
    if (q.y > 6.6f && q.y < 9.2f)
        sum += powf(0.5f + 0.5f * sinf(7.0f * q.y + 2.5f * wave + p->noise_at[1]), 6) * smoothstepf(5, 3, ax) * 0.7f;
    if (q.y > 4.2f && q.y < 6.8f)
        sum += 0.6f * smoothstepf(0.12f, 0, fabsf(ax - 0.6f - 0.1f * wave)) * smoothstepf(4.2f, 5.2f, q.y) *
               smoothstepf(6.8f, 6.0f, q.y);
    if (ax > 5.0f && ax < 6.6f && q.y > 2.2f && q.y < 4.6f)
        sum += 0.5f * powf(0.5f + 0.5f * sinf(9 * (q.y - 0.45f * (ax - 5) * (q.y - 3.4f)) + 2 * wave), 4) *
               smoothstepf(5.0f, 5.4f, ax) * smoothstepf(6.6f, 6.0f, ax);
    if (q.y < 0.2f && q.y > -4.2f) {
        float fold = 1.75f + 0.42f * (0.2f - q.y) + 0.1f * wave;
        sum += smoothstepf(0.28f, 0, fabsf(ax - fold)) * smoothstepf(0.2f, -0.8f, q.y) * smoothstepf(-4.2f, -2.8f, q.y);
    }
    return clampf(sum, 0, 1);
}

static v3 skin_colour(const struct skin_atlas *atlas, const struct person *p, const struct skin_texel *x)
{
    float u = x->around, v = x->pos.y, ax = fabsf(x->pos.x), red, level, spot, mole;
    float n1 = skin_noise(atlas, 0.45f * u + p->noise_at[0], 0.45f * v + p->noise_at[1]);
    float n2 = skin_noise(atlas, 1.3f * u + p->noise_at[2], 1.3f * v + p->noise_at[3]);
    float n3 = skin_noise(atlas, 5.1f * u + p->noise_at[1], 5.1f * v + p->noise_at[2]);
    v3 c = p->skin;

    level = 1 + p->blotch * (0.07f * n1 + 0.05f * n2 + 0.04f * n3);
    red = p->redness * (expf(-((ax - 4.2f) * (ax - 4.2f) + (v + 0.3f) * (v + 0.3f)) * 0.22f) +
                        (x->pos.z > 11.8f ? 0.7f : 0) + 0.4f * n2);
    c = v3_make(c.x * level, c.y * level * (1 - 0.22f * red), c.z * level * (1 - 0.20f * red));
    spot = skin_noise(atlas, 5.7f * u + p->noise_at[3], 5.7f * v + p->noise_at[0]);
    if (p->freckles > 0)
        c = v3_mul(c, 1 - 0.35f * p->freckles * smoothstepf(0.7f, 1.1f, spot) * smoothstepf(-4, 0, v));
    mole = skin_noise(atlas, 1.9f * u + p->noise_at[1], 1.9f * v + p->noise_at[3]);
    if (p->moles > 0)
        c = v3_mul(c, 1 - 0.6f * p->moles * smoothstepf(1.5f, 1.62f, mole));
    if (x->eye < 3 && v < 3.4f)
        c = v3_tint(c, v3_mix(v3_make(1, 1, 1), v3_make(.70f, .62f, .66f),
                              p->dark_circles * smoothstepf(1.3f, 0.3f, fabsf(x->eye - 0.5f))));
    if (x->eye < 0.25f) // the wet, pink rim
        c = v3_tint(c, v3_mix(v3_make(1, 1, 1), v3_make(.95f, .72f, .70f), smoothstepf(0.25f, 0, x->eye)));
    c = v3_mul(c, 1 - 0.32f * p->wrinkles * wrinkle_at(atlas, p, x));
    return c;
}

static float brow_at(const struct skin_atlas *atlas, const struct person *p, const struct skin_texel *x)
{
    float across, along = x->brow_along, hair;

    if (x->brow > 20)
        return 0;
    across = fabsf(x->brow - p->brow_lift) / (p->brow_width * (1.25f - 0.6f * along * along));
    hair = 0.85f + 0.35f * skin_noise(atlas, 5 * x->around + 4 * x->pos.y, 3 * x->pos.y - 2 * x->around);
    return p->brow_density * smoothstepf(1.3f, 0.45f, across) * clampf(hair, 0.4f, 1) *
           smoothstepf(-0.02f, 0.12f, along) * smoothstepf(1.0f, 0.85f, along);
}

static void put(uint8_t texel[4], v3 c, float gloss)
{
    texel[0] = (uint8_t)(255 * sqrtf(clampf(c.x, 0, 1)));
    texel[1] = (uint8_t)(255 * sqrtf(clampf(c.y, 0, 1)));
    texel[2] = (uint8_t)(255 * sqrtf(clampf(c.z, 0, 1)));
    texel[3] = (uint8_t)(255 * clampf(gloss, 0, 1));
}

static void paint_texel(const struct skin_atlas *atlas, const struct person *p, const struct skin_texel *x,
                        uint8_t texel[4])
{
    v3 c = skin_colour(atlas, p, x), q = x->pos;
    float gloss = GLOSS_SKIN * p->gloss * (1 + 0.5f * skin_noise(atlas, 4 * x->around, 4 * q.y));
    float hair = skin_hair_at(p, q), strand, beard, cloth;

    c = v3_mix(c, p->lip, 0.85f * x->lip);
    gloss += (GLOSS_LIP - gloss) * x->lip * 0.7f;
    beard = beard_at(p, x) * (1 - x->lip);
    if (beard > 0) {
        float n = skin_noise(atlas, 8 * x->around + 11, 6 * q.y) * 0.5f + 0.6f;
        c = v3_mix(c, v3_mix(p->brow, v3_mul(p->skin, 0.3f), p->beard == BEARD_STUBBLE ? 0.6f : 0.1f),
                   clampf(beard * p->beard_density * clampf(n, 0.3f, 1.1f), 0, 0.95f));
        gloss *= 1 - 0.6f * beard;
    }
    c = v3_mix(c, p->brow, clampf(brow_at(atlas, p, x), 0, 0.92f));
    if (p->eyeliner > 0 && x->eye < 0.3f)
        c = v3_mul(c, 1 - p->eyeliner * 0.8f * smoothstepf(0.22f, 0.02f, x->eye));
    if (hair > 0) {
        strand =
            1 + p->hair_grain * (0.30f * skin_noise(atlas, 3.5f * x->around + p->noise_at[2], 0.5f * q.y + 0.3f * q.z) +
                                 0.2f * skin_noise(atlas, 1.1f * x->around, 0.25f * q.y + p->noise_at[3]));
        c = v3_mix(c, v3_mul(p->hair, maxf(0.2f, strand)), hair);
        gloss += (GLOSS_HAIR * p->hair_grain - gloss) * hair;
    }
    cloth = smoothstepf(p->cloth_line + 0.1f, p->cloth_line - 0.1f, q.y + 0.12f * q.z - 0.25f * fabsf(q.x));
    c = v3_mix(c, p->cloth, cloth);
    put(texel, c, gloss * (1 - cloth));
}

void skin_paint(const struct skin_atlas *atlas, const struct person *p, struct skin *skin)
{
    for (size_t i = 0; i < atlas->face.count; i++)
        paint_texel(atlas, p, &atlas->face.texel[i], skin->face[atlas->face.texel[i].at]);
    for (size_t i = 0; i < atlas->scalp.count; i++)
        paint_texel(atlas, p, &atlas->scalp.texel[i], skin->scalp[atlas->scalp.texel[i].at]);
    skin->level = 0.3f * p->skin.x + 0.6f * p->skin.y + 0.1f * p->skin.z;
}
