// Training of gaze_vit on renders: strips cut with the corner and pose errors that the product makes.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/face_reader.h"
#include "models/gaze_vit.h"
#include "train/augment.h"
#include "train/augment_eyes.h"
#include "train/judge.h"
#include "train/mirror.h"
#include "train/task.h"
#include "train/task_data.h"
#include "vision/warp.h"

#define CORNER_JITTER   0.015f // of the distance between the outer corners
#define POSE_NOISE_DEG  3.0f   // error of the head's angles, as our own estimator has it
#define FOUND_NOISE     0.3f   // share of those errors that is added to the product's own, which knows these pictures
#define CALIBRATE_FACES 1500
#define EYES_SHARE      0.6f  // of the renders, whose eyes are made lighter and darker
#define SPOIL_SHARE     0.25f // that are blurred, noisy, dark beyond what they are
#define FOUND_SHARE     0.85f // samples that take the product's own landmarks and pose, where they are known

// Beside the gaze the network learns where lids, corners and irises are in the windows: thus it finds the iris long
// before gaze alone would have taught it. An output of training only.
#define EYE_POINTS    11 // of one eye: landmarks 36 .. 41, 68 .. 72, or their mirror images
#define SIDE_OUTPUTS  (2 * 2 * EYE_POINTS)
#define POINT_UNIT_PX 16.0f // of a window
#define SIDE_SHARE    2.0f  // of the loss: a mean error of 1 pixel of the strip costs 0.25

// Portraits have no gaze to learn, but real lids and irises to find. (Pulling their sitters' mean gaze into the lens
// was tried: the network then tells photographs from renders and says "into the lens" whatever the eyes do.)
#define REAL_SHARE       0.15f // of the samples
#define REAL_MAX_YAW_DEG 40.0f
#define LENS_MAX_YAW_DEG 20.0f
#define SITTERS_SHARE    0.25 // of the way from the renders' zero of pitch to the sitters'

enum { IN_IMAGE, IN_POSE, IN_ANGLES, IN_WEIGHT, IN_SIDE, IN_SIDE_WEIGHT, INPUTS };

static const struct task_input inputs[INPUTS] = {
    [IN_IMAGE] = {"image", 3, {GAZE_VIT_IMAGE_ROWS, GAZE_VIT_EYE_WIDTH_PX, 1}},
    [IN_POSE] = {"pose", 1, {GAZE_VIT_POSE}},
    [IN_ANGLES] = {"angles_target", 1, {2}},
    [IN_WEIGHT] = {"weight", 1, {1}},
    [IN_SIDE] = {"side_target", 1, {SIDE_OUTPUTS}},
    [IN_SIDE_WEIGHT] = {"side_weight", 1, {1}},
};

struct data {
    struct task_data faces;
    // What landmarks says of those that teach and those that judge, or NULL.
    struct face_landmarks *found, *found_sitters, *found_real, *found_rendered;
    int *sitters, sitter_count; // of faces.real: found, no profile
};

static void close_data(void *user)
{
    struct data *d = user;
    if (!d)
        return;
    task_data_clear(&d->faces);
    free(d->sitters);
    free(d->found_sitters);
    free(d->found);
    free(d->found_real);
    free(d->found_rendered);
    free(d);
}

// The head pose as face_reader refines it.
static void refine(const struct face_set *set, struct face_landmarks *found)
{
    for (int i = 0; i < set->count; i++) {
        struct pnp_result pose;
        if (found[i].score > 0 && face_reader_pose(&set->samples[i].camera, &found[i], &pose) >= 0)
            found[i].head = pose.rotation;
    }
}

static int find(const struct task_settings *settings, const struct face_set *set, struct face_landmarks **ret_found,
                char *message)
{
    int r = judge_find_all(settings->dev, settings->landmarks, set, NULL, ret_found, message);
    if (r >= 0)
        refine(set, *ret_found);
    return r;
}

