// Composed scenes: a background of gradients, noise and pieces of pictures, and heads with soft edges upon it.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/scene.h"
#include "vision/warp.h"

#define PIECES_MAX  24
#define PLACE_TRIES 12
#define HEAD_FACTOR 1.5f // side of a pasted head against its box

struct canvas {
    struct image *image, patch; // patch: scratch of the canvas's size
};

static float mean2(float a, float b)
{
    return (a + b) / 2;
}

void scene_face_points(const struct face_sample *s, const struct mat3 *to_scene, struct point points[5])
{
    const struct point *p = s->points;
    const struct point five[5] = {
        {mean2(p[FACE_RIGHT_EYE_OUTER].x, p[FACE_RIGHT_EYE_INNER].x),
         mean2(p[FACE_RIGHT_EYE_OUTER].y, p[FACE_RIGHT_EYE_INNER].y)},
        {mean2(p[FACE_LEFT_EYE_OUTER].x, p[FACE_LEFT_EYE_INNER].x),
         mean2(p[FACE_LEFT_EYE_OUTER].y, p[FACE_LEFT_EYE_INNER].y)},
        p[FACE_NOSE_TIP],
        p[FACE_MOUTH_RIGHT],
        p[FACE_MOUTH_LEFT],
    };
    for (int i = 0; i < 5; i++)
        if (homography_apply(to_scene, five[i], &points[i]) < 0)
            points[i] = (struct point){0, 0};
}

static const struct face_sample *pick(struct rng *rng, const struct face_set *real, const struct face_set *rendered)
{
    bool photo = real->count && (!rendered->count || rng_chance(rng, 0.75f));
    const struct face_set *set = photo ? real : rendered;
    return &set->samples[rng_below(rng, set->count)];
}

static struct box moved_box(const struct face_sample *s, const struct mat3 *to_scene)
{
    double scale = to_scene->m[0][0];
    return (struct box){(float)(s->box.x * scale + to_scene->m[0][2]), (float)(s->box.y * scale + to_scene->m[1][2]),
                        (float)(s->box.w * scale), (float)(s->box.h * scale)};
}

static void gradient(struct rng *rng, struct image *image)
{
    float base = rng_uniform(rng, 10, 240), dx = rng_uniform(rng, -120, 120), dy = rng_uniform(rng, -120, 120);
    float grain = rng_chance(rng, 0.5f) ? rng_uniform(rng, 0, 40) : 0;
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++) {
            float v =
                base + dx * ((float)x / (float)image->width - 0.5f) + dy * ((float)y / (float)image->height - 0.5f);
            v += grain * (rng_unit(rng) - 0.5f);
            image->data[y * image->stride + x] = (uint8_t)fminf(fmaxf(v, 0), 255);
        }
}

// A part of a sample's picture without a face: beside the box, under it, above it; or a small part of the face.
static struct box piece_of(struct rng *rng, const struct face_sample *s)
{
    float w = (float)s->image.width, h = (float)s->image.height;
    struct box b = s->box;
    switch (rng_below(rng, 6)) {
    case 0: // left of the face: ear, hair, background
        return (struct box){0, 0, fmaxf(b.x + 0.08f * b.w, 8), h};
    case 1: // right of it
        return (struct box){b.x + 0.92f * b.w, 0, fmaxf(w - b.x - 0.92f * b.w, 8), h};
    case 2: // collar and chest
        return (struct box){0, fminf(b.y + 0.95f * b.h, h - 8), w, fmaxf(h - b.y - 0.95f * b.h, 8)};
    case 3: // hair and background
        return (struct box){0, 0, w, fmaxf(b.y + 0.1f * b.h, 8)};
    default: { // an eye, an ear, half a mouth: too little to be a face
        float side = rng_uniform(rng, 0.25f, 0.45f) * b.w;
        return (struct box){b.x + rng_unit(rng) * (b.w - side), b.y + rng_unit(rng) * (b.h - side), side, side};
    }
    }
}

