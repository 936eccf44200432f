// Training of landmarks: crops as the product makes them, from boxes and from points, on photographs and renders.
#include <math.h>
#include <stdlib.h>

#include "models/landmarks.h"
#include "train/augment.h"
#include "train/judge.h"
#include "train/mirror.h"
#include "train/task.h"
#include "train/task_data.h"
#include "vision/image.h"
#include "vision/warp.h"

#define PIXELS         (LANDMARKS_SIZE_PX * LANDMARKS_SIZE_PX)
#define REAL_SHARE     0.4f  // photographs among the samples
#define NEGATIVE_SHARE 0.12f // crops without a face, or far beside one
#define HIDDEN_WEIGHT  0.2f
#define CROP_DEVIATION 8.0f

enum {
    IN_IMAGE,
    IN_POINTS,
    IN_POINT_WEIGHT,
    IN_ROTATION,
    IN_ROTATION_WEIGHT,
    IN_BLINK,
    IN_BLINK_WEIGHT,
    IN_FACE,
    INPUTS
};

static const struct task_input inputs[INPUTS] = {
    [IN_IMAGE] = {"image", 3, {LANDMARKS_SIZE_PX, LANDMARKS_SIZE_PX, 1}},
    [IN_POINTS] = {"points", 2, {FACE_POINTS, 2}},
    [IN_POINT_WEIGHT] = {"point_weight", 2, {FACE_POINTS, 1}},
    [IN_ROTATION] = {"rotation_target", 1, {6}},
    [IN_ROTATION_WEIGHT] = {"rotation_weight", 1, {1}},
    [IN_BLINK] = {"blink_target", 1, {2}},
    [IN_BLINK_WEIGHT] = {"blink_weight", 1, {1}},
    [IN_FACE] = {"face_target", 1, {1}},
};

// Draws the crop: round the box or the points, moved, scaled and turned a little as a finder or an earlier frame would.
static struct face_crop draw_crop(struct rng *rng, const struct face_sample *s)
{
    bool second = rng_chance(rng, 0.5f);
    struct face_crop crop = second ? face_crop_from_points(s->points) : face_crop_from_box(s->box);
    float shift = second ? 0.03f : 0.06f, scale = second ? 0.05f : 0.12f, turn = second ? 0.06f : 0.2f;
    crop.centre.x += shift * crop.side_px * rng_normal(rng);
    crop.centre.y += shift * crop.side_px * rng_normal(rng);
    crop.side_px *= expf(scale * rng_normal(rng));
    crop.roll_rad += turn * rng_normal(rng);
    return crop;
}

// A crop in which the face is missing, cut or far too large: what a finder takes for a face by mistake.
static struct face_crop draw_negative(struct rng *rng, const struct face_sample *s)
{
    struct face_crop crop = face_crop_from_box(s->box);
    float share = rng_log_uniform(rng, 0.06f, 1.1f), angle = rng_uniform(rng, 0, 6.2831853f);
    float away = rng_uniform(rng, 0.5f, 0.9f) * crop.side_px;
    crop.side_px *= share;
    crop.centre.x += away * cosf(angle);
    crop.centre.y += away * sinf(angle);
    if (share < 0.4f) // a small piece of anything, an eye too
        crop.centre = (struct point){rng_unit(rng) * (float)s->image.width, rng_unit(rng) * (float)s->image.height};
    crop.roll_rad = rng_uniform(rng, -0.5f, 0.5f);
    return crop;
}

static void mirror_pixels(float *pixels)
{
    for (int y = 0; y < LANDMARKS_SIZE_PX; y++)
        for (int x = 0; x < LANDMARKS_SIZE_PX / 2; x++) {
            float *a = &pixels[y * LANDMARKS_SIZE_PX + x];
            float *b = &pixels[y * LANDMARKS_SIZE_PX + LANDMARKS_SIZE_PX - 1 - x], t = *a;
            *a = *b;
            *b = t;
        }
}

static void put_points(const struct face_sample *s, const struct mat3 *patch_from_frame, bool mirrored,
                       float *const *in)
{
    for (int i = 0; i < FACE_POINTS; i++) {
        struct point p;
        int from = mirrored ? face_mirror[i] : i;
        if (homography_apply(patch_from_frame, s->points[from], &p) < 0)
            continue;
        float x = p.x / LANDMARKS_SIZE_PX - 0.5f, y = p.y / LANDMARKS_SIZE_PX - 0.5f;
        in[IN_POINTS][2 * i] = mirrored ? -x : x;
        in[IN_POINTS][2 * i + 1] = y;
        in[IN_POINT_WEIGHT][i] = s->seen[from] > 0 ? 1 : HIDDEN_WEIGHT;
    }
}