static int choose_sitters(const struct task_settings *settings, struct data *d, char *message)
{
    const struct face_set *real = &d->faces.real;
    int r = find(settings, real, &d->found_sitters, message);
    if (r < 0)
        return r;
    d->sitters = malloc(((size_t)real->count + 1) * sizeof(*d->sitters));
    if (!d->sitters)
        return -ENOMEM;
    for (int i = 0; i < real->count; i++)
        if (d->found_sitters[i].score > 0.5f && fabsf(real->samples[i].yaw_deg) <= REAL_MAX_YAW_DEG)
            d->sitters[d->sitter_count++] = i;
    return 0;
}

static int open_data(const struct task_settings *settings, void **ret_data, char *message)
{
    struct data *d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    int r = task_data_load(settings, &d->faces, message);
    if (r >= 0 && !d->faces.rendered.count) {
        snprintf(message, FACE_SET_MESSAGE_SIZE, "gaze_vit learns from renders: one --data must be gaze-render's");
        r = -ENODATA;
    }
    if (r >= 0 && settings->landmarks)
        r = find(settings, &d->faces.rendered, &d->found, message);
    if (r >= 0 && settings->landmarks && d->faces.real.count)
        r = choose_sitters(settings, d, message);
    if (r >= 0 && settings->landmarks)
        r = find(settings, &d->faces.judged_real, &d->found_real, message);
    if (r >= 0 && settings->landmarks)
        r = find(settings, &d->faces.judged_rendered, &d->found_rendered, message);
    if (r < 0) {
        close_data(d);
        return r;
    }
    *ret_data = d;
    return 0;
}

// A small rotation about a random axis.
static struct mat3 random_turn(struct rng *rng, float sd_rad)
{
    return rotation_from_vector(
        vec3_make(sd_rad * rng_normal(rng), sd_rad * rng_normal(rng), 0.5 * sd_rad * rng_normal(rng)));
}

// The face as the product would see it: its own result plus a little, or the truth plus errors of its size.
static struct face_landmarks draw_found(struct rng *rng, const struct face_sample *s,
                                        const struct face_landmarks *found)
{
    struct face_landmarks f = {.head = s->head};
    bool own = found && found->score > 0.5f && (s->real || rng_chance(rng, FOUND_SHARE));
    if (own)
        f = *found;
    else
        memcpy(f.points, s->points, sizeof(f.points));
    float unit = hypotf(s->points[FACE_LEFT_EYE_OUTER].x - s->points[FACE_RIGHT_EYE_OUTER].x,
                        s->points[FACE_LEFT_EYE_OUTER].y - s->points[FACE_RIGHT_EYE_OUTER].y);
    float jitter = (own ? FOUND_NOISE : 1) * CORNER_JITTER * unit;
    // One shift and stretch for all points, then each corner by itself.
    float dx = jitter * rng_normal(rng), dy = jitter * rng_normal(rng), stretch = 1 + 0.025f * rng_normal(rng);
    for (int i = 0; i < FACE_POINTS; i++) {
        bool corner = i == FACE_RIGHT_EYE_OUTER || i == FACE_RIGHT_EYE_INNER || i == FACE_LEFT_EYE_INNER ||
                      i == FACE_LEFT_EYE_OUTER;
        float cx = s->points[FACE_NOSE_TIP - 3].x, cy = s->points[FACE_NOSE_TIP - 3].y;
        f.points[i].x = cx + stretch * (f.points[i].x - cx) + dx + (corner ? jitter * rng_normal(rng) : 0);
        f.points[i].y = cy + stretch * (f.points[i].y - cy) + dy + (corner ? jitter * rng_normal(rng) : 0);
    }
    struct mat3 turn = random_turn(rng, (float)rad_from_deg((own ? FOUND_NOISE : 1) * POSE_NOISE_DEG));
    f.head = mat3_mul(&turn, &f.head);
    return f;
}

