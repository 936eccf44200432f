// Simulates the person at a fixed small step: the head follows the gaze part of the way and wanders, the body sways.
#include "train/render/clip_motion.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "train/render/clip_gaze.h"

#define STREAM_MOTION 43
#define STEP_RATE_HZ  240.0
#define WAVES         3

#define HEAD_YAW_MAX_DEG   24.0
#define HEAD_PITCH_MAX_DEG 11.5
#define EYE_YAW_MAX_DEG    32.0
#define EYE_UP_MAX_DEG     18.0
#define EYE_DOWN_MAX_DEG   24.0
// Share of the gaze's angle that the head takes over, and how late (seconds, twice).
#define FOLLOW_YAW   0.45
#define FOLLOW_PITCH 0.30
#define FOLLOW_S     0.13
#define BODY_LAG_S   0.5

// A slow random motion of unit size: a sum of sines.
struct wander {
    double rate[WAVES], phase[WAVES], size[WAVES];
};

// Intensities of the units that change in a clip: `size` times how far a wander is above `over`.
static const struct {
    int au;
    float size, over;
} lively[] = {{12, 2.6f, 0.2f}, {6, 1.6f, 0.4f}, {1, 1.8f, 0.5f}, {2, 1.5f, 0.5f},
              {4, 1.5f, 0.5f},  {7, 1.2f, 0.3f}, {14, 1.2f, 0.6f}};
#define LIVELY (sizeof(lively) / sizeof(*lively))

struct mover {
    struct wander yaw, pitch, roll, x, y, z, body, lean, light, pupil, talk, syllable, au[LIVELY];
    struct clip_gaze gaze;
    struct clip_blinks blinks;
    struct vec3 home_mm;                      // of the pivot
    double slow_yaw[2], slow_pitch[2], trunk; // followers, degrees
};

static struct wander wander_draw(struct rng *rng, double low_hz, double high_hz)
{
    struct wander w;
    double square = 0;

    for (int i = 0; i < WAVES; i++) {
        w.rate[i] = 6.283185307179586 * (double)rng_log_uniform(rng, (float)low_hz, (float)high_hz);
        w.phase[i] = (double)rng_uniform(rng, 0, 6.2831853f);
        w.size[i] = (double)rng_uniform(rng, 0.5f, 1);
        square += w.size[i] * w.size[i];
    }
    for (int i = 0; i < WAVES; i++)
        w.size[i] /= sqrt(square);
    return w;
}

static double wander_at(const struct wander *w, double t)
{
    double sum = 0;
    for (int i = 0; i < WAVES; i++)
        sum += w->size[i] * sin(w->rate[i] * t + w->phase[i]);
    return sum;
}

static void mover_start(struct mover *m, uint64_t seed)
{
    struct rng rng = rng_make(seed, STREAM_MOTION, 0);

    memset(m, 0, sizeof(*m));
    m->yaw = wander_draw(&rng, 0.06, 0.25);
    m->pitch = wander_draw(&rng, 0.08, 0.3);
    m->roll = wander_draw(&rng, 0.05, 0.2);
    m->x = wander_draw(&rng, 0.04, 0.2);
    m->y = wander_draw(&rng, 0.1, 0.3);
    m->z = wander_draw(&rng, 0.04, 0.15);
    m->body = wander_draw(&rng, 0.05, 0.15);
    m->lean = wander_draw(&rng, 0.05, 0.2);
    m->light = wander_draw(&rng, 0.05, 0.3);
    m->pupil = wander_draw(&rng, 0.1, 0.5);
    m->talk = wander_draw(&rng, 0.08, 0.3);
    m->syllable = wander_draw(&rng, 1.8, 3.6);
    for (size_t i = 0; i < LIVELY; i++)
        m->au[i] = wander_draw(&rng, 0.08, 0.4);
    m->home_mm.x = (double)rng_uniform(&rng, -25, 25);
    m->home_mm.y = (double)rng_uniform(&rng, 115, 135);
    m->home_mm.z = (double)rng_uniform(&rng, 655, 715);
    clip_gaze_start(&m->gaze, seed);
    clip_blinks_start(&m->blinks, seed);
}

// Bends x into -limit..limit, nearly unchanged while it is small.
static double within(double x, double limit)
{
    return limit * tanh(x / limit);
}

static struct mat3 turn(double yaw_deg, double pitch_deg, double roll_deg)
{
    return rotation_from_head_angles((struct head_angles){
        .yaw_rad = rad_from_deg(yaw_deg), .pitch_rad = rad_from_deg(pitch_deg), .roll_rad = rad_from_deg(roll_deg)});
}

// The same point, or the nearest direction that the eyes can turn to.
static struct vec3 reachable(struct vec3 target_mm, struct vec3 eye_mm, const struct mat3 *head)
{
    struct vec3 way = vec3_sub(target_mm, eye_mm);
    struct angles a = gaze_to_angles(mat3_apply_transposed(head, way));
    double yaw = rad_from_deg(EYE_YAW_MAX_DEG), up = rad_from_deg(EYE_UP_MAX_DEG);
    double down = -rad_from_deg(EYE_DOWN_MAX_DEG);
    struct angles b = {fmin(up, fmax(down, a.pitch_rad)), fmin(yaw, fmax(-yaw, a.yaw_rad))};

