// Figures of landmarks, head pose and gaze.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/face_reader.h"
#include "train/judge.h"
#include "vision/normalise.h"

#define MAX_HEAD_YAW_DEG 45.0 // renders
#define MAX_LENS_YAW_DEG 20.0 // photographs
#define MAX_BLINK        0.6f // eyes shut further have no gaze to see
#define MIN_JUDGED       50   // renders that a regression needs
#define REGRESSION_TERMS 3    // eye, head, constant

static void add(struct figures *f, const char *prefix, const char *name, double value)
{
    char full[48];
    snprintf(full, sizeof(full), "%.15s.%.31s", prefix, name);
    figures_add(f, full, value);
}

static double mean(const double *values, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += values[i];
    return count ? sum / count : NAN;
}

static double distance(struct point a, struct point b)
{
    return hypot((double)a.x - b.x, (double)a.y - b.y);
}

static double point_error(const struct face_sample *s, const struct face_landmarks *f, int from, int to)
{
    double unit = distance(s->points[FACE_RIGHT_EYE_OUTER], s->points[FACE_LEFT_EYE_OUTER]), sum = 0;
    for (int i = from; i < to; i++)
        sum += distance(s->points[i], f->points[i]);
    return 100 * sum / (to - from) / unit;
}

// The head as the face's own virtual camera sees it: yaw 0 is a head turned to the real camera.
static struct head_angles seen_head(const struct face_sample *s)
{
    struct mat3 turn, head = s->head;
    if (normalise_rotation(s->origin_mm, mat3_column(&s->head, 0), &turn) >= 0)
        head = mat3_mul(&turn, &s->head);
    return head_angles_from_rotation(&head);
}

static bool head_in_range(const struct face_sample *s)
{
    return fabs(deg_from_rad(seen_head(s).yaw_rad)) <= MAX_HEAD_YAW_DEG;
}

static void head_figures(const char *prefix, const struct face_set *set, const struct face_landmarks *found,
                         double *scratch, struct figures *ret)
{
    double *turn = scratch, *facing = turn + set->count, *pitch = facing + set->count, *yaw = pitch + set->count;
    double *refined = yaw + set->count;
    int n = 0;
    for (int i = 0; i < set->count; i++) {
        const struct face_sample *s = &set->samples[i];
        if (s->real || !(found[i].score > 0) || !head_in_range(s))
            continue;
        turn[n] = deg_from_rad(rotation_distance(&found[i].head, &s->head));
        struct pnp_result pose;
        refined[n] = face_reader_pose(&s->camera, &found[i], &pose) < 0
                         ? turn[n]
                         : deg_from_rad(rotation_distance(&pose.rotation, &s->head));
        facing[n] = deg_from_rad(angle_between(mat3_column(&found[i].head, 2), mat3_column(&s->head, 2)));
        struct head_angles a = head_angles_from_rotation(&found[i].head), b = head_angles_from_rotation(&s->head);
        pitch[n] = deg_from_rad(a.pitch_rad - b.pitch_rad);
        yaw[n++] = deg_from_rad(a.yaw_rad - b.yaw_rad);
    }
    if (!n)
        return;
    add(ret, prefix, "head_rotation_mean_deg", mean(refined, n));
    add(ret, prefix, "head_network_mean_deg", mean(turn, n));
    add(ret, prefix, "head_direction_mean_deg", mean(facing, n));
    add(ret, prefix, "head_pitch_median_deg", judge_quantile(pitch, n, 0.5));
    add(ret, prefix, "head_yaw_median_deg", judge_quantile(yaw, n, 0.5));
}

