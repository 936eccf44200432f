// Where each texel of the head's texture lies on the neutral head, and its place on lips, brows and lid margins.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "train/render/raster.h"
#include "train/render/rng.h"
#include "train/render/skin.h"

#define DILATE     4
#define NOISE_CELL 8

static const uint16_t lip_ring[] = {61,  146, 91,  181, 84,  17, 314, 405, 321, 375,
                                    291, 409, 270, 269, 267, 0,  37,  39,  40,  185};
static const uint16_t eye_ring[2][16] = {
    {33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7},
    {263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249}};
static const uint16_t brow_top[2][5] = {{107, 66, 105, 63, 70}, {336, 296, 334, 293, 300}};
static const uint16_t brow_low[2][5] = {{55, 65, 52, 53, 46}, {285, 295, 282, 283, 276}};

static float segment_distance(v3 p, v3 a, v3 b, float *ret_t)
{
    v3 ab = v3_make(b.x - a.x, b.y - a.y, 0), ap = v3_make(p.x - a.x, p.y - a.y, 0);
    float t = clampf(v3_dot(ap, ab) / maxf(v3_dot(ab, ab), 1e-9f), 0, 1);
    *ret_t = t;
    return v3_length(v3_mad(ap, ab, -t));
}

// Distance in the frontal plane to a closed ring, negative inside.
static float ring_distance(const struct facekit *kit, const uint16_t *ring, int count, v3 p)
{
    float best = 1e9f, t;
    int inside = 0;

    for (int i = 0; i < count; i++) {
        v3 a = kit->neutral[kit->mp[ring[i]]], b = kit->neutral[kit->mp[ring[(i + 1) % count]]];
        best = minf(best, segment_distance(p, a, b, &t));
        if ((a.y > p.y) != (b.y > p.y) && p.x < a.x + (p.y - a.y) / (b.y - a.y) * (b.x - a.x))
            inside = !inside;
    }
    return inside ? -best : best;
}

static void place_brow(const struct facekit *kit, struct skin_texel *x)
{
    int side = x->pos.x > 0;
    float best = 1e9f;

    for (int i = 0; i < 4; i++) {
        v3 mid[2];
        float half[2], t, d;
        for (int k = 0; k < 2; k++) {
            v3 top = kit->neutral[kit->mp[brow_top[side][i + k]]], low = kit->neutral[kit->mp[brow_low[side][i + k]]];
            mid[k] = v3_mix(top, low, 0.5f);
            half[k] = 0.5f * v3_length(v3_sub(top, low));
        }
        d = segment_distance(x->pos, mid[0], mid[1], &t);
        if (d < best) {
            v3 m = v3_mix(mid[0], mid[1], t);
            best = d;
            x->brow = copysignf(d, x->pos.y - m.y) / maxf(0.1f, half[0] + t * (half[1] - half[0]));
            x->brow_along = ((float)i + t) / 4;
        }
    }
}

static void place_features(const struct facekit *kit, struct skin_map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        struct skin_texel *x = &map->texel[i];
        v3 p = x->pos;
        int side = p.x > 0;

        x->brow = x->eye = 99;
        if (p.z > 8.5f && p.y < -1.5f && p.y > -5.5f)
            x->lip = smoothstepf(0.06f, -0.08f, ring_distance(kit, lip_ring, 20, p));
        if (p.z > 5.5f && p.y > 4 && p.y < 8)
            place_brow(kit, x);
        if (p.z > 6.5f && p.y > 1 && p.y < 6)
            x->eye = ring_distance(kit, eye_ring[side], 16, p);
    }
}

// Spreads positions a few texels over the islands' borders, for bilinear reads.
static void dilate(v3 *pos, uint8_t *known, int side)
{
    for (int pass = 0; pass < DILATE; pass++) {
        for (int y = 0; y < side; y++) {
            for (int x = 0; x < side; x++) {
                int at = y * side + x;
                for (int k = 0; k < 4 && !known[at]; k++) {
                    int nx = x + (k == 0) - (k == 1), ny = y + (k == 2) - (k == 3), n = ny * side + nx;
                    if (nx >= 0 && ny >= 0 && nx < side && ny < side && known[n] && known[n] <= pass + 1) {
                        pos[at] = pos[n];
                        known[at] = (uint8_t)(pass + 2);
                    }
                }
            }
        }
    }
}

