// Runs landmarks on the faces of a frame: crops, network, points and rotation back into the frame.
#include "models/landmarks.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "models/model_file.h"

#define PIXELS     (LANDMARKS_SIZE_PX * LANDMARKS_SIZE_PX)
#define PLAN_SIZES 2

// One plan for one face (the common case) and one for a full batch.
struct landmarks_plan {
    int batch;
    struct net net;
    npu_plan *plan;
    npu_val input;
    struct landmarks_values values;
};

struct landmarks {
    struct landmarks_plan plans[PLAN_SIZES];
    float pixels[LANDMARKS_MAX_BATCH * PIXELS];
    float points[LANDMARKS_MAX_BATCH][FACE_POINTS][2], log_sigma[LANDMARKS_MAX_BATCH][FACE_POINTS];
    float rotation[LANDMARKS_MAX_BATCH][6], blink[LANDMARKS_MAX_BATCH][2], face[LANDMARKS_MAX_BATCH];
    struct mat3 patch_from_frame[LANDMARKS_MAX_BATCH], turn[LANDMARKS_MAX_BATCH];
};

static int open_plan(npu_dev *dev, const char *path, int batch, struct landmarks_plan *p, char *message)
{
    p->batch = batch;
    int r = net_init(&p->net, 0);
    if (r < 0)
        return r;
    p->input = landmarks_build_served(&p->net, batch, &p->values);
    return model_plan_open(dev, p->net.graph, path, "landmarks", &p->plan, message);
}

int landmarks_open(npu_dev *dev, const char *path, struct landmarks **ret_landmarks, char *message)
{
    struct landmarks *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    static const int batch[PLAN_SIZES] = {1, LANDMARKS_MAX_BATCH};
    for (int i = 0; i < PLAN_SIZES; i++) {
        int r = open_plan(dev, path, batch[i], &l->plans[i], message);
        if (r < 0) {
            landmarks_close(l);
            return r;
        }
    }
    *ret_landmarks = l;
    return 0;
}

struct landmarks *landmarks_close(struct landmarks *l)
{
    if (!l)
        return NULL;
    for (int i = 0; i < PLAN_SIZES; i++) {
        npu_plan_free(l->plans[i].plan);
        net_clear(&l->plans[i].net);
    }
    free(l);
    return NULL;
}

static int run_plan(struct landmarks *l, struct landmarks_plan *p)
{
    size_t n = (size_t)p->batch;
    int r = npu_plan_write_val(p->plan, p->input, l->pixels, n * PIXELS * sizeof(float));
    if (r >= 0)
        r = npu_plan_run(p->plan);
    if (r >= 0)
        r = npu_plan_read_val(p->plan, p->values.points, l->points, n * sizeof(l->points[0]));
    if (r >= 0)
        r = npu_plan_read_val(p->plan, p->values.log_sigma, l->log_sigma, n * sizeof(l->log_sigma[0]));
    if (r >= 0)
        r = npu_plan_read_val(p->plan, p->values.rotation, l->rotation, n * sizeof(l->rotation[0]));
    if (r >= 0)
        r = npu_plan_read_val(p->plan, p->values.blink, l->blink, n * sizeof(l->blink[0]));
    if (r >= 0)
        r = npu_plan_read_val(p->plan, p->values.face, l->face, n * sizeof(l->face[0]));
    return r;
}

static float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

static void interpret(const struct landmarks *l, int index, const struct face_crop *crop, struct face_landmarks *out)
{
    float c = cosf(crop->roll_rad) * crop->side_px, s = sinf(crop->roll_rad) * crop->side_px;
    for (int i = 0; i < FACE_POINTS; i++) {
        float x = l->points[index][i][0], y = l->points[index][i][1];
        out->points[i].x = crop->centre.x + c * x - s * y;
        out->points[i].y = crop->centre.y + s * x + c * y;
        out->sigma_px[i] = crop->side_px * expf(l->log_sigma[index][i]);
    }
    struct mat3 seen, back = mat3_transpose(&l->turn[index]);
    if (rotation_from_6d(l->rotation[index], &seen) < 0)
        seen = mat3_identity();
    out->head = mat3_mul(&back, &seen);
    out->blink[0] = sigmoid(l->blink[index][0]);
    out->blink[1] = sigmoid(l->blink[index][1]);
    out->score = sigmoid(l->face[index]);
}

static int run_crops(struct landmarks *l, const struct image *frame, const struct camera *camera,
                     const struct face_crop *crops, int count, struct face_landmarks *ret)
{
    for (int i = 0; i < count; i++) {
        int r = face_crop_make(&crops[i], camera, &l->patch_from_frame[i], &l->turn[i]);
        if (r >= 0)
            r = face_crop_pixels(frame, &l->patch_from_frame[i], l->pixels + i * PIXELS);
        if (r < 0)
            return r;
    }
    int r = run_plan(l, &l->plans[count > 1]);
    if (r < 0)
        return r;
    for (int i = 0; i < count; i++)
        interpret(l, i, &crops[i], &ret[i]);
    return 0;
}

int landmarks_run(struct landmarks *l, const struct image *frame, const struct camera *camera, const struct box *boxes,
                  int count, struct face_landmarks *ret)
{
    struct face_crop crops[LANDMARKS_MAX_BATCH];
    for (int done = 0; done < count;) {
        int n = count - done < LANDMARKS_MAX_BATCH ? count - done : LANDMARKS_MAX_BATCH;
        for (int i = 0; i < n; i++)
            crops[i] = face_crop_from_box(boxes[done + i]);
        int r = run_crops(l, frame, camera, crops, n, ret + done);
        if (r < 0)
            return r;
        done += n;
    }
    return 0;
}

int landmarks_refine(struct landmarks *l, const struct image *frame, const struct camera *camera,
                     const struct face_landmarks *seen, int count, struct face_landmarks *ret)
{
    struct face_crop crops[LANDMARKS_MAX_BATCH];
    for (int done = 0; done < count;) {
        int n = count - done < LANDMARKS_MAX_BATCH ? count - done : LANDMARKS_MAX_BATCH;
        for (int i = 0; i < n; i++)
            crops[i] = face_crop_from_points(seen[done + i].points);
        int r = run_crops(l, frame, camera, crops, n, ret + done);
        if (r < 0)
            return r;
        done += n;
    }
    return 0;
}
