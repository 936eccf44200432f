// Draws a photograph in a new pose. Each pixel looks up the photograph where the fitted mesh, turned, says; beside the
// face the displacement dies away smoothly, so that hair and background follow without a seam. New eyes go on top, as
// soft as the photograph.
#include <string.h>

#include "train/render/renderer.h"

#define SMOOTHING_ROUNDS 60
#define FACING_FROM      0.15f
#define FACING_FULL      0.45f

struct lookup {
    float turn[4], focal, cx, cy, to_focal, to_cx, to_cy; // picture's pixel (not oversampled) -> photograph's
};

static struct lookup make_lookup(const struct renderer *r, const struct camera *camera)
{
    const struct camera *to = &r->view.fit.camera;
    float c = (float)cos(r->view.roll_rad), s = (float)sin(r->view.roll_rad);

    return (struct lookup){{c, s, -s, c}, (float)camera->fx, (float)camera->cx, (float)camera->cy,
                           (float)to->fx, (float)to->cx,     (float)to->cy};
}

static void look_up(const struct lookup *l, float x, float y, float out[2])
{
    float u = (x - l->cx) / l->focal, v = (y - l->cy) / l->focal;

    out[0] = l->to_cx + l->to_focal * (l->turn[0] * u + l->turn[1] * v);
    out[1] = l->to_cy + l->to_focal * (l->turn[2] * u + l->turn[3] * v);
}

// What the mesh says of a big pixel: the place in the photograph and how sure it is (0 = nothing).
static float look_at_mesh(const struct renderer *r, size_t at, float out[2])
{
    const struct photo_view *view = &r->view;
    uint32_t t = r->raster.triangle[at];
    const uint32_t *v;
    float b1, b2, b0, facing;

    if (t == RASTER_NONE || r->setup->head->material[t] != HEAD_FACE)
        return 0;
    v = r->setup->head->triangle[t];
    b1 = r->raster.b1[at];
    b2 = r->raster.b2[at];
    b0 = 1 - b1 - b2;
    facing = b0 * view->facing[v[0]] + b1 * view->facing[v[1]] + b2 * view->facing[v[2]];
    for (int k = 0; k < 2; k++)
        out[k] = b0 * view->at[v[0]][k] + b1 * view->at[v[1]][k] + b2 * view->at[v[2]][k];
    return smoothstepf(FACING_FROM, FACING_FULL, facing);
}

// Displacement on a coarse grid: the mesh's mean where it is sure, 0 along the border, smooth between.
static void make_field(struct renderer *r, const struct lookup *l)
{
    int big = r->raster.width, cell = big / PHOTO_GRID;
    v3(*field)[PHOTO_GRID + 1] = r->view.field;
    float fixed[PHOTO_GRID + 1][PHOTO_GRID + 1];

    memset(field, 0, sizeof(r->view.field));
    memset(fixed, 0, sizeof(fixed));
    for (int y = 0; y < big; y += 2) {
        for (int x = 0; x < big; x += 2) {
            float mesh[2] = {0}, plain[2] = {0}, sure = look_at_mesh(r, (size_t)y * (size_t)big + (size_t)x, mesh);
            int gx = (x + cell / 2) / cell, gy = (y + cell / 2) / cell;
            if (sure <= 0 || gx > PHOTO_GRID || gy > PHOTO_GRID)
                continue;
            look_up(l, ((float)x + 0.5f) / RENDER_OVERSAMPLING, ((float)y + 0.5f) / RENDER_OVERSAMPLING, plain);
            field[gy][gx] = v3_mad(field[gy][gx], v3_make(mesh[0] - plain[0], mesh[1] - plain[1], 0), sure);
            fixed[gy][gx] += sure;
        }
    }
    for (int y = 0; y <= PHOTO_GRID; y++)
        for (int x = 0; x <= PHOTO_GRID; x++)
            field[y][x] = fixed[y][x] > 2 ? v3_mul(field[y][x], 1 / fixed[y][x]) : v3_make(0, 0, 0);
    for (int round = 0; round < SMOOTHING_ROUNDS; round++)
        for (int y = 1; y < PHOTO_GRID; y++)
            for (int x = 1; x < PHOTO_GRID; x++)
                if (fixed[y][x] <= 2)
                    field[y][x] = v3_mul(
                        v3_add(v3_add(field[y - 1][x], field[y + 1][x]), v3_add(field[y][x - 1], field[y][x + 1])),
                        0.25f);
}

