// Runs face_finder on frames: letterbox, network, decode, non-maximum suppression, back to frame pixels.
#include "models/face_finder.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "models/model_file.h"
#include "vision/warp.h"

#define INPUT_MAX_PX 1024
#define WITHIN_SHARE 0.8f // of a box's area inside a better one: then it is none

struct face_finder {
    struct net net;
    npu_plan *plan;
    npu_val input, levels[FACE_FINDER_LEVELS];
    struct face_finder_options options;
    float *pixels, *maps[FACE_FINDER_LEVELS];
    struct face_found candidates[BOX_NMS_MAX];
    struct box boxes[BOX_NMS_MAX];
    float scores[BOX_NMS_MAX];
    int keep[BOX_NMS_MAX];
};

static float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

static size_t level_elements(const struct face_finder *f, int level)
{
    int stride = face_finder_levels[level].stride_px;
    return (size_t)(f->options.width_px / stride) * (size_t)(f->options.height_px / stride) * FACE_FINDER_CHANNELS;
}

static int allocate(struct face_finder *f)
{
    f->pixels = malloc(sizeof(float) * (size_t)f->options.width_px * (size_t)f->options.height_px);
    if (!f->pixels)
        return -ENOMEM;
    for (int i = 0; i < FACE_FINDER_LEVELS; i++) {
        f->maps[i] = malloc(sizeof(float) * level_elements(f, i));
        if (!f->maps[i])
            return -ENOMEM;
    }
    return 0;
}

static int build(struct face_finder *f)
{
    int r = net_init(&f->net, 0);
    if (r < 0)
        return r;
    f->input = face_finder_build_served(&f->net, 1, f->options.width_px, f->options.height_px, f->levels);
    return npu_graph_status(f->net.graph);
}

int face_finder_open(npu_dev *dev, const char *path, const struct face_finder_options *options,
                     struct face_finder **ret_finder, char *message)
{
    struct face_finder *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    if (options)
        f->options = *options;
    struct face_finder_options *o = &f->options;
    if (!o->width_px && !o->height_px) {
        o->width_px = 256;
        o->height_px = 192;
    }
    o->score_threshold = o->score_threshold > 0 ? o->score_threshold : FACE_FINDER_SCORE;
    o->overlap_threshold = o->overlap_threshold > 0 ? o->overlap_threshold : 0.4f;
    int r = -EINVAL;
    if (o->width_px >= 32 && o->height_px >= 32 && o->width_px <= INPUT_MAX_PX && o->height_px <= INPUT_MAX_PX &&
        o->width_px % 32 == 0 && o->height_px % 32 == 0)
        r = build(f);
    else if (message)
        snprintf(message, MODEL_MESSAGE_SIZE, "face_finder can't take %d x %d: multiples of 32 up to %d", o->width_px,
                 o->height_px, INPUT_MAX_PX);
    if (r >= 0)
        r = allocate(f);
    if (r >= 0)
        r = model_plan_open(dev, f->net.graph, path, "face_finder", &f->plan, message);
    if (r < 0) {
        face_finder_close(f);
        return r;
    }
    *ret_finder = f;
    return 0;
}

struct face_finder *face_finder_close(struct face_finder *f)
{
    if (!f)
        return NULL;
    npu_plan_free(f->plan);
    net_clear(&f->net);
    free(f->pixels);
    for (int i = 0; i < FACE_FINDER_LEVELS; i++)
        free(f->maps[i]);
    free(f);
    return NULL;
}

// The edges' exponent is bounded so that a wild value can't become infinite.
static float edge_px(float raw, float unit_px)
{
    return unit_px * expf(fminf(fmaxf(raw, -4), 4));
}

