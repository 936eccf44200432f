// One picture from draw to pixels.
#include "train/render/render.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "train/render/renderer.h"

#define STREAM_PICTURE 4
#define VISIBLE_MM     7.0f // a landmark this far behind the surface seen at its pixel is hidden
#define PHOTO_BACKDROP 0.5f

int renderer_new(const struct render_setup *setup, struct renderer **ret_renderer)
{
    struct renderer *r = calloc(1, sizeof(*r));
    size_t n = setup->head->kit->vertices, big = (size_t)setup->side * RENDER_OVERSAMPLING;

    if (!r)
        return -ENOMEM;
    r->setup = setup;
    r->shape.vertex = malloc(n * sizeof(v3));
    r->hair = calloc(n, sizeof(v3));
    r->vertex = malloc(n * sizeof(v3));
    r->normal = malloc(n * sizeof(v3));
    r->camera = malloc(n * sizeof(v3));
    r->screen = malloc(n * sizeof(v3));
    r->shade = malloc(n * sizeof(*r->shade));
    r->big = malloc(big * big * sizeof(v3));
    if (!r->shape.vertex || !r->hair || !r->vertex || !r->normal || !r->camera || !r->screen || !r->shade || !r->big ||
        skin_init(&r->skin) < 0 || raster_init(&r->raster, (int)big, (int)big) < 0 ||
        raster_init(&r->extra, (int)big, (int)big) < 0 || picture_init(&r->picture, setup->side) < 0 ||
        picture_init(&r->scratch, setup->side) < 0) {
        renderer_free(r);
        return -ENOMEM;
    }
    *ret_renderer = r;
    return 0;
}

struct renderer *renderer_free(struct renderer *r)
{
    if (r) {
        free(r->shape.vertex);
        free(r->hair);
        free(r->vertex);
        free(r->normal);
        free(r->camera);
        free(r->screen);
        free(r->shade);
        free(r->big);
        skin_free(&r->skin);
        raster_free(&r->raster);
        raster_free(&r->extra);
        picture_free(&r->picture);
        picture_free(&r->scratch);
        free(r);
    }
    return NULL;
}

// Hair stands off the scalp, more on top than at its edge.
static void grow_hair(struct renderer *r)
{
    const struct head *head = r->setup->head;
    const struct person *p = &r->person;

    head_normals(head, r->shape.vertex, r->normal);
    for (uint32_t v = 0; v < head->vertices; v++) {
        v3 q = head->kit->neutral[v], n = r->normal[v];
        float hair = v < head->kit->part[FK_HEAD].vertex_end ? skin_hair_at(p, q) : 0, lump;
        lump = 0.75f +
               0.35f * skin_noise(r->setup->atlas, 0.35f * q.x + p->noise_at[1], 0.35f * (q.y + q.z) + p->noise_at[2]);
        r->hair[v] = v3_mul(n, hair * hair * p->hair_volume * lump * (0.4f + 0.6f * smoothstepf(2, 9, q.y)));
    }
}

void render_set_person(struct renderer *r, const struct person *person)
{
    r->person = *person;
    head_make_identity(r->setup->head, r->person.identity, &r->shape);
    skin_paint(r->setup->atlas, &r->person, &r->skin);
    grow_hair(r);
    r->has_person = true;
}

static void take_person(struct renderer *r, uint32_t id)
{
    struct person person;

    if (r->has_person && r->person.id == id)
        return;
    person_draw(r->setup->seed, id, &person);
    render_set_person(r, &person);
}

static void find_visible(const struct renderer *r, struct labels *l)
{
    int n = r->raster.width;

    for (int i = 0; i < FACE_LANDMARKS; i++) {
        uint32_t v = (uint32_t)r->setup->head->kit->mp[mp68[i]];
        int x = (int)(RENDER_OVERSAMPLING * l->landmark[i].x), y = (int)(RENDER_OVERSAMPLING * l->landmark[i].y);
        float seen;
        l->visible[i] = false;
        if (x < 0 || y < 0 || x >= n || y >= n)
            continue;
        seen = r->raster.depth[(size_t)y * (size_t)n + (size_t)x];
        l->visible[i] = seen * (r->camera[v].z - VISIBLE_MM) < 1;
    }
}

static void draw_backdrop(struct renderer *r, struct rng *rng)
{
    const struct photo_set *set = r->setup->photos;
    const struct image *photo = NULL;

    if (set && set->count && rng_chance(rng, PHOTO_BACKDROP))
        photo = &set->photo[rng_below(rng, (int)set->count)].image;
    backdrop_draw(rng, photo, &r->picture);
}

// The big picture over the backdrop, averaged down.
static void compose(struct renderer *r)
{
    int side = r->setup->side, big = side * RENDER_OVERSAMPLING;
    float share = 1.0f / (RENDER_OVERSAMPLING * RENDER_OVERSAMPLING), exposure = r->scene.lighting.exposure;

    for (int y = 0; y < side; y++) {
        for (int x = 0; x < side; x++) {
            v3 sum = {0, 0, 0}, *out = &r->picture.pixel[y * side + x];
            int covered = 0;
            for (int k = 0; k < RENDER_OVERSAMPLING * RENDER_OVERSAMPLING; k++) {
                size_t at = (size_t)(RENDER_OVERSAMPLING * y + k / RENDER_OVERSAMPLING) * (size_t)big +
                            (size_t)(RENDER_OVERSAMPLING * x + k % RENDER_OVERSAMPLING);
                if (r->raster.triangle[at] == RASTER_NONE)
                    continue;
                sum = v3_add(sum, r->big[at]);
                covered++;
            }
            if (covered)
                *out = v3_mad(v3_mul(*out, 1 - share * (float)covered), sum, share * exposure);
        }
    }
}

int renderer_draw(struct renderer *r, uint64_t index, struct image *rgb, struct labels *ret_labels)
{
    const struct render_setup *s = r->setup;
    struct rng rng = rng_make(s->seed, STREAM_PICTURE, index);
    struct labels l = {.index = index, .width = s->side, .height = s->side};
    int e;

    l.identity = (uint32_t)(index / s->pictures_per_identity % s->identities);
    take_person(r, l.identity);
    scene_draw(s->seed, index, &r->person, &s->limits, &r->scene);
    e = render_place(r, &l);
    if (e < 0)
        return e;
    render_project(r, &l.camera);
    head_normals(s->head, r->vertex, r->normal);
    lighting_shade(&r->scene.lighting, s->head, r->normal, r->camera, r->to_camera, r->shade);
    raster_clear(&r->raster);
    raster_draw(&r->raster, r->screen, (const uint32_t(*)[3])s->head->triangle, 0, s->head->triangles, 0);
    find_visible(r, &l);
    render_paint(r, &l.camera);
    if (r->scene.glasses)
        render_paint_glasses(r, &l.camera);
    draw_backdrop(r, &rng);
    compose(r);
    picture_spoil(&r->scene.spoil, &rng, &r->picture, &r->scratch);
    picture_store(&r->picture, rgb);
    l.spoil = r->scene.spoil;
    l.glasses = r->scene.glasses;
    *ret_labels = l;
    return 0;
}
