// One picture from draw to pixels.
#include "train/render/render.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/render/hood.h"
#include "train/render/renderer.h"
#include "vision/image_file.h"

#define STREAM_PICTURE 4
#define VISIBLE_MM     7.0f // a landmark this far behind the surface seen at its pixel is hidden
#define PHOTO_BACKDROP 0.5f
#define LIPS_SHUT_CM   0.2f
#define PHOTO_TRIES    5
// Identities of photographs in labels start here.
#define PHOTO_IDENTITY 1000000000u

static int renderer_new_view(struct renderer *r)
{
    size_t n = r->setup->head->vertices;

    if (!r->setup->photos)
        return 0;
    r->view.at = malloc(n * sizeof(*r->view.at));
    r->view.facing = malloc(n * sizeof(float));
    r->view.pull = malloc(n * sizeof(v3));
    if (!r->view.at || !r->view.facing || !r->view.pull || picture_init(&r->layer, r->setup->side) < 0 ||
        picture_init(&r->mask, r->setup->side) < 0)
        return -ENOMEM;
    return 0;
}

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
        picture_init(&r->scratch, setup->side) < 0 || renderer_new_view(r) < 0) {
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
        picture_free(&r->layer);
        picture_free(&r->mask);
        free(r->view.at);
        free(r->view.facing);
        free(r->view.pull);
        image_free(&r->view.image);
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
        if (p->hair_long > 0) // falls away from the neck
            r->hair[v] = v3_add(
                r->hair[v], v3_mul(v3_make(n.x, 0, 0.3f * n.z), 1.8f * hair * p->hair_long * smoothstepf(3, -5, q.y)));
    }
}

// The model's own face for the person.
static void make_person(struct renderer *r)
{
    head_make_identity(r->setup->head, r->person.identity, &r->shape);
    render_seat_eyes(r, r->shape.vertex);
    hood_shape(r->setup->head, &r->person, &r->shape);
    skin_paint(r->setup->atlas, &r->person, &r->skin);
    grow_hair(r);
}

void render_set_person(struct renderer *r, const struct person *person)
{
    r->person = *person;
    make_person(r);
    r->has_person = true;
}

static bool wants_photo(const struct render_setup *s, uint32_t id)
{
    return s->photos && (s->mode == RENDER_PHOTO || (s->mode == RENDER_MIX && id % 2 == 1));
}

// A photograph that can't be read or explained gives way to the next; after a few the person is a painted one.
static void take_photo(struct renderer *r, uint32_t id)
{
    const struct photo_set *set = r->setup->photos;
    uint64_t at = rng_mix(rng_mix(r->setup->seed) + id / (r->setup->mode == RENDER_MIX ? 2 : 1));

    for (int tries = 0; tries < PHOTO_TRIES && !r->is_photo; tries++)
        r->is_photo = render_take_photo(r, &set->photo[(at + (uint64_t)tries) % set->count]) == 0;
    if (r->is_photo)
        memset(r->hair, 0, r->setup->head->kit->vertices * sizeof(v3));
}

static void take_person(struct renderer *r, uint32_t id)
{
    if (r->has_person && r->person.id == id)
        return;
    person_draw(r->setup->seed, id, &r->person);
    r->has_person = true;
    r->is_photo = false;
    if (wants_photo(r->setup, id))
        take_photo(r, id);
    if (!r->is_photo)
        make_person(r);
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
    struct image photo = {0};

    if (set && rng_chance(rng, PHOTO_BACKDROP)) {
        int at = rng_below(rng, (int)set->count);
        if (image_load(set->photo[at].path, 3, &photo, NULL) < 0)
            photo.data = NULL;
    }
    backdrop_draw(rng, photo.data ? &photo : NULL, &r->picture);
    image_free(&photo);
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
                if (!r->is_photo && r->raster.triangle[at] == RASTER_NONE)
                    continue;
                sum = v3_add(sum, r->big[at]);
                covered++;
            }
            if (covered)
                *out = v3_mad(v3_mul(*out, 1 - share * (float)covered), sum, share * exposure);
        }
    }
}

// Teeth and tongue are a third of the triangles: left out behind closed lips, and in photographs, which show their own.
static uint32_t last_triangle(const struct renderer *r)
{
    const struct head *head = r->setup->head;
    v3 gap = v3_sub(r->vertex[head->kit->mp[13]], r->vertex[head->kit->mp[14]]);
    return r->is_photo || gap.y < LIPS_SHUT_CM ? head->inside_from : head->triangles;
}

static void paint(struct renderer *r, struct rng *rng, const struct camera *camera)
{
    if (r->is_photo) {
        render_paint_photo(r, camera);
    } else {
        head_normals(r->setup->head, r->vertex, r->normal);
        lighting_shade(&r->scene.lighting, r->setup->head, r->normal, r->camera, r->to_camera, r->shade);
        render_paint(r, camera);
        draw_backdrop(r, rng);
    }
    if (r->scene.glasses)
        render_paint_glasses(r, camera);
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
    if (r->is_photo)
        render_pose_photo(r);
    e = render_place(r, &l);
    if (e < 0)
        return e;
    render_project(r, &l.camera);
    raster_clear(&r->raster);
    raster_draw(&r->raster, r->screen, (const uint32_t(*)[3])s->head->triangle, 0, last_triangle(r), 0);
    find_visible(r, &l);
    paint(r, &rng, &l.camera);
    compose(r);
    picture_spoil(&r->scene.spoil, &rng, &r->picture, &r->scratch);
    picture_store(&r->picture, rgb);
    l.spoil = r->scene.spoil;
    l.glasses = r->scene.glasses;
    l.photo = r->is_photo;
    if (r->is_photo) {
        snprintf(l.source, sizeof(l.source), "%s", r->view.photo->id);
        l.identity = PHOTO_IDENTITY + (uint32_t)(r->view.photo - s->photos->photo);
    }
    *ret_labels = l;
    return 0;
}
