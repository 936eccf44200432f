// Colours what the raster shows: skin from the textures, flat colours inside the mouth, traced eyes, lashes.
#include "train/render/renderer.h"

// The eye is pushed back by this against the lids (mm): they must not be pierced by the cornea, and a lid that closes
// along a chord may dip into the ball.
#define EYE_BIAS_MM    1.2f
#define LASH_ROW       0.166f
#define LASH_ROOT      0.988f
#define LASH_LENGTH    0.14f
#define LASH_UPPER_MAX 0.75f
#define LASH_LOWER_MAX 0.3f

static v3 read_texture(const uint8_t (*texture)[4], int side, float u, float v, float *ret_gloss)
{
    float x = clampf(u * (float)side - 0.5f, 0, (float)side - 1.001f),
          y = clampf((1 - v) * (float)side - 0.5f, 0, (float)side - 1.001f);
    int xi = (int)x, yi = (int)y;
    const uint8_t *a = texture[yi * side + xi], *b = a + 4, *c = a + 4 * side, *d = c + 4;
    float fx = x - (float)xi, fy = y - (float)yi, k[4];

    for (int i = 0; i < 4; i++) {
        float top = (float)a[i] + fx * (float)(b[i] - a[i]), low = (float)c[i] + fx * (float)(d[i] - c[i]);
        k[i] = (top + fy * (low - top)) * (1 / 255.0f);
    }
    *ret_gloss = k[3];
    return v3_make(k[0] * k[0], k[1] * k[1], k[2] * k[2]);
}

static v3 surface_colour(const struct renderer *r, uint32_t t, float b1, float b2, float *ret_gloss)
{
    const struct head *head = r->setup->head;
    const uint32_t *u = head->triangle_uv[t];
    const float(*uv)[2] = (const float(*)[2])head->kit->uv;
    float b0 = 1 - b1 - b2, x = b0 * uv[u[0]][0] + b1 * uv[u[1]][0] + b2 * uv[u[2]][0];
    float y = b0 * uv[u[0]][1] + b1 * uv[u[1]][1] + b2 * uv[u[2]][1];

    switch (head->material[t]) {
    case HEAD_FACE:
        return read_texture((const uint8_t(*)[4])r->skin.face, SKIN_FACE_SIDE, x, y, ret_gloss);
    case HEAD_SCALP:
        return read_texture((const uint8_t(*)[4])r->skin.scalp, SKIN_SCALP_SIDE, x - 1, y, ret_gloss);
    case HEAD_TEETH:
        *ret_gloss = 0.25f;
        return v3_make(.62f, .58f, .48f);
    case HEAD_SOCKET: // what shows in the corners is the caruncle
        *ret_gloss = 0.15f;
        return v3_mix(r->person.skin, v3_make(.55f, .26f, .23f), 0.6f);
    default:
        *ret_gloss = 0.15f;
        return v3_make(.30f, .09f, .085f);
    }
}

static v3 paint_surface(const struct renderer *r, uint32_t t, float b1, float b2)
{
    const uint32_t *v = r->setup->head->triangle[t];
    const struct shade *a = &r->shade[v[0]], *b = &r->shade[v[1]], *c = &r->shade[v[2]];
    float b0 = 1 - b1 - b2, gloss, g;
    v3 colour = surface_colour(r, t, b1, b2, &gloss), light;

    light = v3_make(b0 * a->r + b1 * b->r + b2 * c->r, b0 * a->g + b1 * b->g + b2 * c->g,
                    b0 * a->b + b1 * b->b + b2 * c->b);
    if (r->setup->head->material[t] >= HEAD_MOUTH && r->setup->head->material[t] != HEAD_SOCKET)
        light = v3_add(light, v3_mul(lighting_irradiance(&r->scene.lighting, v3_make(0, 0, -1)),
                                     r->setup->head->material[t] == HEAD_TEETH ? 0.35f : 0.06f));
    g = gloss * (b0 * a->gloss + b1 * b->gloss + b2 * c->gloss);
    return v3_add(v3_tint(colour, light), v3_make(g, g, g));
}

// The sclera may not outshine all else when the exposure follows dark skin.
static v3 cap_white(v3 radiance, float exposure)
{
    float level = exposure * (0.3f * radiance.x + 0.6f * radiance.y + 0.1f * radiance.z);
    return level > 0.5f ? v3_mul(radiance, (0.5f + 0.5f * (1 - expf(-(level - 0.5f) / 0.5f))) / level) : radiance;
}

static v3 lid_light(const struct renderer *r, int side)
{
    static const int around[2][4] = {{230, 119, 33, 133}, {450, 348, 263, 362}};
    v3 sum = {0, 0, 0};

    for (int i = 0; i < 4; i++) {
        const struct shade *s = &r->shade[r->setup->head->kit->mp[around[side][i]]];
        sum = v3_mad(sum, v3_make(s->r, s->g, s->b), 0.25f);
    }
    return sum;
}

static void put_eye(struct renderer *r, int x, int y, v3 radiance)
{
    float share = 1.0f / (RENDER_OVERSAMPLING * RENDER_OVERSAMPLING);
    size_t at = (size_t)(y / RENDER_OVERSAMPLING) * (size_t)r->setup->side + (size_t)(x / RENDER_OVERSAMPLING);

    if (!r->is_photo) {
        r->big[(size_t)y * (size_t)r->raster.width + (size_t)x] = cap_white(radiance, r->scene.lighting.exposure);
        return;
    }
    r->layer.pixel[at] = v3_mad(r->layer.pixel[at], radiance, share);
    r->mask.pixel[at].x += share;
}