    if (a.pitch_rad == b.pitch_rad && a.yaw_rad == b.yaw_rad)
        return target_mm;
    return vec3_add(eye_mm, vec3_scale(mat3_apply(head, gaze_from_angles(b)), vec3_length(way)));
}

static void follow(double *state, double want, double lag_s, double step_s)
{
    *state += (want - *state) * (1 - exp(-step_s / lag_s));
}

static void express(const struct mover *m, double t, struct clip_moment *out)
{
    float gate = smoothstepf(0.1f, 0.6f, (float)wander_at(&m->talk, t));
    float open = gate * maxf(0, 0.45f + 0.6f * (float)wander_at(&m->syllable, t));

    memset(&out->expression, 0, sizeof(out->expression));
    for (size_t i = 0; i < LIVELY; i++) {
        float *au = out->expression.au[expression_au_index(lively[i].au)];
        au[0] = au[1] = clampf(lively[i].size * ((float)wander_at(&m->au[i], t) - lively[i].over), 0, 3.5f);
    }
    for (int side = 0; side < 2; side++) {
        out->expression.au[expression_au_index(25)][side] = clampf(2.2f * open, 0, 5);
        out->expression.au[expression_au_index(26)][side] = clampf(1.4f * open, 0, 5);
        out->expression.au[expression_au_index(45)][side] = 5 * out->blink;
    }
}

static void mover_step(struct mover *m, double t, double step_s, struct clip_moment *out)
{
    struct vec3 pivot = m->home_mm, eye, target;
    struct angles a;
    double yaw, pitch, roll = 2.6 * wander_at(&m->roll, t), sway = 26 * wander_at(&m->x, t);

    pivot.x += sway;
    pivot.y += 5 * wander_at(&m->y, t);
    pivot.z += 36 * wander_at(&m->z, t);
    yaw = within(m->slow_yaw[1] + 8 * wander_at(&m->yaw, t), HEAD_YAW_MAX_DEG);
    pitch = within(m->slow_pitch[1] + 3.5 * wander_at(&m->pitch, t), HEAD_PITCH_MAX_DEG);
    out->head = turn(yaw, pitch, roll - 0.03 * sway);
    eye = vec3_add(pivot, mat3_apply(&out->head, vec3_make(0, -155, -105)));
    out->face_mm = vec3_add(pivot, mat3_apply(&out->head, vec3_make(0, -125, -115)));
    target = clip_gaze_at(&m->gaze, t, eye);
    a = gaze_to_angles(vec3_sub(target, eye));
    follow(&m->slow_yaw[0], FOLLOW_YAW * deg_from_rad(a.yaw_rad), FOLLOW_S, step_s);
    follow(&m->slow_yaw[1], m->slow_yaw[0], FOLLOW_S, step_s);
    follow(&m->slow_pitch[0], FOLLOW_PITCH * deg_from_rad(a.pitch_rad), FOLLOW_S, step_s);
    follow(&m->slow_pitch[1], m->slow_pitch[0], FOLLOW_S, step_s);
    follow(&m->trunk, yaw, BODY_LAG_S, step_s);
    out->target_mm = reachable(target, eye, &out->head);
    out->body = turn(0.25 * m->trunk + 4 * wander_at(&m->body, t), 1.5 * wander_at(&m->lean, t), -0.05 * sway);
    out->blink = clip_blinks_at(&m->blinks, t);
    out->light = 1 + 0.015f * (float)wander_at(&m->light, t);
    out->pupil_cm = 0.19f + 0.012f * (float)wander_at(&m->pupil, t);
    out->time_s = t;
    express(m, t, out);
}

int clip_motion_make(uint64_t seed, int frames, double fps, struct clip_motion *ret_motion)
{
    struct clip_motion motion = {.count = frames};
    struct mover m;
    struct clip_moment warm;
    int steps;
    double step_s;

    if (frames < 1 || !(fps >= 1 && fps <= 240))
        return -EINVAL;
    motion.moment = calloc((size_t)frames, sizeof(*motion.moment));
    if (!motion.moment)
        return -ENOMEM;
    steps = (int)ceil(STEP_RATE_HZ / fps);
    step_s = 1 / (fps * steps);
    mover_start(&m, seed);
    for (int i = 0; i < (int)STEP_RATE_HZ; i++) // the followers settle before the first frame
        mover_step(&m, 0, 1 / STEP_RATE_HZ, &warm);
    for (int n = 0; n < frames; n++)
        for (int k = n ? 0 : steps - 1; k < steps; k++)
            mover_step(&m, (double)n / fps - (steps - 1 - k) * step_s, step_s, &motion.moment[n]);
    *ret_motion = motion;
    return 0;
}

void clip_motion_free(struct clip_motion *motion)
{
    free(motion->moment);
    memset(motion, 0, sizeof(*motion));
}