int face_finder_decode(const float *map, int rows, int columns, const struct face_finder_level *level, float threshold,
                       struct face_found *faces, int count)
{
    float logit = logf(threshold / (1 - threshold));
    for (int row = 0; row < rows; row++) {
        for (int column = 0; column < columns; column++, map += FACE_FINDER_CHANNELS) {
            if (!(map[0] >= logit) || count >= BOX_NMS_MAX)
                continue;
            float x = ((float)column + 0.5f) * (float)level->stride_px;
            float y = ((float)row + 0.5f) * (float)level->stride_px;
            float left = edge_px(map[1], level->unit_px), top = edge_px(map[2], level->unit_px);
            struct face_found *f = &faces[count++];
            f->score = sigmoid(map[0]);
            f->box = (struct box){x - left, y - top, left + edge_px(map[3], level->unit_px),
                                  top + edge_px(map[4], level->unit_px)};
            for (int i = 0; i < FACE_FINDER_POINTS; i++)
                f->points[i] = (struct point){x + level->unit_px * map[5 + 2 * i], y + level->unit_px * map[6 + 2 * i]};
        }
    }
    return count;
}

static int read_candidates(struct face_finder *f, int *ret_count)
{
    int count = 0;
    for (int i = 0; i < FACE_FINDER_LEVELS; i++) {
        const struct face_finder_level *level = &face_finder_levels[i];
        int r = npu_plan_read_val(f->plan, f->levels[i], f->maps[i], level_elements(f, i) * sizeof(float));
        if (r < 0)
            return r;
        count = face_finder_decode(f->maps[i], f->options.height_px / level->stride_px,
                                   f->options.width_px / level->stride_px, level, f->options.score_threshold,
                                   f->candidates, count);
    }
    for (int i = 0; i < count; i++) {
        f->boxes[i] = f->candidates[i].box;
        f->scores[i] = f->candidates[i].score;
    }
    *ret_count = count;
    return 0;
}

// A letterbox only scales and shifts.
static struct face_found to_frame(const struct face_found *found, const struct mat3 *input_from_frame)
{
    float scale = 1 / (float)input_from_frame->m[0][0];
    float dx = (float)input_from_frame->m[0][2], dy = (float)input_from_frame->m[1][2];
    struct face_found out = {.score = found->score};
    out.box = (struct box){(found->box.x - dx) * scale, (found->box.y - dy) * scale, found->box.w * scale,
                           found->box.h * scale};
    for (int i = 0; i < FACE_FINDER_POINTS; i++)
        out.points[i] = (struct point){(found->points[i].x - dx) * scale, (found->points[i].y - dy) * scale};
    return out;
}

// Whether a box lies within one that is kept already: an eye or a mouth taken for a face.
static bool is_within(const struct box *box, const struct face_found *kept, int count)
{
    for (int i = 0; i < count; i++) {
        const struct box *k = &kept[i].box;
        float w = fminf(box->x + box->w, k->x + k->w) - fmaxf(box->x, k->x);
        float h = fminf(box->y + box->h, k->y + k->h) - fmaxf(box->y, k->y);
        if (w > 0 && h > 0 && w * h > WITHIN_SHARE * box->w * box->h)
            return true;
    }
    return false;
}

int face_finder_run(struct face_finder *f, const struct image *frame, struct face_found *ret_faces, int max)
{
    const struct face_finder_options *o = &f->options;
    int r = image_check(frame);
    if (r < 0)
        return r;
    struct mat3 input_from_frame = warp_letterbox(frame->width, frame->height, o->width_px, o->height_px);
    r = warp_to_f32(frame, &input_from_frame, o->width_px, o->height_px, 1, &WARP_NORM_SIGNED, f->pixels);
    if (r >= 0)
        r = npu_plan_write_val(f->plan, f->input, f->pixels,
                               sizeof(float) * (size_t)o->width_px * (size_t)o->height_px);
    if (r >= 0)
        r = npu_plan_run(f->plan);
    int count = 0;
    if (r >= 0)
        r = read_candidates(f, &count);
    if (r < 0)
        return r;
    count = box_nms(f->boxes, f->scores, count, o->overlap_threshold, f->keep);
    if (count < 0)
        return count;
    int kept = 0;
    for (int i = 0; i < count && kept < max; i++) {
        struct face_found found = to_frame(&f->candidates[f->keep[i]], &input_from_frame);
        // Half of the face must be in the frame: the letterbox's repeated border is no place for faces.
        struct box inside = box_clipped(found.box, frame->width, frame->height);
        if (inside.w * inside.h >= 0.5f * found.box.w * found.box.h && !is_within(&found.box, ret_faces, kept))
            ret_faces[kept++] = found;
    }
    return kept;
}
