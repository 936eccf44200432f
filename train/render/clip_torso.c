// A body of rings around the neck and down the chest, lit at its vertices, in cloth with soft folds.
#include "train/render/clip_torso.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FOLD_DEPTH 0.13f

// Half width, back and front of the body at heights of the neck, shoulders and chest (cm; y up, z to the front), and
// how much lower the front is than the back.
static const struct ring {
    float y, half, back, front, drop;
} rings[] = {
    {-13.2f, 8.3f, -7.9f, 5.0f, 2.8f},   {-12.4f, 8.6f, -8.4f, 5.6f, 2.8f},   {-12.3f, 9.0f, -8.9f, 6.0f, 2.8f},
    {-12.9f, 10.2f, -9.4f, 6.5f, 2.4f},  {-14.2f, 13.6f, -10.2f, 7.1f, 1.8f}, {-15.6f, 16.9f, -10.8f, 7.8f, 1.2f},
    {-17.4f, 19.6f, -11.3f, 8.7f, 0.6f}, {-20.0f, 21.6f, -11.6f, 9.7f, 0.2f}, {-24.0f, 22.8f, -11.8f, 10.6f, 0},
    {-32.0f, 23.6f, -11.8f, 11.2f, 0},   {-46.0f, 23.4f, -11.6f, 11.0f, 0},   {-75.0f, 23.0f, -11.6f, 11.0f, 0},
};
#define RINGS (sizeof(rings) / sizeof(*rings))

static float spline(float a, float b, float c, float d, float t)
{
    return b + 0.5f * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
}

static struct ring ring_at(float s)
{
    int i = s >= (float)(RINGS - 1) ? (int)RINGS - 2 : (int)s;
    const struct ring *a = &rings[i > 0 ? i - 1 : 0], *b = &rings[i], *c = &rings[i + 1];
    const struct ring *d = &rings[i + 2 < (int)RINGS ? i + 2 : (int)RINGS - 1];
    float t = s - (float)i;

    return (struct ring){spline(a->y, b->y, c->y, d->y, t), spline(a->half, b->half, c->half, d->half, t),
                         spline(a->back, b->back, c->back, d->back, t),
                         spline(a->front, b->front, c->front, d->front, t),
                         spline(a->drop, b->drop, c->drop, d->drop, t)};
}

static v3 surface(float s, float turn)
{
    struct ring g = ring_at(s);
    float c = cosf(turn), n = sinf(turn), power = 2.0f / (2.0f + 0.6f * smoothstepf(2, 6, s));
    float across = copysignf(powf(fabsf(n), power), n), ahead = copysignf(powf(fabsf(c), power), c);

    return v3_make(g.half * across, g.y - g.drop * (0.5f + 0.5f * ahead) + 0.4f * g.drop,
                   0.5f * (g.front + g.back) + 0.5f * (g.front - g.back) * ahead);
}

static void build(struct clip_torso *t)
{
    size_t n = 0;

    for (int j = 0; j < TORSO_DOWN; j++) {
        float s = (float)(RINGS - 1) * powf((float)j / (TORSO_DOWN - 1), 1.25f);
        for (int i = 0; i <= TORSO_AROUND; i++)
            t->vertex[j * (TORSO_AROUND + 1) + i] = surface(s, 6.2831853f * (float)i / TORSO_AROUND);
    }
    for (int j = 0; j < TORSO_DOWN; j++) {
        for (int i = 0; i <= TORSO_AROUND; i++) {
            const v3 *row = t->vertex + j * (TORSO_AROUND + 1);
            int before = i ? i - 1 : TORSO_AROUND - 1, after = i < TORSO_AROUND ? i + 1 : 1;
            v3 below = t->vertex[(j + 1 < TORSO_DOWN ? j + 1 : j) * (TORSO_AROUND + 1) + i];
            v3 above = t->vertex[(j ? j - 1 : 0) * (TORSO_AROUND + 1) + i];
            // turn runs from the front to the subject's left: across x down points inward
            t->normal[j * (TORSO_AROUND + 1) + i] =
                v3_unit(v3_cross(v3_sub(below, above), v3_sub(row[after], row[before])));
        }
    }
    for (uint32_t j = 0; j + 1 < TORSO_DOWN; j++) {
        for (uint32_t i = 0; i < TORSO_AROUND; i++) {
            uint32_t a = j * (TORSO_AROUND + 1) + i, b = a + 1, c = a + TORSO_AROUND + 1, d = c + 1;
            memcpy(t->triangle[n++], (uint32_t[3]){a, c, b}, sizeof(*t->triangle));
            memcpy(t->triangle[n++], (uint32_t[3]){b, c, d}, sizeof(*t->triangle));
        }
    }
}

