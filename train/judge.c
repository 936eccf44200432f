// The networks run over what judges them.
#include "train/judge.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double judge_quantile(double *values, int count, double share)
{
    if (count < 1)
        return NAN;
    qsort(values, (size_t)count, sizeof(*values), compare);
    double at = share * (count - 1);
    int low = (int)at, high = low + 1 < count ? low + 1 : low;
    return values[low] + (at - low) * (values[high] - values[low]);
}

int judge_find_all(npu_dev *dev, const char *path, const struct face_set *set, const struct box *boxes,
                   struct face_landmarks **ret_found, char *message)
{
    struct face_landmarks *found = calloc((size_t)(set->count ? set->count : 1), sizeof(*found));
    struct landmarks *l = NULL;
    int r = found ? landmarks_open(dev, path, &l, message) : -ENOMEM;
    for (int i = 0; r >= 0 && i < set->count; i++) {
        const struct face_sample *s = &set->samples[i];
        const struct box *box = boxes ? &boxes[i] : &s->box;
        if (!(box->w > 0))
            continue;
        r = landmarks_run(l, &s->image, &s->camera, box, 1, &found[i]);
        if (r >= 0)
            r = landmarks_refine(l, &s->image, &s->camera, &found[i], 1, &found[i]);
    }
    landmarks_close(l);
    if (r < 0) {
        free(found);
        return r;
    }
    *ret_found = found;
    return 0;
}

int judge_gaze_all(npu_dev *dev, const char *path, const struct face_set *set, const struct face_landmarks *found,
                   struct gaze_estimate **ret_gaze, char *message)
{
    struct gaze_estimate *gaze = calloc((size_t)(set->count ? set->count : 1), sizeof(*gaze));
    struct gaze_vit *v = NULL;
    int r = gaze ? gaze_vit_open(dev, path, &v, message) : -ENOMEM;
    for (int i = 0; r >= 0 && i < set->count; i++) {
        const struct face_sample *s = &set->samples[i];
        struct face_landmarks face = {.head = s->head, .score = 1};
        memcpy(face.points, s->points, sizeof(face.points));
        if (found)
            face = found[i];
        r = face.score > 0 ? gaze_vit_run(v, &s->image, &s->camera, &face, 1, &gaze[i]) : -EDOM;
        if (r == -EDOM) {
            gaze[i].sigma_rad = -1;
            r = 0;
        }
    }
    gaze_vit_close(v);
    if (r < 0) {
        free(gaze);
        return r;
    }
    *ret_gaze = gaze;
    return 0;
}