void judge_landmarks(const char *prefix, const struct face_set *set, const struct face_landmarks *found,
                     struct figures *ret)
{
    double *nme = malloc(sizeof(double) * 5 * (size_t)(set->count ? set->count : 1));
    if (!nme || !set->count) {
        free(nme);
        return;
    }
    double *iris = nme + set->count, *blink = iris + set->count;
    int n = 0, irises = 0, faces = 0;
    for (int i = 0; i < set->count; i++) {
        const struct face_sample *s = &set->samples[i];
        if (!(found[i].score > 0) || (!s->real && !head_in_range(s)))
            continue;
        faces += found[i].score >= 0.5f;
        if (s->seen[FACE_RIGHT_IRIS] > 0 && s->seen[FACE_LEFT_IRIS] > 0)
            iris[irises++] = point_error(s, &found[i], FACE_LANDMARKS, FACE_POINTS);
        blink[n] = (fabs(found[i].blink[0] - s->blink[0]) + fabs(found[i].blink[1] - s->blink[1])) / 2;
        nme[n++] = point_error(s, &found[i], 0, FACE_LANDMARKS);
    }
    add(ret, prefix, "faces", n);
    add(ret, prefix, "score_over_half_percent", n ? 100.0 * faces / n : NAN);
    add(ret, prefix, "nme_percent", mean(nme, n));
    add(ret, prefix, "nme_90_percent", judge_quantile(nme, n, 0.9));
    add(ret, prefix, "iris_nme_percent", mean(iris, irises));
    add(ret, prefix, "blink_error", mean(blink, n));
    head_figures(prefix, set, found, nme, ret);
    free(nme);
}

double judge_gaze_error(const struct face_sample *s, const struct gaze_estimate *gaze)
{
    if (s->real || gaze->sigma_rad < 0 || !head_in_range(s))
        return -1;
    return angle_between(s->gaze, gaze->gaze);
}

// Sums for least squares of y on (eye, head, 1).
struct regression {
    double xx[REGRESSION_TERMS][REGRESSION_TERMS], xy[REGRESSION_TERMS];
};

static void regression_add(struct regression *q, double eye, double head, double y)
{
    const double x[REGRESSION_TERMS] = {eye, head, 1};
    for (int i = 0; i < REGRESSION_TERMS; i++) {
        q->xy[i] += x[i] * y;
        for (int k = 0; k < REGRESSION_TERMS; k++)
            q->xx[i][k] += x[i] * x[k];
    }
}

static void regression_solve(const struct regression *q, double *ret_eye, double *ret_head)
{
    struct mat3 m, inverse;
    memcpy(m.m, q->xx, sizeof(m.m));
    *ret_eye = *ret_head = NAN;
    if (mat3_invert(&m, &inverse) < 0)
        return;
    struct vec3 x = mat3_apply(&inverse, vec3_make(q->xy[0], q->xy[1], q->xy[2]));
    *ret_eye = x.x;
    *ret_head = x.y;
}

enum { YAW, PITCH, AXES };

// Regresses gaze in the normalised frame on the eyes' turn in the head and on the head's: each axis, output and label.
struct gains {
    struct regression output[AXES], label[AXES];
};

static void gains_add(struct gains *g, const struct face_sample *s, const struct gaze_estimate *gaze)
{
    struct mat3 turn;
    if (normalise_rotation(s->origin_mm, mat3_column(&s->head, 0), &turn) < 0)
        return;
    struct angles eye = gaze_to_angles(mat3_apply_transposed(&s->head, s->gaze));
    struct head_angles head = seen_head(s);
    struct angles out = gaze_to_angles(mat3_apply(&turn, gaze->gaze)),
                  label = gaze_to_angles(mat3_apply(&turn, s->gaze));
    regression_add(&g->output[YAW], eye.yaw_rad, head.yaw_rad, out.yaw_rad);
    regression_add(&g->output[PITCH], eye.pitch_rad, head.pitch_rad, out.pitch_rad);
    regression_add(&g->label[YAW], eye.yaw_rad, head.yaw_rad, label.yaw_rad);
    regression_add(&g->label[PITCH], eye.pitch_rad, head.pitch_rad, label.pitch_rad);
}

static void gains_report(const struct gains *g, struct figures *ret)
{
    static const char *const axis[AXES] = {"yaw", "pitch"};
    for (int i = 0; i < AXES; i++) {
        double eye, head, true_eye, true_head;
        char name[48];
        regression_solve(&g->output[i], &eye, &head);
        regression_solve(&g->label[i], &true_eye, &true_head);
        snprintf(name, sizeof(name), "gain_eye_%s", axis[i]);
        add(ret, "rendered", name, eye);
        snprintf(name, sizeof(name), "gain_head_%s", axis[i]);
        add(ret, "rendered", name, head);
        snprintf(name, sizeof(name), "label_gain_eye_%s", axis[i]);
        add(ret, "rendered", name, true_eye);
        snprintf(name, sizeof(name), "label_gain_head_%s", axis[i]);
        add(ret, "rendered", name, true_head);
    }
}

