// Draws glasses over the painted head: frames hide, lenses dim a little and mirror.
#include "train/render/renderer.h"

#define STREAM_GLASSES 5
#define SCREEN_SHARE   0.35f
#define LAMP           0.03f // lenses are coated, and eyes behind a lamp's image teach nothing
#define LENS_MIRROR    0.07f

// Marks pixels that only a frame covers.
#define FRAME_TRIANGLE 0xfffffffeu

struct lens_look {
    v3 screen; // a bright rectangle in this direction (camera frame); none when 0
    v3 colour;
    float width, height, tint;
};

static v3 turn(const float m[9], v3 p)
{
    return v3_make(m[0] * p.x + m[1] * p.y + m[2] * p.z, m[3] * p.x + m[4] * p.y + m[5] * p.z,
                   m[6] * p.x + m[7] * p.y + m[8] * p.z);
}

static v3 mirrored(v3 ray, v3 normal)
{
    return v3_mad(ray, normal, -2 * v3_dot(ray, normal));
}

static v3 glint(const struct lens_look *look, v3 direction)
{
    v3 side, up;
    float u, v, inside;

    if (v3_dot(direction, look->screen) < 0.5f)
        return v3_make(0, 0, 0);
    side = v3_unit(v3_cross(look->screen, v3_make(0.03f, 1, 0)));
    up = v3_cross(side, look->screen);
    u = fabsf(v3_dot(direction, side)) / look->width;
    v = fabsf(v3_dot(direction, up)) / look->height;
    inside = smoothstepf(1.05f, 0.95f, u) * smoothstepf(1.05f, 0.95f, v);
    return v3_mul(look->colour, inside);
}

// Some pairs mirror a screen or window that the rest of the scene does not show.
static struct lens_look draw_look(struct renderer *r, const v3 *camera)
{
    struct rng rng = rng_make(r->setup->seed, STREAM_GLASSES, r->scene.index);
    struct lens_look look = {.tint = r->person.lens_tint};

    if (rng_chance(&rng, SCREEN_SHARE)) {
        uint32_t v = (uint32_t)rng_below(&rng, GLASSES_VERTICES - 4 * GLASSES_BANDS);
        float level = rng_uniform(&rng, 0.1f, 1.2f) / r->scene.lighting.exposure;
        look.screen = mirrored(v3_unit(camera[v]), turn(r->to_camera, r->glasses.normal[v]));
        look.width = rng_uniform(&rng, 0.05f, 0.4f);
        look.height = look.width * rng_uniform(&rng, 0.4f, 1.2f);
        look.colour = v3_mul(rng_uniform3(&rng, v3_make(0.7f, 1, 0.8f), v3_make(1, 1, 1.3f)), level);
    }
    return look;
}

static void paint_pixel(struct renderer *r, const struct lens_look *look, const v3 *camera, size_t at)
{
    uint32_t t = r->extra.triangle[at];
    const uint32_t *i = r->glasses.triangle[t];
    float b1 = r->extra.b1[at], b2 = r->extra.b2[at], b0 = 1 - b1 - b2;
    v3 n = v3_add(v3_add(v3_mul(r->glasses.normal[i[0]], b0), v3_mul(r->glasses.normal[i[1]], b1)),
                  v3_mul(r->glasses.normal[i[2]], b2));
    v3 p = v3_add(v3_add(v3_mul(camera[i[0]], b0), v3_mul(camera[i[1]], b1)), v3_mul(camera[i[2]], b2)), out;

    n = turn(r->to_camera, v3_unit(n));
    p = v3_unit(p);
    if (v3_dot(n, p) > 0)
        n = v3_mul(n, -1);
    out = lighting_reflection(&r->scene.lighting, mirrored(p, n), LAMP);
    if (t < GLASSES_FRAME) {
        r->big[at] = v3_mad(v3_tint(r->person.frame, lighting_irradiance(&r->scene.lighting, n)), out, 0.06f);
        r->raster.triangle[at] = FRAME_TRIANGLE;
    } else if (r->raster.triangle[at] != RASTER_NONE) {
        v3 mirror = v3_mad(glint(look, mirrored(p, n)), out, LENS_MIRROR);
        r->big[at] = v3_add(v3_mul(r->big[at], 0.94f * (1 - look->tint)), mirror);
    }
}

void render_paint_glasses(struct renderer *r, const struct camera *camera)
{
    const int32_t *mp = r->setup->head->kit->mp;
    const v3 *v = r->vertex;
    struct glasses_seat seat = {.eye = {v3_mix(v[mp[33]], v[mp[133]], 0.5f), v3_mix(v[mp[263]], v[mp[362]], 0.5f)},
                                .ridge = v[mp[168]],
                                .temple = {v[mp[127]], v[mp[356]]}};
    size_t n = (size_t)r->raster.width * (size_t)r->raster.height;
    float k = RENDER_OVERSAMPLING;
    v3 at[GLASSES_VERTICES], screen[GLASSES_VERTICES];
    struct lens_look look;

    glasses_build(&r->person, &seat, &r->glasses);
    for (int i = 0; i < GLASSES_VERTICES; i++) {
        at[i] = render_to_camera(r, r->glasses.vertex[i]);
        if (at[i].z < 20)
            return;
        screen[i] = v3_make(k * ((float)camera->fx * at[i].x / at[i].z + (float)camera->cx),
                            k * ((float)camera->fy * at[i].y / at[i].z + (float)camera->cy), 1 / at[i].z);
    }
    look = draw_look(r, at);
    raster_clear(&r->extra);
    raster_draw(&r->extra, screen, (const uint32_t(*)[3])r->glasses.triangle, 0, GLASSES_TRIANGLES, 1);
    for (size_t i = 0; i < n; i++)
        if (r->extra.triangle[i] != RASTER_NONE && r->extra.depth[i] > r->raster.depth[i])
            paint_pixel(r, &look, at, i);
}