// Points of both eyes in their windows: of the left eye the mirror images of the right one's.
static int points_in_windows(const struct face_sample *s, const struct eye_strip *strip,
                             struct point out[2][EYE_POINTS])
{
    for (int eye = 0; eye < 2; eye++) {
        for (int k = 0; k < EYE_POINTS; k++) {
            int right = k < 6 ? FACE_RIGHT_EYE_OUTER + k : FACE_RIGHT_IRIS + k - 6;
            int r =
                homography_apply(&strip->strip_from_frame, s->points[eye ? face_mirror[right] : right], &out[eye][k]);
            if (r < 0)
                return r;
            out[eye][k] = gaze_vit_in_window(out[eye][k], eye);
        }
    }
    return 0;
}

// Renders' irises are darker and their lashes paler than people's, and a network that knows renders alone reads a paler
// iris or a darker lash as a look up.
static void change_eyes(struct rng *rng, struct point points[2][EYE_POINTS], float *pixels)
{
    struct augment_eye eye[2] = {0};
    for (int side = 0; side < 2; side++) {
        for (int k = 0; k < EYE_POINTS; k++) {
            struct point *to = k < 6 ? &eye[side].lid[k] : &eye[side].iris[k - 6];
            to->x = points[side][k].x / GAZE_VIT_EYE_ZOOM;
            to->y = (points[side][k].y + (float)(side * GAZE_VIT_EYE_HEIGHT_PX)) / GAZE_VIT_EYE_ZOOM;
        }
    }
    augment_eyes(rng, eye, GAZE_VIT_EYE_WIDTH_PX, GAZE_VIT_IMAGE_ROWS, GAZE_VIT_EYE_ZOOM, pixels);
}

static void side_targets(struct point points[2][EYE_POINTS], float *out)
{
    for (int eye = 0; eye < 2; eye++) {
        for (int k = 0; k < EYE_POINTS; k++, out += 2) {
            out[0] = (points[eye][k].x - 0.5f * GAZE_VIT_EYE_WIDTH_PX) / POINT_UNIT_PX;
            out[1] = (points[eye][k].y - 0.5f * GAZE_VIT_EYE_HEIGHT_PX) / POINT_UNIT_PX;
        }
    }
}

static void mirror_side(float *side)
{
    float was[SIDE_OUTPUTS];
    memcpy(was, side, sizeof(was));
    memcpy(side, was + SIDE_OUTPUTS / 2, sizeof(was) / 2);
    memcpy(side + SIDE_OUTPUTS / 2, was, sizeof(was) / 2);
}

static void mirror(float *const *in)
{
    float pixels[GAZE_VIT_PIXELS], pose[GAZE_VIT_POSE];
    gaze_vit_mirror(in[IN_IMAGE], in[IN_POSE], pixels, pose);
    memcpy(in[IN_IMAGE], pixels, sizeof(pixels));
    memcpy(in[IN_POSE], pose, sizeof(pose));
    in[IN_ANGLES][0] *= -1;
    mirror_side(in[IN_SIDE]);
}

static int try_fill(struct data *d, struct rng *rng, float *const *in)
{
    // The renders are spoilt already: this is for variety.
    static const struct augment_strength strength = {0.5f, 0.5f, 0.7f, 0.7f};
    bool sitter = d->sitter_count && rng_chance(rng, REAL_SHARE);
    int index = sitter ? d->sitters[rng_below(rng, d->sitter_count)] : rng_below(rng, d->faces.rendered.count);
    const struct face_sample *s = sitter ? &d->faces.real.samples[index] : &d->faces.rendered.samples[index];
    const struct face_landmarks *found = sitter ? d->found_sitters : d->found;
    struct face_landmarks f = draw_found(rng, s, found ? &found[index] : NULL);
    float shut = fminf(s->blink[0], s->blink[1]), share = shut > 0.6f ? 0.02f : 1 - 0.8f * shut;
    struct eye_strip strip;
    struct point points[2][EYE_POINTS];
    int r = gaze_vit_strip(&s->camera, f.points, &strip);
    if (r >= 0)
        r = points_in_windows(s, &strip, points);
    if (r >= 0)
        r = gaze_vit_windows(&s->image, &strip, in[IN_IMAGE]);
    if (r >= 0 && !sitter && rng_chance(rng, EYES_SHARE))
        change_eyes(rng, points, in[IN_IMAGE]);
    if (r >= 0 && rng_chance(rng, SPOIL_SHARE))
        r = augment_patch(rng, &strength, GAZE_VIT_EYE_WIDTH_PX, GAZE_VIT_IMAGE_ROWS, in[IN_IMAGE]);
    if (r < 0)
        return r;
    gaze_vit_standardise(in[IN_IMAGE]);
    side_targets(points, in[IN_SIDE]);
    struct mat3 head = mat3_mul(&strip.rotation, &f.head);
    gaze_vit_pose_input(&head, in[IN_POSE]);
    struct angles gaze = {0, 0};
    if (!sitter)
        gaze = gaze_to_angles(mat3_apply(&strip.rotation, s->gaze));
    in[IN_ANGLES][0] = (float)gaze.yaw_rad;
    in[IN_ANGLES][1] = (float)gaze.pitch_rad;
    in[IN_WEIGHT][0] = sitter ? 0 : share;
    in[IN_SIDE_WEIGHT][0] = share;
    if (rng_chance(rng, 0.5f))
        mirror(in);
    return 0;
}