static void paint_eye(struct renderer *r, const struct camera *camera, int side)
{
    struct eye *eye = &r->eye[side];
    int n = r->raster.width;
    float k = RENDER_OVERSAMPLING, f = k * (float)camera->fx, cx = k * (float)camera->cx, cy = k * (float)camera->cy;
    float reach = 1.05f * f * eye->big_r / maxf(eye->big.z - eye->big_r, 1);
    float mx = f * eye->big.x / eye->big.z + cx, my = f * eye->big.y / eye->big.z + cy;
    int x0 = (int)maxf(0, mx - reach), x1 = (int)minf((float)n, mx + reach);
    int y0 = (int)maxf(0, my - reach), y1 = (int)minf((float)n, my + reach);

    eye->lid_light = r->is_photo ? r->view.eye_light[side] : lid_light(r, side);
    if (r->is_photo) // one eye may be in the shade
        eye->gain = 2 * eye->lid_light.y / maxf(r->view.eye_light[0].y + r->view.eye_light[1].y, 1e-4f);
    for (int y = y0; y < y1; y++) {
        for (int x = x0; x < x1; x++) {
            size_t at = (size_t)y * (size_t)n + (size_t)x;
            float depth;
            v3 radiance;
            if (r->raster.triangle[at] == RASTER_NONE)
                continue;
            if (r->raster.depth[at] * (eye->big.z - eye->big_r * 1.1f + EYE_BIAS_MM) > 1)
                continue; // the lid is before all of the ball
            if (!eye_trace(eye, v3_unit(v3_make(((float)x + 0.5f - cx) / f, ((float)y + 0.5f - cy) / f, 1)),
                           (float)x + 0.5f, (float)y + 0.5f, &depth, &radiance))
                continue;
            if (r->raster.depth[at] * (depth + EYE_BIAS_MM) < 1)
                put_eye(r, x, y, radiance);
        }
    }
}

// One triangle of a lash strip, drawn thinly over what lies behind it.
static void paint_lash(struct renderer *r, const v3 corner[3], v3 tint, float strength)
{
    static const uint32_t index[1][3] = {{0, 1, 2}};
    int n = r->raster.width, x0 = (int)minf(corner[0].x, minf(corner[1].x, corner[2].x));
    int x1 = (int)maxf(corner[0].x, maxf(corner[1].x, corner[2].x));
    int y0 = (int)minf(corner[0].y, minf(corner[1].y, corner[2].y));
    int y1 = (int)maxf(corner[0].y, maxf(corner[1].y, corner[2].y));

    if (x0 < 0 || y0 < 0 || x1 >= n || y1 >= n || corner[0].z <= 0)
        return;
    for (int y = y0; y <= y1; y++) {
        for (int x = x0; x <= x1; x++) {
            r->extra.depth[(size_t)y * (size_t)n + (size_t)x] = 0;
            r->extra.triangle[(size_t)y * (size_t)n + (size_t)x] = RASTER_NONE;
        }
    }
    raster_draw(&r->extra, corner, index, 0, 1, 1);
    for (int y = y0; y <= y1; y++) {
        for (int x = x0; x <= x1; x++) {
            size_t at = (size_t)y * (size_t)n + (size_t)x;
            if (r->extra.triangle[at] == 0 && r->raster.triangle[at] != RASTER_NONE &&
                r->raster.depth[at] < r->extra.depth[at] * 1.0005f)
                r->big[at] = v3_mix(r->big[at], tint, strength);
        }
    }
}

// The strips' texture coordinate v runs from root to tip in rows; upper lids have the upper half. Real lashes are
// shorter than the model's, the lower ones by far.
static void paint_lashes(struct renderer *r)
{
    const struct facekit *kit = r->setup->head->kit;
    v3 tint = v3_mul(r->person.hair, 0.3f);

    for (uint32_t p = kit->part[FK_LASHES_LEFT].polygon; p < kit->part[FK_LASHES_RIGHT].polygon_end; p++) {
        const int32_t *q = kit->quad[p], *u = kit->uv_quad[p];
        float v = 0.25f * (kit->uv[u[0]][1] + kit->uv[u[1]][1] + kit->uv[u[2]][1] + kit->uv[u[u[3] >= 0 ? 3 : 2]][1]);
        float along = fmodf(LASH_ROOT - v, LASH_ROW) / LASH_LENGTH;
        if (along > (v > 0.5f ? LASH_UPPER_MAX : LASH_LOWER_MAX))
            continue;
        for (int half = 0; half < (q[3] >= 0 ? 2 : 1); half++) {
            v3 corner[3] = {r->screen[q[0]], r->screen[q[1 + half]], r->screen[q[2 + half]]};
            paint_lash(r, corner, tint, minf(1, r->person.lash_density * (v > 0.5f ? 0.6f : 0.3f) * (1 - along)));
        }
    }
}

void render_paint_eyes(struct renderer *r, const struct camera *camera)
{
    paint_eye(r, camera, 0);
    paint_eye(r, camera, 1);
}

void render_paint(struct renderer *r, const struct camera *camera)
{
    size_t n = (size_t)r->raster.width * (size_t)r->raster.height;

    for (size_t i = 0; i < n; i++)
        if (r->raster.triangle[i] != RASTER_NONE)
            r->big[i] = paint_surface(r, r->raster.triangle[i], r->raster.b1[i], r->raster.b2[i]);
    render_paint_eyes(r, camera);
    paint_lashes(r);
}
