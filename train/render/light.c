// Lighting: Lambert with a soft terminator, shadows from the vertices' own visibility, and a Blinn-Phong gloss.
#include "train/render/light.h"

#define WRAP 0.15f
// A vertex turned away further than this has no triangle that faces the camera.
#define AWAY -0.5f
// Small lamps are no brighter than this.
#define LAMP_BRIGHTEST 660.0f

static v3 warm(struct rng *rng, float strength)
{
    float w = rng_uniform(rng, -0.18f, 0.22f);
    return v3_make(strength * (1 + w), strength, strength * (1 - w));
}

static v3 direction_about(struct rng *rng, v3 axis, float spread_deg)
{
    v3 d = rng_normal3(rng);
    return v3_unit(v3_mad(v3_unit(axis), d, tanf(spread_deg * 0.01745f) / 1.6f));
}

void lighting_draw(struct rng *rng, v3 facing, float skin_level, int infrared, struct lighting *ret_lighting)
{
    struct lighting l = {0};
    float ambient = rng_uniform(rng, 0.15f, 0.9f), total;
    v3 above = v3_add(facing, v3_make(0, -0.8f, 0));

    l.count = 1 + rng_below(rng, LIGHTS_MAX);
    for (int i = 0; i < l.count; i++) {
        struct light *x = &l.light[i];
        x->direction = direction_about(rng, i == 0 ? above : facing, i == 0 ? 35 : 60);
        x->colour = warm(rng, i == 0 ? rng_uniform(rng, 0.4f, 1.3f) : rng_log_uniform(rng, 0.08f, 0.8f));
        x->square = rng_chance(rng, 0.5f);
        x->size = x->square ? rng_uniform(rng, 0.06f, 0.3f) : rng_uniform(rng, 0.03f, 0.1f);
    }
    if (infrared) {
        l.count = 1 + rng_below(rng, 2);
        for (int i = 0; i < l.count; i++)
            l.light[i] = (struct light){direction_about(rng, facing, 8), v3_make(1, 1, 1), 0.03f, 0};
        ambient = rng_uniform(rng, 0.05f, 0.3f);
    }
    l.sky_up = direction_about(rng, v3_make(0, -1, -0.2f), 30);
    l.sky = warm(rng, ambient);
    l.ground = warm(rng, ambient);
    l.ground = v3_mul(l.ground, rng_uniform(rng, 0.3f, 0.9f));
    total = v3_dot(lighting_irradiance(&l, facing), v3_make(.33f, .34f, .33f));
    l.exposure = rng_log_uniform(rng, 0.26f, 0.5f) / (maxf(total, 0.05f) * powf(skin_level, 0.6f) * powf(0.3f, 0.4f));
    *ret_lighting = l;
}

static float lambert(float cosine)
{
    return maxf(0, (cosine + WRAP) / (1 + WRAP));
}

// Blinn and Phong's lobe: cosine of the half angle to the 18th.
static float lobe(float half)
{
    float h2 = half * half, h4 = h2 * h2, h8 = h4 * h4;
    return h8 * h8 * h2;
}

static v3 ambient_at(const struct lighting *l, v3 normal)
{
    return v3_mix(l->ground, l->sky, 0.5f + 0.5f * v3_dot(normal, l->sky_up));
}

v3 lighting_irradiance(const struct lighting *l, v3 normal)
{
    v3 sum = ambient_at(l, normal);
    for (int i = 0; i < l->count; i++)
        sum = v3_mad(sum, l->light[i].colour, lambert(v3_dot(normal, l->light[i].direction)));
    return sum;
}

void lighting_shade(const struct lighting *l, const struct head *head, const v3 *normal, const v3 *position,
                    const float to_camera[9], struct shade *ret_shade)
{
    const float *m = to_camera;
    v3 local[LIGHTS_MAX], up;
    float sh[LIGHTS_MAX][HEAD_SH];

    for (int i = 0; i < l->count; i++) {
        v3 d = l->light[i].direction;
        local[i] = v3_make(m[0] * d.x + m[3] * d.y + m[6] * d.z, m[1] * d.x + m[4] * d.y + m[7] * d.z,
                           m[2] * d.x + m[5] * d.y + m[8] * d.z);
        head_sh(local[i], sh[i]);
    }
    up = v3_make(m[0] * l->sky_up.x + m[3] * l->sky_up.y + m[6] * l->sky_up.z,
                 m[1] * l->sky_up.x + m[4] * l->sky_up.y + m[7] * l->sky_up.z,
                 m[2] * l->sky_up.x + m[5] * l->sky_up.y + m[8] * l->sky_up.z);
    for (uint32_t v = 0; v < head->vertices; v++) {
        v3 n = normal[v], p = position[v], sum, view;
        float gloss = 0, open = head->open[v];

        view = v3_make(-(m[0] * p.x + m[3] * p.y + m[6] * p.z), -(m[1] * p.x + m[4] * p.y + m[7] * p.z),
                       -(m[2] * p.x + m[5] * p.y + m[8] * p.z));
        view = v3_mul(view, 1 / v3_length(view));
        if (v3_dot(n, view) < AWAY) {
            ret_shade[v] = (struct shade){0};
            continue;
        }
        sum = v3_mul(v3_mix(l->ground, l->sky, 0.5f + 0.5f * v3_dot(n, up)), 0.08f + 0.92f * open);
        for (int i = 0; i < l->count; i++) {
            const float *c = head->visibility[v];
            float cosine = v3_dot(n, local[i]), light = lambert(cosine), seen = 0, half;
            if (light <= 0)
                continue;
            for (int k = 0; k < HEAD_SH; k++)
                seen += c[k] * sh[i][k];
            seen = smoothstepf(0.15f, 0.85f, seen);
            sum = v3_mad(sum, l->light[i].colour, light * (0.06f + 0.94f * seen));
            half = maxf(0, v3_dot(n, v3_unit(v3_add(local[i], view))));
            gloss += l->light[i].colour.y * seen * maxf(0, cosine) * lobe(half);
        }
        ret_shade[v] = (struct shade){sum.x, sum.y, sum.z, gloss};
    }
}

v3 lighting_reflection(const struct lighting *l, v3 direction, float lamp)
{
    v3 sum = v3_mul(ambient_at(l, direction), 0.35f);

    for (int i = 0; i < l->count; i++) {
        const struct light *x = &l->light[i];
        float cosine = v3_dot(direction, x->direction), inside;
        if (cosine < 0.5f)
            continue;
        if (x->square) {
            v3 side = v3_unit(v3_cross(x->direction, v3_make(0.05f, 1, 0)));
            v3 up = v3_cross(side, x->direction);
            float u = fabsf(v3_dot(direction, side)), v = fabsf(v3_dot(direction, up));
            inside = smoothstepf(1.1f * x->size, 0.9f * x->size, u) * smoothstepf(0.8f * x->size, 0.65f * x->size, v);
        } else {
            inside = smoothstepf(1.2f * x->size, 0.8f * x->size, sqrtf(maxf(0, 2 - 2 * cosine)));
        }
        sum = v3_mad(sum, x->colour, inside * clampf(lamp / (x->size * x->size), 2, LAMP_BRIGHTEST * lamp));
    }
    return sum;
}