// A face that makes no strip (a profile) is passed over.
static int fill(void *user, struct rng *rng, float *const *in)
{
    int r = -EDOM;
    for (int i = 0; i < 20 && r == -EDOM; i++)
        r = try_fill(user, rng, in);
    return r;
}

// L1 of the angles (in degrees / 10), for sigma their Laplace likelihood, and the side targets.
static npu_val build(struct net *net, const npu_val *in, int batch)
{
    npu_graph *g = net->graph;
    const struct gaze_vit_config *c = &gaze_vit_config;
    struct gaze_vit_values v;
    gaze_vit_build(net, c, in[IN_IMAGE], in[IN_POSE], &v);
    npu_val angles = v.angles, s = v.log_sigma;
    npu_val loss = npu_scale(g, npu_l1(g, angles, in[IN_ANGLES], in[IN_WEIGHT]), 5.73f, 0);
    npu_val error = npu_abs(g, npu_sub(g, angles, in[IN_ANGLES]));
    npu_val likely = npu_add(g, npu_mul(g, error, npu_exp(g, npu_scale(g, s, -1, 0))), s);
    likely = npu_reduce(g, npu_mul(g, likely, in[IN_WEIGHT]), NPU_REDUCE_MEAN, 0);
    loss = npu_add(g, loss, npu_scale(g, likely, 0.1f, 0));
    const int64_t flat[2] = {batch, SIDE_OUTPUTS};
    npu_val side = net_linear(net, "side", v.eyes, &(struct net_linear){.channels = SIDE_OUTPUTS / 2});
    side = npu_l1(g, npu_reshape(g, side, 2, flat), in[IN_SIDE], in[IN_SIDE_WEIGHT]);
    return npu_add(g, loss, npu_scale(g, side, SIDE_SHARE, 0));
}

static void build_deployed(struct net *net)
{
    struct gaze_vit_values v;
    gaze_vit_build_served(net, 1, &v);
}

static int prepare(npu_plan *plan)
{
    return gaze_vit_write_positions(plan, &gaze_vit_config);
}

static int judge(void *user, npu_dev *dev, const char *path, struct figures *ret, char *message)
{
    struct data *d = user;
    struct gaze_estimate *gaze = NULL;
    int r = judge_gaze_all(dev, path, &d->faces.judged_rendered, d->found_rendered, &gaze, message);
    if (r >= 0)
        judge_gaze_rendered(&d->faces.judged_rendered, gaze, ret);
    free(gaze);
    gaze = NULL;
    if (r >= 0 && d->found_real) {
        r = judge_gaze_all(dev, path, &d->faces.judged_real, d->found_real, &gaze, message);
        if (r >= 0)
            judge_gaze_real(&d->faces.judged_real, gaze, ret);
        free(gaze);
    }
    return r;
}