static v3 read_field(const struct renderer *r, int x, int y)
{
    float cell = (float)r->raster.width / PHOTO_GRID, gx = ((float)x + 0.5f) / cell, gy = ((float)y + 0.5f) / cell;
    int ix = (int)gx, iy = (int)gy;
    const v3(*f)[PHOTO_GRID + 1] = r->view.field;

    ix = ix >= PHOTO_GRID ? PHOTO_GRID - 1 : ix;
    iy = iy >= PHOTO_GRID ? PHOTO_GRID - 1 : iy;
    return v3_mix(v3_mix(f[iy][ix], f[iy][ix + 1], gx - (float)ix),
                  v3_mix(f[iy + 1][ix], f[iy + 1][ix + 1], gx - (float)ix), gy - (float)iy);
}

// A coordinate mirrored back into 0..size-1, as the portraits are padded.
static float mirror(float x, float size)
{
    x = fabsf(x);
    x = x > size ? 2 * size - x : x;
    return clampf(x, 0, size);
}

static v3 read_photo(const struct image *image, const float linear[256], float x, float y)
{
    float fx = mirror(x - 0.5f, (float)image->width - 1.001f), fy = mirror(y - 0.5f, (float)image->height - 1.001f),
          c[3];
    int ix = (int)fx, iy = (int)fy;
    const uint8_t *a = image->data + (size_t)iy * (size_t)image->stride + 3 * ix, *b = a + image->stride;

    fx -= (float)ix;
    fy -= (float)iy;
    for (int k = 0; k < 3; k++) {
        float top = linear[a[k]] + fx * (linear[a[k + 3]] - linear[a[k]]);
        float low = linear[b[k]] + fx * (linear[b[k + 3]] - linear[b[k]]);
        c[k] = top + fy * (low - top);
    }
    return v3_make(c[0], c[1], c[2]);
}

static void lay_eyes(struct renderer *r, float blur_px)
{
    int big = r->raster.width;

    picture_blur(&r->layer, &r->scratch, blur_px);
    picture_blur(&r->mask, &r->scratch, blur_px);
    for (int y = 0; y < big; y++) {
        for (int x = 0; x < big; x++) {
            size_t small =
                (size_t)(y / RENDER_OVERSAMPLING) * (size_t)r->setup->side + (size_t)(x / RENDER_OVERSAMPLING);
            v3 *out = &r->big[(size_t)y * (size_t)big + (size_t)x];
            if (r->mask.pixel[small].x > 1e-3f)
                *out = v3_add(v3_mul(*out, 1 - r->mask.pixel[small].x), r->layer.pixel[small]);
        }
    }
}

void render_paint_photo(struct renderer *r, const struct camera *camera)
{
    struct lookup l = make_lookup(r, camera);
    size_t n = (size_t)r->setup->side * (size_t)r->setup->side;
    float linear[256], zoom = l.focal / l.to_focal * maxf(1, r->view.photo->scale);
    int big = r->raster.width;

    for (int i = 0; i < 256; i++)
        linear[i] = powf((float)i / 255, 2.2f);
    make_field(r, &l);
    for (int y = 0; y < big; y++) {
        for (int x = 0; x < big; x++) {
            size_t at = (size_t)y * (size_t)big + (size_t)x;
            float mesh[2], place[2], sure = look_at_mesh(r, at, mesh);
            v3 d = read_field(r, x, y);
            look_up(&l, ((float)x + 0.5f) / RENDER_OVERSAMPLING, ((float)y + 0.5f) / RENDER_OVERSAMPLING, place);
            place[0] += d.x;
            place[1] += d.y;
            if (sure > 0) {
                place[0] += sure * (mesh[0] - place[0]);
                place[1] += sure * (mesh[1] - place[1]);
            }
            r->big[at] = read_photo(&r->view.image, linear, place[0], place[1]);
        }
    }
    memset(r->layer.pixel, 0, n * sizeof(v3));
    memset(r->mask.pixel, 0, n * sizeof(v3));
    render_paint_eyes(r, camera);
    lay_eyes(r, maxf(0.4f, 0.45f * zoom));
}
