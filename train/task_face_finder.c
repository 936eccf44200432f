// Training of face_finder: composed scenes and whole pictures; targets drawn into maps for each level.
#include <math.h>

#include "models/face_finder.h"
#include "train/augment.h"
#include "train/judge.h"
#include "train/scene.h"
#include "train/task.h"
#include "train/task_data.h"

#define WIDTH_PX     256
#define HEIGHT_PX    192
#define PIXELS       (WIDTH_PX * HEIGHT_PX)
#define GEOMETRY     (FACE_FINDER_CHANNELS - 1)
#define CORE_SHARE   0.22f // half width of the region of positive cells, shares of the box
#define RIM_SHARE    0.4f  // up to here cells are neither face nor background
#define NEAR_SIZE    1.25f // a face this near to the level's sizes is neither face nor background either
#define IGNORE_BELOW 9.0f  // faces smaller than this teach nothing

enum { IN_IMAGE, IN_POSITIVE8, IN_NEGATIVE8, IN_GEOMETRY8, IN_POSITIVE32, IN_NEGATIVE32, IN_GEOMETRY32, INPUTS };

static const struct task_input inputs[INPUTS] = {
    [IN_IMAGE] = {"image", 3, {HEIGHT_PX, WIDTH_PX, 1}},
    [IN_POSITIVE8] = {"positive8", 3, {HEIGHT_PX / 8, WIDTH_PX / 8, 1}},
    [IN_NEGATIVE8] = {"negative8", 3, {HEIGHT_PX / 8, WIDTH_PX / 8, 1}},
    [IN_GEOMETRY8] = {"geometry8", 3, {HEIGHT_PX / 8, WIDTH_PX / 8, GEOMETRY}},
    [IN_POSITIVE32] = {"positive32", 3, {HEIGHT_PX / 32, WIDTH_PX / 32, 1}},
    [IN_NEGATIVE32] = {"negative32", 3, {HEIGHT_PX / 32, WIDTH_PX / 32, 1}},
    [IN_GEOMETRY32] = {"geometry32", 3, {HEIGHT_PX / 32, WIDTH_PX / 32, GEOMETRY}},
};

static void mirror_scene(struct image *scene, struct scene_face *faces, int count)
{
    static const int swap[5] = {1, 0, 2, 4, 3};
    image_mirror(scene, scene);
    for (int i = 0; i < count; i++) {
        struct scene_face f = faces[i];
        faces[i].box.x = (float)scene->width - f.box.x - f.box.w;
        for (int k = 0; k < 5; k++)
            faces[i].points[k] = (struct point){(float)scene->width - f.points[swap[k]].x, f.points[swap[k]].y};
    }
}

static int draw_scene(struct rng *rng, const struct task_data *d, struct image *scene, struct scene_face *faces)
{
    bool whole = rng_chance(rng, 0.3f), none = rng_chance(rng, 0.1f);
    struct scene_spec spec = {WIDTH_PX, HEIGHT_PX, 11, 150, none ? 0 : 1, none ? 0 : SCENE_MAX_FACES};
    if (!whole)
        return scene_compose(rng, &d->real, &d->rendered, &spec, scene, faces);
    bool real = d->real.count && (!d->rendered.count || rng_chance(rng, 0.7f));
    const struct face_set *set = real ? &d->real : &d->rendered;
    return scene_whole(rng, &set->samples[rng_below(rng, set->count)], scene, faces);
}

static void put_geometry(const struct scene_face *f, const struct face_finder_level *level, float x, float y,
                         float *out)
{
    const float edge[4] = {x - f->box.x, y - f->box.y, f->box.x + f->box.w - x, f->box.y + f->box.h - y};
    for (int i = 0; i < 4; i++)
        out[i] = logf(fmaxf(edge[i], 1) / level->unit_px);
    for (int i = 0; i < 5; i++) {
        out[4 + 2 * i] = (f->points[i].x - x) / level->unit_px;
        out[5 + 2 * i] = (f->points[i].y - y) / level->unit_px;
    }
}