// Multiplies the linear head's two columns and moves its biases.
static int stretch_head(npu_plan *deployed, const double scale[2], const double shift_rad[2])
{
    float weight[GAZE_VIT_FEATURES][2], bias[2];
    int r = npu_plan_read(deployed, "head.weight", weight, sizeof(weight));
    if (r >= 0)
        r = npu_plan_read(deployed, "head.bias", bias, sizeof(bias));
    for (int axis = 0; r >= 0 && axis < 2; axis++) {
        for (int i = 0; i < GAZE_VIT_FEATURES; i++)
            weight[i][axis] *= (float)scale[axis];
        // Left and right are treated alike: yaw is not moved.
        bias[axis] = (float)(scale[axis] * (double)bias[axis] + (axis ? shift_rad[axis] : 0));
    }
    if (r >= 0)
        r = npu_plan_write(deployed, "head.weight", weight, sizeof(weight));
    return r < 0 ? r : npu_plan_write(deployed, "head.bias", bias, sizeof(bias));
}

// Median pitch that the network sees in the portraits that teach and whose heads are near the front.
static int sitters_pitch(const struct data *d, npu_dev *dev, const char *path, double *ret_rad, char *message)
{
    struct gaze_estimate *gaze = NULL;
    double *pitch = malloc(((size_t)d->sitter_count + 1) * sizeof(*pitch));
    int n = 0, r = pitch ? judge_gaze_all(dev, path, &d->faces.real, d->found_sitters, &gaze, message) : -ENOMEM;
    for (int i = 0; r >= 0 && i < d->sitter_count; i++) {
        int at = d->sitters[i];
        if (gaze[at].sigma_rad >= 0 && fabsf(d->faces.real.samples[at].yaw_deg) <= LENS_MAX_YAW_DEG)
            pitch[n++] = gaze[at].normalised.pitch_rad;
    }
    if (r >= 0)
        *ret_rad = n ? judge_quantile(pitch, n, 0.5) : 0;
    free(gaze);
    free(pitch);
    return r;
}

// An uncertain network answers nearer to the mean than the truth is. This undoes most of it: on the renders given,
// which should have taught it nothing, the output shall follow eyes and head with a gain of JUDGE_WANTED_GAIN. The zero
// of pitch, where renders and people differ, is moved from the renders' towards that of sitters, who look into the lens
// all in all.
static int calibrate(void *user, npu_dev *dev, const char *path, npu_plan *deployed, char *message)
{
    struct data *d = user;
    int n = d->faces.rendered.count < CALIBRATE_FACES ? d->faces.rendered.count : CALIBRATE_FACES;
    struct face_set some = {.samples = calloc((size_t)n + 1, sizeof(*some.samples)), .count = n};
    struct face_landmarks *found = calloc((size_t)n + 1, sizeof(*found));
    struct gaze_estimate *gaze = NULL;
    int r = some.samples && found ? 0 : -ENOMEM;
    for (int i = 0; r >= 0 && i < n; i++) { // spread over all folders; the pictures stay the data's
        int from = (int)((int64_t)i * d->faces.rendered.count / n);
        some.samples[i] = d->faces.rendered.samples[from];
        if (d->found)
            found[i] = d->found[from];
    }
    if (r >= 0)
        r = judge_gaze_all(dev, path, &some, d->found ? found : NULL, &gaze, message);
    double scale[2], shift_rad[2];
    if (r >= 0) {
        double sitters_rad = 0;
        judge_unshrink(&some, gaze, scale, shift_rad);
        if (d->sitter_count)
            r = sitters_pitch(d, dev, path, &sitters_rad, message);
        shift_rad[1] -= SITTERS_SHARE * (scale[1] * sitters_rad + shift_rad[1]);
    }
    if (r >= 0) {
        r = stretch_head(deployed, scale, shift_rad);
    }
    free(gaze);
    free(found);
    free(some.samples);
    return r;
}

const struct task task_gaze_vit = {
    .name = "gaze_vit",
    .inputs = inputs,
    .input_count = INPUTS,
    .batch = 24,
    .lr = 1e-3f,
    .weight_decay = 0.05f,
    .open = open_data,
    .close = close_data,
    .fill = fill,
    .build = build,
    .build_deployed = build_deployed,
    .prepare = prepare,
    .calibrate = calibrate,
    .judge = judge,
};
