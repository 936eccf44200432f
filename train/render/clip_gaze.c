// Eye movements. A person looks at a screen below the camera most of the time, sometimes into the lens, at the keyboard
// or into the room. Saccades take longer the wider they are (the main sequence, 2.2 ms a degree over 21 ms: Bahill,
// Clark, Stark 1975), within 30 to 60 ms.
#include "train/render/clip_gaze.h"

#define STREAM_GAZE   41
#define STREAM_BLINKS 42

#define SACCADE_MIN_S 0.030
#define SACCADE_MAX_S 0.060
#define BLINK_MIN_S   0.15f
#define BLINK_MAX_S   0.30f

static struct vec3 uniform_point(struct rng *rng, struct vec3 low, struct vec3 high)
{
    double x = (double)rng_unit(rng), y = (double)rng_unit(rng), z = (double)rng_unit(rng);
    return vec3_make(low.x + (high.x - low.x) * x, low.y + (high.y - low.y) * y, low.z + (high.z - low.z) * z);
}

static struct vec3 screen_point(struct rng *rng)
{
    return uniform_point(rng, vec3_make(-270, 10, -5), vec3_make(270, 250, 15));
}

static struct vec3 draw_target(struct rng *rng)
{
    float kind = rng_unit(rng);
    struct vec3 p;

    if (kind < 0.14f)
        return vec3_make(0, 0, 0);
    if (kind < 0.78f)
        return screen_point(rng);
    if (kind < 0.83f) // keyboard, desk
        return uniform_point(rng, vec3_make(-220, 290, 80), vec3_make(220, 360, 200));
    if (kind < 0.93f) // above the screen
        return uniform_point(rng, vec3_make(-350, -280, -700), vec3_make(350, -90, -100));
    p = uniform_point(rng, vec3_make(350, -80, -200), vec3_make(650, 180, 100)); // beside it
    if (rng_chance(rng, 0.5f))
        p.x = -p.x;
    return p;
}

static void next_target(struct clip_gaze *g, struct vec3 from_mm, struct vec3 eye_mm)
{
    double degrees, length;

    g->from_mm = from_mm;
    g->to_mm = draw_target(&g->rng);
    g->pursuit_mm = vec3_make(0, 0, 0);
    degrees = deg_from_rad(angle_between(vec3_sub(g->from_mm, eye_mm), vec3_sub(g->to_mm, eye_mm)));
    length = fmin(SACCADE_MAX_S, fmax(SACCADE_MIN_S, 0.021 + 0.0022 * degrees));
    g->saccade_s = g->end_s;
    g->hold_s = g->saccade_s + length;
    g->end_s = g->hold_s + (double)rng_log_uniform(&g->rng, 0.2f, 0.8f);
    if (rng_chance(&g->rng, 0.12f)) { // something that moves on the screen
        struct vec3 start = screen_point(&g->rng), end = screen_point(&g->rng);
        g->to_mm = start;
        g->pursuit_mm = vec3_sub(end, start);
        g->end_s = g->hold_s + (double)rng_uniform(&g->rng, 1.0f, 1.8f);
    }
}

// Minimum jerk from 0 to 1.
static double glide(double t)
{
    t = fmin(1, fmax(0, t));
    return t * t * t * (10 + t * (6 * t - 15));
}

static struct vec3 position(const struct clip_gaze *g, double now_s)
{
    double moved = glide((now_s - g->saccade_s) / (g->hold_s - g->saccade_s));
    double followed = glide((now_s - g->hold_s) / (g->end_s - g->hold_s));
    struct vec3 p = vec3_add(g->from_mm, vec3_scale(vec3_sub(g->to_mm, g->from_mm), moved));

    return vec3_add(p, vec3_scale(g->pursuit_mm, followed));
}

void clip_gaze_start(struct clip_gaze *g, uint64_t seed)
{
    *g = (struct clip_gaze){.rng = rng_make(seed, STREAM_GAZE, 0), .saccade_s = -1};
    g->from_mm = g->to_mm = screen_point(&g->rng);
    g->hold_s = -0.9;
    g->end_s = (double)rng_uniform(&g->rng, 0.2f, 0.6f);
}

struct vec3 clip_gaze_at(struct clip_gaze *g, double now_s, struct vec3 eye_mm)
{
    while (now_s >= g->end_s)
        next_target(g, position(g, g->end_s), eye_mm);
    return position(g, now_s);
}

void clip_blinks_start(struct clip_blinks *b, uint64_t seed)
{
    *b = (struct clip_blinks){.rng = rng_make(seed, STREAM_BLINKS, 0)};
    b->begin_s = (double)rng_uniform(&b->rng, 0.8f, 2.0f);
    b->length_s = (double)rng_uniform(&b->rng, BLINK_MIN_S, BLINK_MAX_S);
}

float clip_blinks_at(struct clip_blinks *b, double now_s)
{
    float t;

    while (now_s >= b->begin_s + b->length_s) {
        b->begin_s += b->length_s + (double)rng_log_uniform(&b->rng, 1.2f, 5.0f);
        b->length_s = (double)rng_uniform(&b->rng, BLINK_MIN_S, BLINK_MAX_S);
    }
    t = (float)((now_s - b->begin_s) / b->length_s);
    if (t <= 0)
        return 0;
    return t < 0.5f ? smoothstepf(0, 0.35f, t) : 1 - smoothstepf(0.5f, 1, t); // lids fall faster than they rise
}
