// The whole way of the product - finder, landmarks, pose, gaze, as face_reader runs them - over a set, and its figures.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/face_reader.h"
#include "train/judge.h"
#include "train/scene.h"

#define SCENE_SEED   20260001
#define SCENE_STREAM 0x7363656e // "scen"
#define MATCH_IOU    0.5f

struct tally {
    int faces, found, boxes;
};

// Matches readings (any order) to faces, each to the best that is left; ret_best[i] is the reading of face i or -1.
static void match(const struct face_reading *readings, int count, const struct box *faces, int face_count,
                  struct tally *tally, int *ret_best)
{
    bool used[FACE_READER_MAX_FACES] = {0};
    for (int i = 0; i < face_count; i++) {
        float best = MATCH_IOU;
        ret_best[i] = -1;
        for (int k = 0; k < count; k++) {
            float iou = used[k] ? 0 : box_iou(readings[k].box, faces[i]);
            if (iou >= best) {
                best = iou;
                ret_best[i] = k;
            }
        }
        if (ret_best[i] >= 0) {
            used[ret_best[i]] = true;
            tally->found++;
        }
    }
    tally->faces += face_count;
    tally->boxes += count;
}

static void note_miss(struct judge_misses *misses, const struct face_sample *s, const struct face_reading *readings,
                      int count, int best)
{
    if (!misses || (best >= 0 && count == 1))
        return;
    struct judge_miss *m = &misses->list[misses->count++];
    memcpy(m->id, s->id, sizeof(m->id));
    m->iou = 0;
    m->false_boxes = count - (best >= 0);
    for (int k = 0; k < count; k++)
        m->iou = fmaxf(m->iou, box_iou(readings[k].box, s->box));
}

static void keep(const struct face_reading *reading, struct judge_reading *out)
{
    out->found = reading->landmarks;
    out->gaze = reading->gaze;
    if (!reading->has_gaze)
        out->gaze.sigma_rad = -1;
}

static void report(const char *prefix, const struct tally *t, int pictures, struct figures *ret)
{
    char name[48];
    snprintf(name, sizeof(name), "%s.pictures", prefix);
    figures_add(ret, name, pictures);
    snprintf(name, sizeof(name), "%s.faces_found_percent", prefix);
    figures_add(ret, name, 100.0 * t->found / (t->faces ? t->faces : 1));
    snprintf(name, sizeof(name), "%s.false_boxes_per_100", prefix);
    figures_add(ret, name, 100.0 * (t->boxes - t->found) / (pictures ? pictures : 1));
}

int judge_read_all(struct face_reader *reader, const char *prefix, const struct face_set *set, struct figures *ret,
                   struct judge_reading **ret_readings, struct judge_misses *misses)
{
    struct judge_reading *out = calloc((size_t)set->count + 1, sizeof(*out));
    struct tally tally = {0};
    if (!out)
        return -ENOMEM;
    for (int i = 0; i < set->count; i++) {
        const struct face_sample *s = &set->samples[i];
        struct face_reading readings[FACE_READER_MAX_FACES];
        int best, n = face_reader_read(reader, &s->image, &s->camera, true, readings, 0, FACE_READER_MAX_FACES, NULL);
        if (n < 0) {
            free(out);
            return n;
        }
        match(readings, n, &s->box, 1, &tally, &best);
        note_miss(misses, s, readings, n, best);
        out[i].gaze.sigma_rad = -1;
        if (best >= 0)
            keep(&readings[best], &out[i]);
    }
    report(prefix, &tally, set->count, ret);
    *ret_readings = out;
    return 0;
}

int judge_read_scenes(struct face_reader *reader, const struct face_set *set, int scenes, struct figures *ret)
{
    static const struct scene_spec spec = {640, 480, 37, 346, 1, SCENE_MAX_FACES}; // heights: widths are 0.87 of them
    struct face_set none = {0};
    struct tally tally = {0};
    struct camera camera;
    struct image scene;
    int r = camera_from_hfov(spec.width_px, spec.height_px, rad_from_deg(CAMERA_DEFAULT_HFOV_DEG), &camera);
    if (r < 0 || (r = image_alloc(spec.width_px, spec.height_px, 1, &scene)) < 0)
        return r;
    for (int i = 0; r >= 0 && i < scenes; i++) {
        struct rng rng = rng_make(SCENE_SEED, SCENE_STREAM, (uint64_t)i);
        struct scene_face faces[SCENE_MAX_FACES];
        struct box boxes[SCENE_MAX_FACES];
        struct face_reading readings[FACE_READER_MAX_FACES];
        int best[SCENE_MAX_FACES], n = scene_compose(&rng, set, &none, &spec, &scene, faces);
        for (int k = 0; k < n; k++)
            boxes[k] = faces[k].box;
        r = n < 0 ? n : face_reader_read(reader, &scene, &camera, true, readings, 0, FACE_READER_MAX_FACES, NULL);
        if (r >= 0)
            match(readings, r, boxes, n, &tally, best);
    }
    image_free(&scene);
    if (r < 0)
        return r;
    figures_add(ret, "scenes.faces", tally.faces);
    figures_add(ret, "scenes.recall_percent", 100.0 * tally.found / (tally.faces ? tally.faces : 1));
    figures_add(ret, "scenes.precision_percent", 100.0 * tally.found / (tally.boxes ? tally.boxes : 1));
    return 0;
}
