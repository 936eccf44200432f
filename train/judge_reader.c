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

#define LEAST_FOUND_PERCENT  99 // of the faces in photographs: the finder's goals
#define LEAST_RECALL_PERCENT 95 // of those in scenes

double judge_found_percent(const struct judge_tally *t)
{
    return 100.0 * t->found / (t->faces ? t->faces : 1);
}

double judge_precision_percent(const struct judge_tally *t)
{
    return 100.0 * t->found / (t->boxes ? t->boxes : 1);
}

double judge_false_per_100(const struct judge_tally *t)
{
    return 100.0 * (t->boxes - t->found) / (t->pictures ? t->pictures : 1);
}

// Matches readings (any order) to faces, each to the best that is left; ret_best[i] is the reading of face i or -1.
static void match(const struct face_reading *readings, int count, const struct box *faces, int face_count,
                  struct judge_tally *tally, int *ret_best)
{
    bool used[FACE_READER_MAX_FACES] = {0};
    for (int k = 0; k < count; k++) {
        used[k] = readings[k].score < tally->threshold;
        tally->boxes += !used[k];
    }
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
    tally->pictures++;
    tally->faces += face_count;
}

static void match_all(const struct face_reading *readings, int count, const struct box *faces, int face_count,
                      struct judge_tally *tallies, int tally_count)
{
    int best[SCENE_MAX_FACES];
    for (int i = 0; i < tally_count; i++)
        match(readings, count, faces, face_count, &tallies[i], best);
}

int judge_sweep_choose(const struct judge_sweep *sweep)
{
    int chosen = -1, fewest = 0;
    for (int i = 0; i < sweep->count; i++) {
        const struct judge_tally *p = &sweep->photographs[i], *s = &sweep->scenes[i];
        int wrong = p->boxes - p->found + s->boxes - s->found;
        if (judge_found_percent(p) < LEAST_FOUND_PERCENT || (s->faces && judge_found_percent(s) < LEAST_RECALL_PERCENT))
            continue;
        if (chosen < 0 || wrong < fewest || (wrong == fewest && p->threshold < sweep->photographs[chosen].threshold)) {
            chosen = i;
            fewest = wrong;
        }
    }
    return chosen;
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

static void report(const char *prefix, const char *name, double value, struct figures *ret)
{
    char full[48];
    snprintf(full, sizeof(full), "%s.%s", prefix, name);
    figures_add(ret, full, value);
}

int judge_read_all(struct face_reader *reader, const char *prefix, const struct face_set *set, struct figures *ret,
                   struct judge_reading **ret_readings, struct judge_misses *misses, struct judge_sweep *sweep)
{
    struct judge_reading *out = calloc((size_t)set->count + 1, sizeof(*out));
    struct judge_tally tally = {0};
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
        if (sweep)
            match_all(readings, n, &s->box, 1, sweep->photographs, sweep->count);
        note_miss(misses, s, readings, n, best);
        out[i].gaze.sigma_rad = -1;
        if (best >= 0)
            keep(&readings[best], &out[i]);
    }
    report(prefix, "pictures", set->count, ret);
    report(prefix, "faces_found_percent", judge_found_percent(&tally), ret);
    report(prefix, "false_boxes_per_100", judge_false_per_100(&tally), ret);
    *ret_readings = out;
    return 0;
}

int judge_read_scenes(struct face_reader *reader, const char *prefix, const struct face_set *set, int scenes,
                      struct figures *ret, struct judge_sweep *sweep)
{
    static const struct scene_spec spec = {640, 480, 37, 346, 1, SCENE_MAX_FACES}; // heights: widths are 0.87 of them
    struct face_set none = {0};
    struct judge_tally tally = {0};
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
        if (r < 0)
            break;
        match(readings, r, boxes, n, &tally, best);
        if (sweep)
            match_all(readings, r, boxes, n, sweep->scenes, sweep->count);
    }
    image_free(&scene);
    if (r < 0)
        return r;
    report(prefix, "faces", tally.faces, ret);
    report(prefix, "recall_percent", judge_found_percent(&tally), ret);
    report(prefix, "precision_percent", judge_precision_percent(&tally), ret);
    return 0;
}
