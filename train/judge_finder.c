// Figures of the face finder: whole photographs and composed scenes.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/judge.h"
#include "train/scene.h"

#define SCENE_SEED   20260001
#define SCENE_STREAM 0x7363656e // "scen"
#define MATCH_IOU    0.5f

struct count {
    int faces, found, boxes, right;
};

// Matches boxes (best first) to faces; ret_best[i] is the box of face i or -1.
static void match(const struct face_found *boxes, int count, const struct box *faces, int face_count,
                  struct count *total, int *ret_best)
{
    for (int i = 0; i < face_count; i++)
        ret_best[i] = -1;
    for (int b = 0; b < count; b++) {
        int best = -1;
        float iou = MATCH_IOU;
        for (int i = 0; i < face_count; i++) {
            float v = box_iou(boxes[b].box, faces[i]);
            if (ret_best[i] < 0 && v >= iou) {
                best = i;
                iou = v;
            }
        }
        if (best >= 0) {
            ret_best[best] = b;
            total->right++;
            total->found++;
        }
    }
    total->boxes += count;
    total->faces += face_count;
}

static int judge_photographs(struct face_finder *finder, const struct face_set *set, struct figures *ret,
                             struct box *boxes, struct judge_misses *misses)
{
    struct count total = {0};
    for (int i = 0; i < set->count; i++) {
        const struct face_sample *s = &set->samples[i];
        struct face_found found[FACE_FINDER_MAX_FACES];
        int best, n = face_finder_run(finder, &s->image, found, FACE_FINDER_MAX_FACES);
        if (n < 0)
            return n;
        match(found, n, &s->box, 1, &total, &best);
        if (boxes)
            boxes[i] = best >= 0 ? found[best].box : (struct box){0};
        if (!misses || (best >= 0 && n == 1))
            continue;
        struct judge_miss *m = &misses->list[misses->count++];
        memcpy(m->id, s->id, sizeof(m->id));
        m->iou = 0;
        m->false_boxes = n - (best >= 0);
        for (int k = 0; k < n; k++)
            m->iou = fmaxf(m->iou, box_iou(found[k].box, s->box));
    }
    figures_add(ret, "finder.pictures", set->count);
    figures_add(ret, "finder.found_percent", 100.0 * total.found / (total.faces ? total.faces : 1));
    figures_add(ret, "finder.false_per_100", 100.0 * (total.boxes - total.right) / (set->count ? set->count : 1));
    return 0;
}

static int judge_scenes(struct face_finder *finder, const struct face_set *set, int scenes, struct figures *ret)
{
    static const struct scene_spec spec = {640, 480, 37,
                                           346, 1,   SCENE_MAX_FACES}; // box heights: widths are 0.87 of them
    struct face_set none = {0};
    struct count total = {0};
    struct image scene;
    int r = image_alloc(spec.width_px, spec.height_px, 1, &scene);
    for (int i = 0; r >= 0 && i < scenes; i++) {
        struct rng rng = rng_make(SCENE_SEED, SCENE_STREAM, (uint64_t)i);
        struct scene_face faces[SCENE_MAX_FACES];
        struct box boxes[SCENE_MAX_FACES];
        struct face_found found[FACE_FINDER_MAX_FACES];
        int best[SCENE_MAX_FACES], n = scene_compose(&rng, set, &none, &spec, &scene, faces);
        for (int k = 0; k < n; k++)
            boxes[k] = faces[k].box;
        r = n < 0 ? n : face_finder_run(finder, &scene, found, FACE_FINDER_MAX_FACES);
        if (r >= 0)
            match(found, r, boxes, n, &total, best);
    }
    image_free(&scene);
    if (r < 0)
        return r;
    figures_add(ret, "finder.scene_faces", total.faces);
    figures_add(ret, "finder.scene_recall_percent", 100.0 * total.found / (total.faces ? total.faces : 1));
    figures_add(ret, "finder.scene_precision_percent", 100.0 * total.right / (total.boxes ? total.boxes : 1));
    return 0;
}

int judge_face_finder(npu_dev *dev, const char *path, const struct face_set *set, int scenes, struct figures *ret,
                      struct box **ret_boxes, struct judge_misses *ret_misses, char *message)
{
    struct face_finder *wide = NULL, *square = NULL;
    const struct face_finder_options options = {.width_px = 256, .height_px = 256};
    size_t n = (size_t)(set->count ? set->count : 1);
    struct box *boxes = calloc(n, sizeof(*boxes));
    int r = boxes ? face_finder_open(dev, path, &options, &square, message) : -ENOMEM;
    if (r >= 0)
        r = face_finder_open(dev, path, NULL, &wide, message);
    if (r >= 0)
        r = judge_photographs(square, set, ret, boxes, ret_misses);
    if (r >= 0 && set->count)
        r = judge_scenes(wide, set, scenes, ret);
    face_finder_close(square);
    face_finder_close(wide);
    if (r >= 0 && ret_boxes)
        *ret_boxes = boxes;
    else
        free(boxes);
    return r < 0 ? r : 0;
}
