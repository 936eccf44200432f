// Draws a picture's scene.
#include "train/render/scene.h"

#include <math.h>

#define STREAM_SCENE  2
#define STREAM_TARGET 3

#define EYE_YAW_MAX_DEG    36.0
#define EYE_PITCH_UP_DEG   (22.0 + (double)EYE_PRIMARY_DEG)
#define EYE_PITCH_DOWN_DEG (27.0 - (double)EYE_PRIMARY_DEG)
// People hold their heads lower before a camera than the model's.
#define HEAD_PITCH_DEG -(double)EYE_PRIMARY_DEG

struct mat3 scene_look_rotation(struct vec3 point_mm)
{
    struct vec3 f = vec3_unit(point_mm), axis = vec3_make(-f.y, f.x, 0);
    double s = vec3_length(axis), angle = atan2(s, f.z);

    return s > 1e-9 ? rotation_from_vector(vec3_scale(axis, angle / s)) : mat3_identity();
}

// Dense near the front, a long tail, a few anywhere; within +-limit.
static double draw_angle(struct rng *rng, double narrow_sd, double wide_sd, double limit)
{
    float kind = rng_unit(rng);

    for (int tries = 0; tries < 8; tries++) {
        double x = kind < 0.55f   ? narrow_sd * (double)rng_normal(rng)
                   : kind < 0.85f ? wide_sd * (double)rng_normal(rng)
                                  : limit * (double)rng_uniform(rng, -1, 1);
        if (fabs(x) <= limit)
            return x;
    }
    return 0;
}

static double draw_pitch(struct rng *rng, double limit)
{
    double centre = fmax(HEAD_PITCH_DEG, -limit / 4);
    return centre + draw_angle(rng, 9, 15, limit + centre);
}

static void draw_place(struct rng *rng, struct scene *s)
{
    double distance = (double)rng_log_uniform(rng, 300, 1500);
    double ax = 9 * (double)rng_normal(rng), ay = 6 * (double)rng_normal(rng);

    ax = fmax(-24, fmin(24, ax));
    ay = fmax(-18, fmin(18, ay));
    s->face_mm = vec3_scale(vec3_unit(vec3_make(tan(rad_from_deg(ax)), tan(rad_from_deg(ay)), 1)), distance);
    s->box_share = rng_chance(rng, 0.85f) ? rng_uniform(rng, 0.45f, 0.75f) : rng_uniform(rng, 0.25f, 0.45f);
    s->box_x = 0.5f + (1 - s->box_share) * 0.22f * clampf(rng_normal(rng), -2, 2);
    s->box_y = 0.5f + (1 - s->box_share) * 0.22f * clampf(rng_normal(rng), -2, 2);
}

static void draw_spoil(struct rng *rng, struct degradation *d)
{
    *d = (struct degradation){.resample = 1, .gamma = 1, .contrast = 1, .white = {1, 1, 1}};
    if (rng_chance(rng, 0.7f))
        d->resample = rng_uniform(rng, 0.38f, 1.0f);
    d->blur_px = rng_chance(rng, 0.8f) ? rng_log_uniform(rng, 0.2f, 1.6f) : 0;
    d->noise = rng_chance(rng, 0.8f) ? rng_log_uniform(rng, 0.5f, 10) : 0.3f;
    d->grain = rng_chance(rng, 0.2f) ? rng_uniform(rng, 0, 8) : 0;
    d->gamma = expf(0.2f * rng_normal(rng));
    d->contrast = clampf(1 + 0.15f * rng_normal(rng), 0.6f, 1.4f);
    d->brightness = 0.05f * rng_normal(rng);
    if (rng_chance(rng, 0.3f)) {
        d->gradient = rng_uniform(rng, 0.1f, 0.6f);
        d->gradient_turn = rng_uniform(rng, 0, 6.2832f);
    }
    if (rng_chance(rng, 0.08f)) {
        d->glare = rng_uniform(rng, 0.15f, 0.6f);
        d->glare_x = rng_unit(rng);
        d->glare_y = rng_unit(rng);
        d->glare_r = rng_uniform(rng, 0.08f, 0.5f);
    }
    for (int c = 0; c < 3; c += 2)
        d->white[c] = expf(0.08f * rng_normal(rng));
    d->quality = 40 + rng_below(rng, 56);
    d->first_quality = rng_chance(rng, 0.25f) ? 30 + rng_below(rng, 60) : 0;
    d->infrared = rng_chance(rng, 0.06f);
    d->grey = d->infrared || rng_chance(rng, 0.14f);
}