// Copies the patch (x, y, w, h of the canvas) with its own mask.
static void paste(struct canvas *c, int x0, int y0, int w, int h, float softness, bool round)
{
    for (int y = 0; y < h; y++) {
        int sy = y0 + y;
        if (sy < 0 || sy >= c->image->height)
            continue;
        for (int x = 0; x < w; x++) {
            int sx = x0 + x;
            if (sx < 0 || sx >= c->image->width)
                continue;
            float u = 2 * ((float)x + 0.5f) / (float)w - 1, v = 2 * ((float)y + 0.5f) / (float)h - 1;
            float inside = 1 - (round ? sqrtf(u * u + v * v) : fmaxf(fabsf(u), fabsf(v)));
            float a = softness > 0 ? fminf(fmaxf(inside / softness, 0), 1) : inside >= 0;
            uint8_t *p = &c->image->data[sy * c->image->stride + sx];
            *p = (uint8_t)(*p + a * ((float)c->patch.data[y * c->patch.stride + x] - *p) + 0.5f);
        }
    }
}

// Fills the scratch's w x h corner from the picture; the scratch keeps its stride.
static int take(struct canvas *c, const struct image *from, const struct mat3 *patch_from_frame, int w, int h)
{
    struct image view;
    int r = image_crop_view(&c->patch, 0, 0, w, h, &view);
    return r < 0 ? r : warp_to_u8(from, patch_from_frame, &view);
}

static void relight(struct rng *rng, struct canvas *c, int w, int h)
{
    float gain = expf(0.3f * rng_normal(rng)), shift = 25 * rng_normal(rng);
    int sign = rng_chance(rng, 0.1f) ? -1 : 1;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            uint8_t *p = &c->patch.data[y * c->patch.stride + x];
            *p = (uint8_t)fminf(fmaxf(128 + (float)sign * gain * ((float)*p - 128) + shift, 0), 255);
        }
}

static int paste_piece(struct rng *rng, struct canvas *c, const struct face_sample *s, bool whole)
{
    struct box b = piece_of(rng, s);
    int cw = c->image->width, ch = c->image->height;
    int w = whole ? cw : (int)rng_log_uniform(rng, 10, 0.7f * (float)cw);
    int h = whole ? ch : (int)((float)w * rng_log_uniform(rng, 0.4f, 2.5f));
    h = h < 6 ? 6 : h > ch ? ch : h;
    struct mat3 m = warp_from_rect(b.x, b.y, b.w, b.h, w, h);
    int r = take(c, &s->image, &m, w, h);
    if (r < 0)
        return r;
    relight(rng, c, w, h);
    int x = whole ? 0 : rng_below(rng, cw) - w / 2, y = whole ? 0 : rng_below(rng, ch) - h / 2;
    paste(c, x, y, w, h, whole ? 0 : rng_uniform(rng, 0, 0.4f), rng_chance(rng, 0.3f));
    return 0;
}

static bool is_free(const struct box *head, const struct box *taken, int count)
{
    for (int i = 0; i < count; i++) {
        const struct box *t = &taken[i];
        if (head->x < t->x + t->w && t->x < head->x + head->w && head->y < t->y + t->h && t->y < head->y + head->h)
            return false;
    }
    return true;
}