int clip_torso_init(struct clip_torso *t, const struct head *head, int big_width, int big_height)
{
    memset(t, 0, sizeof(*t));
    t->neck = malloc(head->kit->vertices * sizeof(float));
    t->hidden = calloc(head->kit->vertices, sizeof(*t->hidden));
    t->vertex = malloc(TORSO_VERTICES * sizeof(v3));
    t->normal = malloc(TORSO_VERTICES * sizeof(v3));
    t->screen = malloc(TORSO_VERTICES * sizeof(v3));
    t->light = malloc(TORSO_VERTICES * sizeof(v3));
    t->triangle = malloc(TORSO_TRIANGLES * sizeof(*t->triangle));
    if (!t->neck || !t->hidden || !t->vertex || !t->normal || !t->screen || !t->light || !t->triangle ||
        raster_init(&t->raster, big_width, big_height) < 0) {
        clip_torso_free(t);
        return -ENOMEM;
    }
    for (size_t v = 0; v < head->kit->vertices; v++) {
        v3 q = head->kit->neutral[v];
        t->neck[v] = smoothstepf(-6.5f, -13, q.y + 0.6f * maxf(0, q.z - 4.5f)); // the chin stays with the head
        t->hidden[v] = q.y < -15.5f || (q.y < -10.5f && hypotf(q.x, 1.2f * (q.z + 1.5f)) > 9.0f);
    }
    build(t);
    return 0;
}

void clip_torso_free(struct clip_torso *t)
{
    free(t->neck);
    free(t->hidden);
    free(t->vertex);
    free(t->normal);
    free(t->screen);
    free(t->light);
    free(t->triangle);
    raster_free(&t->raster);
    memset(t, 0, sizeof(*t));
}

// A direction of FaceKit's axes through a rotation of the label's head frame, to the camera frame.
static v3 rotate(const struct mat3 *m, v3 d)
{
    struct vec3 c = mat3_apply(m, vec3_make((double)d.x, -(double)d.y, -(double)d.z));
    return v3_make((float)c.x, (float)c.y, (float)c.z);
}

// Back from the camera frame to FaceKit's axes.
static v3 rotate_back(const struct mat3 *m, v3 d)
{
    struct vec3 c = mat3_apply_transposed(m, vec3_make((double)d.x, (double)d.y, (double)d.z));
    return v3_make((float)c.x, -(float)c.y, -(float)c.z);
}

void clip_torso_bend(const struct clip_torso *t, struct renderer *r, const struct mat3 *body)
{
    for (size_t v = 0; v < r->setup->head->kit->vertices; v++) {
        v3 from;
        if (t->neck[v] <= 0)
            continue;
        from = v3_sub(r->vertex[v], CLIP_PIVOT_CM);
        r->vertex[v] =
            v3_mix(r->vertex[v], v3_add(CLIP_PIVOT_CM, rotate_back(&r->scene.head, rotate(body, from))), t->neck[v]);
    }
}

void clip_torso_hide(const struct clip_torso *t, struct renderer *r)
{
    for (size_t v = 0; v < r->setup->head->kit->vertices; v++)
        if (t->hidden[v])
            r->screen[v].z = -1; // the raster leaves its triangles out
}