static void draw_lids(struct rng *rng, const struct person *p, struct scene *s)
{
    int blink = expression_au_index(45);

    s->lids.rest = clampf(p->lid_rest + 0.05f * rng_normal(rng), -0.2f, 0.4f);
    s->lids.gain = clampf(1 + 0.2f * rng_normal(rng), 0.4f, 1.6f);
    for (int side = 0; side < 2; side++)
        s->lids.blink[side] = s->expression.au[blink][side] / 5.0f;
}

void scene_draw(uint64_t seed, uint64_t index, const struct person *p, const struct scene_limits *limits,
                struct scene *ret_scene)
{
    struct rng rng = rng_make(seed, STREAM_SCENE, index);
    struct scene s = {.index = index};
    struct mat3 relative, look;
    struct vec3 toward;

    expression_draw(&rng, &s.expression);
    draw_lids(&rng, p, &s);
    draw_place(&rng, &s);
    s.relative.yaw_rad = rad_from_deg(draw_angle(&rng, 14, 28, limits->max_yaw_deg));
    s.relative.pitch_rad = rad_from_deg(draw_pitch(&rng, limits->max_pitch_deg));
    s.relative.roll_rad = rad_from_deg(draw_angle(&rng, 5, 10, limits->max_roll_deg));
    relative = rotation_from_head_angles(s.relative);
    look = scene_look_rotation(s.face_mm);
    s.head = mat3_mul(&look, &relative);
    draw_spoil(&rng, &s.spoil);
    toward = vec3_scale(vec3_unit(s.face_mm), -1);
    lighting_draw(&rng, v3_make((float)toward.x, (float)toward.y, (float)toward.z),
                  0.3f * p->skin.x + 0.6f * p->skin.y + 0.1f * p->skin.z, s.spoil.infrared, &s.lighting);
    s.pupil_cm = clampf(rng_uniform(&rng, 0.11f, 0.30f) + p->pupil_bias, 0.09f, 0.33f);
    s.glasses = p->glasses == GLASSES_ALWAYS || (p->glasses == GLASSES_SOMETIMES && rng_chance(&rng, 0.5f));
    *ret_scene = s;
}

// A direction in the head's frame, at the eye's limits at most.
static struct angles limit_eye(struct rng *rng, struct angles a)
{
    double slack = (double)rng_uniform(rng, 0.75f, 1.0f), yaw = rad_from_deg(EYE_YAW_MAX_DEG);
    double up = rad_from_deg(EYE_PITCH_UP_DEG), down = -rad_from_deg(EYE_PITCH_DOWN_DEG);

    if (a.yaw_rad > yaw || a.yaw_rad < -yaw)
        a.yaw_rad = copysign(yaw * slack, a.yaw_rad);
    if (a.pitch_rad > up)
        a.pitch_rad = up * slack;
    if (a.pitch_rad < down)
        a.pitch_rad = down * slack;
    return a;
}

struct vec3 scene_draw_target(uint64_t seed, uint64_t index, const struct mat3 *head, struct vec3 origin_mm)
{
    struct rng rng = rng_make(seed, STREAM_TARGET, index);
    float kind = rng_unit(&rng);
    double distance = vec3_length(origin_mm), reach;
    struct vec3 direction;
    struct angles a;

    if (kind < 0.10f) { // the lens itself
        direction = vec3_scale(origin_mm, -1 / distance);
        reach = distance;
    } else if (kind < 0.50f) { // about the camera: a screen
        struct mat3 look = scene_look_rotation(origin_mm);
        a = (struct angles){rad_from_deg(-3 + 11 * (double)rng_normal(&rng)),
                            rad_from_deg(14 * (double)rng_normal(&rng))};
        direction = gaze_from_angles(a);
        direction = mat3_apply(&look, direction);
        reach = distance * (double)rng_uniform(&rng, 0.7f, 1.3f);
    } else { // anywhere the eyes turn
        int wide = rng_chance(&rng, 0.25f);
        a.yaw_rad = rad_from_deg(wide ? (double)rng_uniform(&rng, -36, 36) : 15 * (double)rng_normal(&rng));
        a.pitch_rad = rad_from_deg(wide ? (double)rng_uniform(&rng, -20, 32)
                                        : (double)EYE_PRIMARY_DEG + 11 * (double)rng_normal(&rng));
        direction = mat3_apply(head, gaze_from_angles(a));
        reach = (double)rng_log_uniform(&rng, 250, 3000);
    }
    a = limit_eye(&rng, gaze_to_angles(mat3_apply_transposed(head, direction)));
    direction = mat3_apply(head, gaze_from_angles(a));
    return vec3_add(origin_mm, vec3_scale(direction, reach));
}