// Puts a head of the size wanted where there is room. Returns 1 if there was, 0 if not.
static int paste_head(struct rng *rng, struct canvas *c, const struct face_sample *s, float face_px, struct box *taken,
                      int count, struct scene_face *face)
{
    float scale = face_px / fmaxf(s->box.w, s->box.h);
    float w = s->box.w * scale, h = s->box.h * scale, side = HEAD_FACTOR * fmaxf(w, h);
    for (int k = 0; k < PLACE_TRIES; k++) {
        float cx = rng_uniform(rng, 0.5f * w, (float)c->image->width - 0.5f * w);
        float cy = rng_uniform(rng, 0.5f * h, (float)c->image->height - 0.5f * h);
        struct box head = {cx - 0.6f * w, cy - 0.65f * h, 1.2f * w, 1.3f * h};
        if (0.5f * w > (float)c->image->width - 0.5f * w || 0.5f * h > (float)c->image->height - 0.5f * h ||
            !is_free(&head, taken, count))
            continue;
        int size = (int)ceilf(side), x0 = (int)floorf(cx - side / 2), y0 = (int)floorf(cy - side / 2);
        if (size > c->patch.width || size > c->patch.height)
            return 0;
        // Frame to scene: scale, then the box's middle to (cx, cy); the patch's corner is at (x0, y0).
        struct mat3 to_scene = {{{scale, 0, cx - scale * (s->box.x + s->box.w / 2)},
                                 {0, scale, cy - scale * (s->box.y + s->box.h / 2)},
                                 {0, 0, 1}}};
        struct mat3 to_patch = to_scene;
        to_patch.m[0][2] -= x0;
        to_patch.m[1][2] -= y0;
        int r = take(c, &s->image, &to_patch, size, size);
        if (r < 0)
            return r;
        bool round = rng_chance(rng, 0.7f);
        paste(c, x0, y0, size, size, round ? rng_uniform(rng, 0.05f, 0.25f) : rng_uniform(rng, 0, 0.15f), round);
        taken[count] = head;
        face->sample = s;
        face->box = moved_box(s, &to_scene);
        scene_face_points(s, &to_scene, face->points);
        return 1;
    }
    return 0;
}

static int background(struct rng *rng, struct canvas *c, const struct face_set *real, const struct face_set *rendered)
{
    int pieces = rng_below(rng, PIECES_MAX), r = 0;
    gradient(rng, c->image);
    if (rng_chance(rng, 0.6f))
        r = paste_piece(rng, c, pick(rng, real, rendered), true);
    for (int i = 0; r >= 0 && i < pieces; i++)
        r = paste_piece(rng, c, pick(rng, real, rendered), false);
    return r;
}

int scene_compose(struct rng *rng, const struct face_set *real, const struct face_set *rendered,
                  const struct scene_spec *spec, struct image *ret_scene, struct scene_face faces[SCENE_MAX_FACES])
{
    struct canvas c = {.image = ret_scene};
    struct box taken[SCENE_MAX_FACES];
    int side = 2 * (spec->width_px > spec->height_px ? spec->width_px : spec->height_px);
    int wanted = spec->min_faces + rng_below(rng, spec->max_faces - spec->min_faces + 1), count = 0;
    int r = image_alloc(side, side, 1, &c.patch);
    if (r >= 0)
        r = background(rng, &c, real, rendered);
    for (int i = 0; r >= 0 && i < wanted; i++) {
        float px = rng_log_uniform(rng, spec->min_face_px, spec->max_face_px);
        r = paste_head(rng, &c, pick(rng, real, rendered), px, taken, count, &faces[count]);
        count += r > 0;
    }
    image_free(&c.patch);
    return r < 0 ? r : count;
}

int scene_whole(struct rng *rng, const struct face_sample *s, struct image *ret_scene,
                struct scene_face faces[SCENE_MAX_FACES])
{
    struct mat3 fit = warp_letterbox(s->image.width, s->image.height, ret_scene->width, ret_scene->height);
    float zoom = rng_chance(rng, 0.4f) ? 1 : rng_log_uniform(rng, 0.35f, 1.45f);
    float scale = zoom * (float)fit.m[0][0], w = (float)ret_scene->width, h = (float)ret_scene->height;
    // The box's middle goes near the scene's; a whole picture (zoom 1) stays letterboxed.
    float cx = s->box.x + s->box.w / 2, cy = s->box.y + s->box.h / 2;
    struct mat3 to_scene = fit;
    if (zoom != 1)
        to_scene = (struct mat3){{{scale, 0, w * rng_uniform(rng, 0.35f, 0.65f) - scale * cx},
                                  {0, scale, h * rng_uniform(rng, 0.4f, 0.6f) - scale * cy},
                                  {0, 0, 1}}};
    int r = warp_to_u8(&s->image, &to_scene, ret_scene);
    if (r < 0)
        return r;
    faces[0].sample = s;
    faces[0].box = moved_box(s, &to_scene);
    scene_face_points(s, &to_scene, faces[0].points);
    return 1;
}