// One face in one level's maps: cells near its middle are positive, those round them count for nothing. A face that is
// clearly another level's is background here: an eye is no small face.
static void put_face(const struct scene_face *f, const struct face_finder_level *level, float *positive,
                     float *negative, float *geometry)
{
    int columns = WIDTH_PX / level->stride_px, rows = HEIGHT_PX / level->stride_px, count = 0;
    float cx = f->box.x + f->box.w / 2, cy = f->box.y + f->box.h / 2, size = fmaxf(f->box.w, f->box.h);
    bool wanted = size >= level->min_px && size <= level->max_px && size >= IGNORE_BELOW;
    if (size > NEAR_SIZE * level->max_px || NEAR_SIZE * size < level->min_px)
        return;
    int middle = (int)(cy / (float)level->stride_px) * columns + (int)(cx / (float)level->stride_px);
    bool inside = cx >= 0 && cy >= 0 && cx < WIDTH_PX && cy < HEIGHT_PX;
    for (int pass = 0; pass < 2; pass++) // first count the positive cells, then give each its share
        for (int i = 0; i < rows * columns; i++) {
            float x = ((float)(i % columns) + 0.5f) * (float)level->stride_px;
            float y = ((float)(i / columns) + 0.5f) * (float)level->stride_px;
            float away = fmaxf(fabsf(x - cx) / f->box.w, fabsf(y - cy) / f->box.h);
            bool core = wanted && ((inside && i == middle) || away < CORE_SHARE);
            if (pass == 0) {
                count += core;
                negative[i] = core || away < RIM_SHARE ? 0 : negative[i];
            } else if (core) {
                positive[i] = 1 / (float)count;
                put_geometry(f, level, x, y, geometry + (size_t)i * GEOMETRY);
            }
        }
}

static int fill(void *user, struct rng *rng, float *const *in)
{
    struct task_data *d = user;
    struct scene_face faces[SCENE_MAX_FACES];
    struct image scene;
    int r = image_alloc(WIDTH_PX, HEIGHT_PX, 1, &scene);
    if (r < 0)
        return r;
    int count = r = draw_scene(rng, d, &scene, faces);
    if (r >= 0 && rng_chance(rng, 0.5f))
        mirror_scene(&scene, faces, count);
    for (int i = 0; r >= 0 && i < PIXELS; i++)
        in[IN_IMAGE][i] = scene.data[i];
    image_free(&scene);
    static const struct augment_strength strength = {0.4f, 0.7f, 1, 0.5f};
    if (r >= 0 && rng_chance(rng, 0.7f))
        r = augment_patch(rng, &strength, WIDTH_PX, HEIGHT_PX, in[IN_IMAGE]);
    if (r < 0)
        return r;
    for (int i = 0; i < PIXELS; i++)
        in[IN_IMAGE][i] = (in[IN_IMAGE][i] - 127.5f) / 127.5f;
    for (int k = 0; k < FACE_FINDER_LEVELS; k++) {
        const struct face_finder_level *level = &face_finder_levels[k];
        float *const *maps = in + (k ? IN_POSITIVE32 : IN_POSITIVE8);
        int cells = (WIDTH_PX / level->stride_px) * (HEIGHT_PX / level->stride_px);
        for (int i = 0; i < cells; i++)
            maps[1][i] = 1;
        for (int i = 0; i < count; i++)
            put_face(&faces[i], level, maps[0], maps[1], maps[2]);
    }
    return 0;
}

// Positives and negatives are averaged apart, so that a scene's many empty cells don't drown its faces; negatives count
// by how much they look like faces (hard ones first). Geometry is L1 in the logarithm of the edges: relative errors.
static npu_val level_loss(npu_graph *g, npu_val map, const npu_val *in)
{
    npu_val score = npu_slice(g, map, 3, 0, 1), geometry = npu_slice(g, map, 3, 1, GEOMETRY);
    npu_val zeros = npu_scale(g, in[0], 0, 0), ones = npu_scale(g, in[0], 0, 1);
    npu_val hard = npu_mul(g, npu_scale(g, npu_sigmoid(g, score), 1, 0.02f), in[1]);
    npu_val positive = npu_bce_logits(g, score, ones, in[0]);
    npu_val negative = npu_bce_logits(g, score, zeros, hard);
    npu_val place = npu_l1(g, geometry, in[2], in[0]);
    return npu_add(g, npu_add(g, positive, negative), npu_scale(g, place, 4, 0));
}

static npu_val build(struct net *net, const npu_val *in, int batch)
{
    npu_val levels[FACE_FINDER_LEVELS];
    face_finder_build(net, in[IN_IMAGE], levels);
    npu_val fine = level_loss(net->graph, levels[0], in + IN_POSITIVE8);
    return npu_add(net->graph, fine, level_loss(net->graph, levels[1], in + IN_POSITIVE32));
}

static void build_deployed(struct net *net)
{
    npu_val levels[FACE_FINDER_LEVELS];
    face_finder_build_served(net, 1, WIDTH_PX, HEIGHT_PX, levels);
}

static int judge(void *user, npu_dev *dev, const char *path, struct figures *ret, char *message)
{
    struct task_data *d = user;
    return judge_face_finder(dev, path, &d->judged_real, 60, ret, NULL, NULL, message);
}

const struct task task_face_finder = {
    .name = "face_finder",
    .inputs = inputs,
    .input_count = INPUTS,
    .batch = 12,
    .lr = 2e-3f,
    .weight_decay = 1e-3f,
    .open = task_data_open,
    .close = task_data_close,
    .fill = fill,
    .build = build,
    .build_deployed = build_deployed,
    .judge = judge,
};