static void put_pose(const struct face_sample *s, const struct mat3 *turn, bool mirrored, float *const *in)
{
    struct mat3 head = mat3_mul(turn, &s->head);
    // A mirrored picture shows the head M R M with M = diag(-1, 1, 1).
    for (int column = 0; column < 2; column++)
        for (int row = 0; row < 3; row++) {
            float sign = mirrored && (row == 0) != (column == 0) ? -1 : 1;
            in[IN_ROTATION][3 * column + row] = sign * (float)head.m[row][column];
        }
    in[IN_ROTATION_WEIGHT][0] = 1;
}

static int fill(void *user, struct rng *rng, float *const *in)
{
    struct task_data *d = user;
    bool real = d->real.count && (!d->rendered.count || rng_chance(rng, REAL_SHARE));
    const struct face_set *set = real ? &d->real : &d->rendered;
    const struct face_sample *s = &set->samples[rng_below(rng, set->count)];
    bool face = !rng_chance(rng, NEGATIVE_SHARE), mirrored = rng_chance(rng, 0.5f);
    struct face_crop crop = face ? draw_crop(rng, s) : draw_negative(rng, s);
    struct mat3 patch_from_frame, turn;
    static const struct warp_norm plain = {{0, 0, 0}, {1, 1, 1}};
    int r = face_crop_make(&crop, &s->camera, &patch_from_frame, &turn);
    if (r >= 0)
        r = warp_to_f32(&s->image, &patch_from_frame, LANDMARKS_SIZE_PX, LANDMARKS_SIZE_PX, 1, &plain, in[IN_IMAGE]);
    if (r < 0)
        return r;
    static const struct augment_strength real_strength = {0.7f, 0.8f, 1, 1}, render_strength = {0.7f, 0.6f, 0.8f, 1};
    if (rng_chance(rng, 0.8f))
        r = augment_patch(rng, real ? &real_strength : &render_strength, LANDMARKS_SIZE_PX, LANDMARKS_SIZE_PX,
                          in[IN_IMAGE]);
    if (mirrored)
        mirror_pixels(in[IN_IMAGE]);
    warp_standardise(in[IN_IMAGE], PIXELS, CROP_DEVIATION);
    in[IN_FACE][0] = face;
    if (!face)
        return r;
    put_points(s, &patch_from_frame, mirrored, in);
    if (!real)
        put_pose(s, &turn, mirrored, in);
    in[IN_BLINK][0] = s->blink[mirrored];
    in[IN_BLINK][1] = s->blink[!mirrored];
    in[IN_BLINK_WEIGHT][0] = real ? 0.3f : 1;
    return r;
}

// Laplace negative log likelihood of the points + L1 of the rotation's columns + cross entropies of blink and face.
static npu_val build(struct net *net, const npu_val *in, int batch)
{
    npu_graph *g = net->graph;
    struct landmarks_values v;
    landmarks_build(net, in[IN_IMAGE], &v);
    npu_val s = v.log_sigma;
    npu_val error = npu_abs(g, npu_sub(g, v.points, in[IN_POINTS]));
    npu_val likely = npu_add(g, npu_mul(g, error, npu_exp(g, npu_scale(g, s, -1, 0))), s);
    npu_val points = npu_reduce(g, npu_mul(g, likely, in[IN_POINT_WEIGHT]), NPU_REDUCE_MEAN, 0);
    npu_val plain = npu_l1(g, v.points, in[IN_POINTS], in[IN_POINT_WEIGHT]);
    npu_val rotation = npu_l1(g, v.rotation, in[IN_ROTATION], in[IN_ROTATION_WEIGHT]);
    npu_val blink = npu_bce_logits(g, v.blink, in[IN_BLINK], in[IN_BLINK_WEIGHT]);
    npu_val face = npu_bce_logits(g, v.face, in[IN_FACE], NPU_NONE);
    npu_val loss = npu_add(g, points, npu_scale(g, plain, 10, 0));
    loss = npu_add(g, loss, npu_scale(g, rotation, 4, 0));
    return npu_add(g, loss, npu_add(g, npu_scale(g, blink, 0.3f, 0), npu_scale(g, face, 0.3f, 0)));
}

static void build_deployed(struct net *net)
{
    struct landmarks_values v;
    landmarks_build_served(net, 1, &v);
}

static int judge(void *user, npu_dev *dev, const char *path, struct figures *ret, char *message)
{
    struct task_data *d = user;
    struct face_landmarks *found = NULL;
    int r = judge_find_all(dev, path, &d->judged_real, NULL, &found, message);
    if (r >= 0)
        judge_landmarks("real", &d->judged_real, found, ret);
    free(found);
    found = NULL;
    if (r >= 0)
        r = judge_find_all(dev, path, &d->judged_rendered, NULL, &found, message);
    if (r >= 0)
        judge_landmarks("rendered", &d->judged_rendered, found, ret);
    free(found);
    return r;
}

const struct task task_landmarks = {
    .name = "landmarks",
    .inputs = inputs,
    .input_count = INPUTS,
    .batch = 32,
    .lr = 2e-3f,
    .weight_decay = 1e-3f,
    .open = task_data_open,
    .close = task_data_close,
    .fill = fill,
    .build = build,
    .build_deployed = build_deployed,
    .judge = judge,
};
