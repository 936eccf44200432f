// Runs gaze_vit on the faces of a frame: eye strips, network, gaze back into the camera frame.
#include "models/gaze_vit.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/model_file.h"
#include "vision/normalise.h"
#include "vision/warp.h"

#define PLAN_SIZES      2
#define VIEWS           2 // each face as it is and mirrored: left and right are treated alike, noise is averaged
#define STRIPS          (VIEWS * GAZE_VIT_MAX_BATCH)
#define STRIP_DEVIATION 6.0f // grey levels: what counts as flat
#define POSE_GAIN       2.0f // radians to input units

struct gaze_plan {
    int batch;
    struct net net;
    npu_plan *plan;
    struct gaze_vit_values values;
};

struct gaze_vit {
    struct gaze_plan plans[PLAN_SIZES];
    // Face i has strips 2 i (as it is) and 2 i + 1 (mirrored).
    float pixels[STRIPS][GAZE_VIT_PIXELS], pose[STRIPS][GAZE_VIT_POSE];
    float angles[STRIPS][2], log_sigma[STRIPS];
    float feature[STRIPS][GAZE_VIT_FEATURES];
    struct eye_strip strips[GAZE_VIT_MAX_BATCH];
};

int gaze_vit_strip(const struct camera *camera, const struct point points[FACE_LANDMARKS], struct eye_strip *ret_strip)
{
    const struct point corners[4] = {points[FACE_RIGHT_EYE_OUTER], points[FACE_RIGHT_EYE_INNER],
                                     points[FACE_LEFT_EYE_INNER], points[FACE_LEFT_EYE_OUTER]};
    return eye_strip_make(camera, camera_ray(camera, face_origin_px(points)), NULL, corners, EYE_STRIP_ROLL_CORNERS,
                          EYE_STRIP_WIDTH_PX, EYE_STRIP_HEIGHT_PX, ret_strip);
}

#define ZOOM GAZE_VIT_EYE_ZOOM
#define TOP  (-0.5 * (ZOOM * EYE_STRIP_HEIGHT_PX - GAZE_VIT_EYE_HEIGHT_PX))
#define EDGE                                                                                                           \
    (0.5 * (EYE_STRIP_OUTER_SHARE + EYE_STRIP_INNER_SHARE) * ZOOM * EYE_STRIP_WIDTH_PX - 0.5 * GAZE_VIT_EYE_WIDTH_PX)

// strip -> window. The eye's middle between its corners is the window's middle; the left eye is mirrored.
static const struct mat3 window_from_strip[2] = {
    {{{ZOOM, 0, -EDGE}, {0, ZOOM, TOP}, {0, 0, 1}}},
    {{{-ZOOM, 0, ZOOM *EYE_STRIP_WIDTH_PX - EDGE}, {0, ZOOM, TOP}, {0, 0, 1}}},
};

struct point gaze_vit_in_window(struct point in_strip, int eye)
{
    const struct mat3 *w = &window_from_strip[eye];
    return (struct point){(float)(w->m[0][0] * in_strip.x + w->m[0][2]), (float)(w->m[1][1] * in_strip.y + w->m[1][2])};
}

int gaze_vit_windows(const struct image *frame, const struct eye_strip *strip, float ret_pixels[GAZE_VIT_PIXELS])
{
    static const struct warp_norm plain = {{0, 0, 0}, {1, 1, 1}};
    int r = 0;
    for (int eye = 0; r >= 0 && eye < 2; eye++) {
        struct mat3 m = mat3_mul(&window_from_strip[eye], &strip->strip_from_frame);
        r = warp_to_f32(frame, &m, GAZE_VIT_EYE_WIDTH_PX, GAZE_VIT_EYE_HEIGHT_PX, 1, &plain,
                        ret_pixels + (size_t)eye * GAZE_VIT_PIXELS / 2);
    }
    return r;
}

void gaze_vit_standardise(float pixels[GAZE_VIT_PIXELS])
{
    warp_standardise(pixels, GAZE_VIT_PIXELS, STRIP_DEVIATION);
}

void gaze_vit_pose_input(const struct mat3 *head_in_strip, float ret_pose[GAZE_VIT_POSE])
{
    struct head_angles a = head_angles_from_rotation(head_in_strip);
    ret_pose[0] = POSE_GAIN * (float)a.pitch_rad;
    ret_pose[1] = POSE_GAIN * (float)a.yaw_rad;
    ret_pose[2] = POSE_GAIN * (float)a.roll_rad;
}

static int open_plan(npu_dev *dev, const char *path, int batch, struct gaze_plan *p, char *message)
{
    p->batch = batch;
    int r = net_init(&p->net, 0);
    if (r < 0)
        return r;
    gaze_vit_build_served(&p->net, batch, &p->values);
    return model_plan_open(dev, p->net.graph, path, "gaze_vit", &p->plan, message);
}