static int make_map(const struct head *head, enum head_material material, float tile, int side, struct skin_map *map)
{
    size_t n = (size_t)side * (size_t)side;
    struct raster view = {0};
    v3 *screen = malloc(head->kit->uvs * sizeof(v3)), *pos = malloc(n * sizeof(v3));
    uint8_t *known = calloc(n, 1);
    int r = -ENOMEM;

    map->texel = calloc(n, sizeof(*map->texel));
    if (!screen || !pos || !known || !map->texel || raster_init(&view, side, side) < 0)
        goto out;
    for (size_t i = 0; i < head->kit->uvs; i++)
        screen[i] = v3_make((head->kit->uv[i][0] - tile) * (float)side, (1 - head->kit->uv[i][1]) * (float)side, 1);
    for (uint32_t t = 0; t < head->triangles; t++)
        if (head->material[t] == material)
            raster_draw(&view, screen, (const uint32_t(*)[3])head->triangle_uv, t, t + 1, 1);
    for (size_t i = 0; i < n; i++) {
        const uint32_t *t;
        if (view.triangle[i] == RASTER_NONE)
            continue;
        t = head->triangle[view.triangle[i]];
        pos[i] = v3_mad(
            v3_mad(v3_mul(head->kit->neutral[t[0]], 1 - view.b1[i] - view.b2[i]), head->kit->neutral[t[1]], view.b1[i]),
            head->kit->neutral[t[2]], view.b2[i]);
        known[i] = 1;
    }
    dilate(pos, known, side);
    for (size_t i = 0; i < n; i++) {
        struct skin_texel *x = &map->texel[map->count];
        if (!known[i])
            continue;
        x->at = (uint32_t)i;
        x->pos = pos[i];
        x->around = 8 * atan2f(pos[i].x, pos[i].z + 1);
        map->count++;
    }
    place_features(head->kit, map);
    r = 0;
out:
    raster_free(&view);
    free(screen);
    free(pos);
    free(known);
    return r;
}

static void make_noise(int8_t *noise)
{
    enum { CELLS = NOISE_SIDE / NOISE_CELL };
    struct rng rng = rng_make(77, 0, 0);
    static float lattice[CELLS][CELLS];

    for (int y = 0; y < CELLS; y++)
        for (int x = 0; x < CELLS; x++)
            lattice[y][x] = clampf(rng_normal(&rng) * 0.45f, -1, 1);
    for (int y = 0; y < NOISE_SIDE; y++) {
        for (int x = 0; x < NOISE_SIDE; x++) {
            int cx = x / NOISE_CELL, cy = y / NOISE_CELL, nx = (cx + 1) % CELLS, ny = (cy + 1) % CELLS;
            float u = smoothstepf(0, NOISE_CELL, (float)(x % NOISE_CELL)),
                  v = smoothstepf(0, NOISE_CELL, (float)(y % NOISE_CELL));
            float top = lattice[cy][cx] + u * (lattice[cy][nx] - lattice[cy][cx]);
            float low = lattice[ny][cx] + u * (lattice[ny][nx] - lattice[ny][cx]);
            noise[y * NOISE_SIDE + x] = (int8_t)(127 * (top + v * (low - top)));
        }
    }
}

float skin_noise(const struct skin_atlas *atlas, float u, float v)
{
    int x = (int)((u + 4096) * NOISE_CELL) & (NOISE_SIDE - 1), y = (int)((v + 4096) * NOISE_CELL) & (NOISE_SIDE - 1);
    return (float)atlas->noise[y * NOISE_SIDE + x] * (1 / 64.0f);
}

int skin_atlas_init(struct skin_atlas *atlas, const struct head *head)
{
    int r;

    memset(atlas, 0, sizeof(*atlas));
    atlas->noise = malloc((size_t)NOISE_SIDE * NOISE_SIDE);
    r = atlas->noise ? make_map(head, HEAD_FACE, 0, SKIN_FACE_SIDE, &atlas->face) : -ENOMEM;
    r = r < 0 ? r : make_map(head, HEAD_SCALP, 1, SKIN_SCALP_SIDE, &atlas->scalp);
    if (r < 0)
        skin_atlas_free(atlas);
    else
        make_noise(atlas->noise);
    return r;
}

void skin_atlas_free(struct skin_atlas *atlas)
{
    free(atlas->face.texel);
    free(atlas->scalp.texel);
    free(atlas->noise);
    memset(atlas, 0, sizeof(*atlas));
}