void judge_gaze_rendered(const struct face_set *set, const struct gaze_estimate *gaze, struct figures *ret)
{
    double *error = malloc(sizeof(double) * 3 * (size_t)(set->count ? set->count : 1));
    if (!error)
        return;
    double *yaw = error + set->count, *pitch = yaw + set->count;
    struct gains gains = {0};
    int n = 0;
    for (int i = 0; i < set->count; i++) {
        const struct face_sample *s = &set->samples[i];
        double e = judge_gaze_error(s, &gaze[i]);
        if (e < 0 || fmaxf(s->blink[0], s->blink[1]) > MAX_BLINK)
            continue;
        struct angles out = gaze_to_angles(gaze[i].gaze), label = gaze_to_angles(s->gaze);
        yaw[n] = deg_from_rad(out.yaw_rad - label.yaw_rad);
        pitch[n] = deg_from_rad(out.pitch_rad - label.pitch_rad);
        error[n++] = deg_from_rad(e);
        gains_add(&gains, s, &gaze[i]);
    }
    add(ret, "rendered", "gaze_faces", n);
    add(ret, "rendered", "gaze_mean_deg", mean(error, n));
    add(ret, "rendered", "gaze_median_deg", judge_quantile(error, n, 0.5));
    add(ret, "rendered", "gaze_90_deg", judge_quantile(error, n, 0.9));
    add(ret, "rendered", "gaze_yaw_median_deg", judge_quantile(yaw, n, 0.5));
    add(ret, "rendered", "gaze_pitch_median_deg", judge_quantile(pitch, n, 0.5));
    gains_report(&gains, ret);
    free(error);
}

void judge_unshrink(const struct face_set *set, const struct gaze_estimate *gaze, double ret_scale[AXES],
                    double ret_shift_rad[AXES])
{
    struct gains gains = {0};
    for (int i = 0; i < set->count; i++) {
        const struct face_sample *s = &set->samples[i];
        if (judge_gaze_error(s, &gaze[i]) >= 0 && fmaxf(s->blink[0], s->blink[1]) <= MAX_BLINK)
            gains_add(&gains, s, &gaze[i]);
    }
    for (int i = 0; i < AXES; i++) {
        double eye, head, true_eye, true_head, n = gains.output[i].xx[2][2];
        regression_solve(&gains.output[i], &eye, &head);
        regression_solve(&gains.label[i], &true_eye, &true_head);
        double scale = JUDGE_WANTED_GAIN * (true_eye + true_head) / (eye + head);
        ret_scale[i] = n >= MIN_JUDGED && scale > 1 ? fmin(scale, JUDGE_MAX_SCALE) : 1;
        ret_shift_rad[i] = n >= MIN_JUDGED ? (gains.label[i].xy[2] - ret_scale[i] * gains.output[i].xy[2]) / n : 0;
    }
}

void judge_gaze_real(const struct face_set *set, const struct gaze_estimate *gaze, struct figures *ret)
{
    double *angle = malloc(sizeof(double) * 3 * (size_t)(set->count ? set->count : 1));
    if (!angle)
        return;
    double *yaw = angle + set->count, *pitch = yaw + set->count;
    int n = 0;
    for (int i = 0; i < set->count; i++) {
        if (gaze[i].sigma_rad < 0 || fabs(set->samples[i].yaw_deg) > MAX_LENS_YAW_DEG)
            continue;
        yaw[n] = deg_from_rad(gaze[i].normalised.yaw_rad);
        pitch[n] = deg_from_rad(gaze[i].normalised.pitch_rad);
        angle[n++] = deg_from_rad(angular_error(gaze[i].normalised, (struct angles){0, 0}));
    }
    add(ret, "real", "gaze_faces", n);
    add(ret, "real", "gaze_yaw_median_deg", judge_quantile(yaw, n, 0.5));
    add(ret, "real", "gaze_pitch_median_deg", judge_quantile(pitch, n, 0.5));
    add(ret, "real", "gaze_to_lens_median_deg", judge_quantile(angle, n, 0.5));
    free(angle);
}