int gaze_vit_open(npu_dev *dev, const char *path, struct gaze_vit **ret_vit, char *message)
{
    struct gaze_vit *v = calloc(1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    static const int batch[PLAN_SIZES] = {VIEWS, STRIPS};
    for (int i = 0; i < PLAN_SIZES; i++) {
        int r = open_plan(dev, path, batch[i], &v->plans[i], message);
        if (r < 0) {
            gaze_vit_close(v);
            return r;
        }
    }
    *ret_vit = v;
    return 0;
}

struct gaze_vit *gaze_vit_close(struct gaze_vit *v)
{
    if (!v)
        return NULL;
    for (int i = 0; i < PLAN_SIZES; i++) {
        npu_plan_free(v->plans[i].plan);
        net_clear(&v->plans[i].net);
    }
    free(v);
    return NULL;
}

void gaze_vit_mirror(const float *pixels, const float *pose, float *ret_pixels, float *ret_pose)
{
    const size_t eye = GAZE_VIT_PIXELS / 2;
    memcpy(ret_pixels, pixels + eye, eye * sizeof(*pixels));
    memcpy(ret_pixels + eye, pixels, eye * sizeof(*pixels));
    ret_pose[0] = pose[0];
    ret_pose[1] = -pose[1];
    ret_pose[2] = -pose[2];
}

static int prepare(struct gaze_vit *v, int index, const struct image *frame, const struct camera *camera,
                   const struct face_landmarks *face)
{
    struct eye_strip *strip = &v->strips[index];
    float *pixels = v->pixels[VIEWS * index], *pose = v->pose[VIEWS * index];
    int r = gaze_vit_strip(camera, face->points, strip);
    if (r >= 0)
        r = gaze_vit_windows(frame, strip, pixels);
    if (r < 0)
        return r;
    gaze_vit_standardise(pixels);
    struct mat3 head = mat3_mul(&strip->rotation, &face->head);
    gaze_vit_pose_input(&head, pose);
    gaze_vit_mirror(pixels, pose, v->pixels[VIEWS * index + 1], v->pose[VIEWS * index + 1]);
    return 0;
}

static int run_plan(struct gaze_vit *v, struct gaze_plan *p)
{
    size_t n = (size_t)p->batch;
    int r = npu_plan_write_val(p->plan, p->values.image, v->pixels, n * sizeof(v->pixels[0]));
    if (r >= 0)
        r = npu_plan_write_val(p->plan, p->values.pose, v->pose, n * sizeof(v->pose[0]));
    if (r >= 0)
        r = npu_plan_run(p->plan);
    if (r >= 0)
        r = npu_plan_read_val(p->plan, p->values.angles, v->angles, n * sizeof(v->angles[0]));
    if (r >= 0)
        r = npu_plan_read_val(p->plan, p->values.log_sigma, v->log_sigma, n * sizeof(v->log_sigma[0]));
    if (r >= 0)
        r = npu_plan_read_val(p->plan, p->values.feature, v->feature, n * sizeof(v->feature[0]));
    return r;
}

static void interpret(const struct gaze_vit *v, int index, const struct camera *camera,
                      const struct face_landmarks *face, struct gaze_estimate *out)
{
    const struct eye_strip *strip = &v->strips[index];
    const int a = VIEWS * index, b = a + 1; // the strip and its mirror image
    out->strip = (struct angles){.pitch_rad = (v->angles[a][1] + v->angles[b][1]) / 2,
                                 .yaw_rad = (v->angles[a][0] - v->angles[b][0]) / 2};
    out->gaze = mat3_apply_transposed(&strip->rotation, gaze_from_angles(out->strip));
    out->normalised = out->strip;
    struct mat3 turn;
    struct vec3 ray = camera_ray(camera, face_origin_px(face->points));
    if (normalise_rotation(ray, mat3_column(&face->head, 0), &turn) >= 0)
        out->normalised = gaze_to_angles(mat3_apply(&turn, out->gaze));
    out->sigma_rad = expf(fminf((v->log_sigma[a] + v->log_sigma[b]) / 2, 1));
    out->frame_px_per_strip_px = (float)strip->frame_px_per_strip_px;
    for (int i = 0; i < GAZE_VIT_FEATURES; i++)
        out->feature[i] = v->feature[a][i];
}

int gaze_vit_run(struct gaze_vit *v, const struct image *frame, const struct camera *camera,
                 const struct face_landmarks *faces, int count, struct gaze_estimate *ret)
{
    for (int done = 0; done < count;) {
        int n = count - done < GAZE_VIT_MAX_BATCH ? count - done : GAZE_VIT_MAX_BATCH;
        for (int i = 0; i < n; i++) {
            int r = prepare(v, i, frame, camera, &faces[done + i]);
            if (r < 0)
                return r;
        }
        int r = run_plan(v, &v->plans[n > 1]);
        if (r < 0)
            return r;
        for (int i = 0; i < n; i++)
            interpret(v, i, camera, &faces[done + i], &ret[done + i]);
        done += n;
    }
    return 0;
}