// How much of a light the head lets pass to a point: an ellipsoid with a soft edge.
static float past_head(v3 point, v3 toward)
{
    v3 scale = v3_make(1 / 8.0f, 1 / 12.5f, 1 / 9.5f), o = v3_tint(v3_sub(point, v3_make(0, 1.5f, 1)), scale);
    v3 d = v3_tint(toward, scale);
    float t = maxf(0, -v3_dot(o, d) / v3_dot(d, d));

    return 0.15f + 0.85f * smoothstepf(0.7f, 1.3f, v3_length(v3_mad(o, d, t)));
}

static v3 light_at(const struct lighting *l, v3 point, v3 normal, const struct mat3 *body)
{
    v3 n = rotate(body, normal), sum;
    float near = hypotf(point.x, 1.15f * (point.z + 1)) - 8;

    sum = v3_mul(v3_mix(l->ground, l->sky, 0.5f + 0.5f * v3_dot(n, l->sky_up)),
                 1 - 0.6f * expf(-maxf(0, near) / 4) * smoothstepf(-26, -14, point.y));
    for (int i = 0; i < l->count; i++) {
        float cosine = (v3_dot(n, l->light[i].direction) + 0.15f) / 1.15f;
        if (cosine > 0)
            sum = v3_mad(sum, l->light[i].colour, cosine * past_head(point, rotate_back(body, l->light[i].direction)));
    }
    return sum;
}

void clip_torso_draw(struct clip_torso *t, const struct renderer *r, const struct camera *camera,
                     const struct mat3 *body)
{
    v3 pivot = render_to_camera(r, CLIP_PIVOT_CM);
    float k = RENDER_OVERSAMPLING, fx = k * (float)camera->fx, fy = k * (float)camera->fy;
    float cx = k * (float)camera->cx, cy = k * (float)camera->cy;

    for (int v = 0; v < TORSO_VERTICES; v++) {
        v3 p = v3_mad(pivot, rotate(body, v3_sub(t->vertex[v], CLIP_PIVOT_CM)), 10);
        t->screen[v] = p.z > 50 ? v3_make(fx * p.x / p.z + cx, fy * p.y / p.z + cy, 1 / p.z) : v3_make(0, 0, -1);
        t->light[v] = light_at(&r->scene.lighting, t->vertex[v], t->normal[v], body);
    }
    raster_clear(&t->raster);
    raster_draw(&t->raster, t->screen, (const uint32_t(*)[3])t->triangle, 0, TORSO_TRIANGLES, 1);
}

// Folds that hang from the shoulders and fade toward the collar, -1..1.
static float fold_at(v3 p)
{
    float bend = sinf(0.17f * p.y + 0.08f * p.x), deep = smoothstepf(-14, -24, p.y);

    return deep * (0.6f * sinf(0.42f * p.x + 0.19f * p.y + 1.5f * bend) * sinf(0.11f * p.y - 0.07f * p.x + 1) +
                   0.4f * sinf(0.75f * p.x - 0.34f * p.y + 2 * bend));
}

v3 clip_torso_colour(const struct clip_torso *t, const struct renderer *r, size_t at)
{
    const uint32_t *v = t->triangle[t->raster.triangle[at]];
    float b1 = t->raster.b1[at], b2 = t->raster.b2[at], b0 = 1 - b1 - b2;
    v3 light = v3_add(v3_add(v3_mul(t->light[v[0]], b0), v3_mul(t->light[v[1]], b1)), v3_mul(t->light[v[2]], b2));
    v3 p = v3_add(v3_add(v3_mul(t->vertex[v[0]], b0), v3_mul(t->vertex[v[1]], b1)), v3_mul(t->vertex[v[2]], b2));

    return v3_mul(v3_tint(r->person.cloth, light), 1 + FOLD_DEPTH * fold_at(p));
}
