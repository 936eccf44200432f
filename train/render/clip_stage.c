// Composes a frame: head by the renderer, body, room, sensor.
#include "train/render/clip_stage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "train/render/clip_sensor.h"
#include "train/render/clip_torso.h"

#define STREAM_LIGHT 45
#define STREAM_NOISE 46
#define VISIBLE_MM   7.0f // a landmark this far behind the surface seen at its pixel is hidden
#define TAME         0.7f // share of a drawn identity's strangeness
#define SKIN_LEVEL   0.36f

struct clip_stage {
    struct clip_setup setup;
    struct render_setup render;
    struct scene_given given;
    struct renderer *renderer;
    struct clip_torso torso;
    struct lighting lighting;
    struct clip_picture room, picture, scratch;
};

// An ordinary person of the seed, without glasses.
static void draw_person(uint64_t seed, struct person *p)
{
    person_draw(seed, 0, p);
    for (int i = 0; i < FK_IDENTITIES; i++)
        p->identity[i] *= TAME;
    p->glasses = GLASSES_NEVER;
    p->baldness = 0;
    p->hair_volume = clampf(p->hair_volume, 0.4f, 1.0f);
    p->hairline = maxf(p->hairline, 8.8f);
    p->temples = maxf(p->temples, 0.025f);
    p->hair_side = maxf(p->hair_side, 2.8f);
    p->hair = v3_mul(p->hair, minf(1, 0.16f / p->hair.y));
    p->brow_density = maxf(p->brow_density, 0.7f);
    p->brow = v3_mul(p->brow, minf(1, 0.12f / p->brow.y));
    p->lip = v3_mix(p->lip, v3_tint(p->skin, v3_make(.85f, .65f, .70f)), 0.6f);
    p->wrinkles *= 0.6f;
    p->lid_rest = clampf(p->lid_rest, -0.08f, 0.05f);
    p->moles *= 0.4f;
    p->redness *= 0.5f;
    p->blotch = minf(p->blotch, 0.8f);
    p->cloth_line = -14.5f; // under the collar
    p->cloth = v3_mix(p->cloth, v3_make(p->cloth.y, p->cloth.y, p->cloth.y), 0.5f);
    p->cloth = v3_mul(p->cloth, clampf(p->cloth.y, 0.03f, 0.35f) / maxf(p->cloth.y, 1e-3f));
}

// Daylight from one side, the screen's glow from below the camera, and a bright room.
static void draw_lighting(uint64_t seed, const struct person *p, struct lighting *l)
{
    struct rng rng = rng_make(seed, STREAM_LIGHT, 0);
    float side = rng_chance(&rng, 0.5f) ? 1 : -1, key = rng_uniform(&rng, 0.7f, 0.95f);
    float skin = 0.3f * p->skin.x + 0.6f * p->skin.y + 0.1f * p->skin.z, total;

    *l = (struct lighting){.count = 2};
    l->light[0] = (struct light){v3_unit(v3_make(side * rng_uniform(&rng, 0.5f, 0.8f), -0.5f, -0.75f)),
                                 v3_make(key * 1.02f, key, key * 0.97f), 0.14f, 1};
    l->light[1] = (struct light){v3_unit(v3_make(0, 0.25f, -1)), v3_make(.16f, .18f, .20f), 0.2f, 1};
    l->sky_up = v3_unit(v3_make(0.15f * side, -1, -0.35f));
    l->sky = v3_make(.52f, .50f, .47f);
    l->ground = v3_make(.27f, .25f, .23f);
    total = v3_dot(lighting_irradiance(l, v3_make(0, 0, -1)), v3_make(.33f, .34f, .33f));
    l->exposure = SKIN_LEVEL / (total * powf(skin, 0.6f) * powf(0.3f, 0.4f));
}

int clip_stage_new(const struct clip_setup *setup, struct clip_stage **ret_stage)
{
    struct clip_stage *s;
    struct person person;
    int r, big_height = setup->height * RENDER_OVERSAMPLING;

    if (setup->width < CLIP_SIDE_MIN || setup->height < CLIP_SIDE_MIN || setup->width > CLIP_SIDE_MAX ||
        setup->height > CLIP_SIDE_MAX)
        return -EINVAL;
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->setup = *setup;
    s->render = (struct render_setup){.head = setup->head, .atlas = setup->atlas, .seed = setup->seed};
    // the renderer's buffers are square; the rows below the picture stay empty
    s->render.side = setup->width > setup->height ? setup->width : setup->height;
    r = camera_from_hfov(setup->width, setup->height, setup->hfov_rad, &s->given.camera);
    r = r < 0 ? r : renderer_new(&s->render, &s->renderer);
    r = r < 0 ? r : clip_torso_init(&s->torso, setup->head, s->render.side * RENDER_OVERSAMPLING, big_height);
    r = r < 0 ? r : clip_picture_init(&s->room, setup->width, setup->height);
    r = r < 0 ? r : clip_picture_init(&s->picture, setup->width, setup->height);
    r = r < 0 ? r : clip_picture_init(&s->scratch, setup->width, setup->height);
    r = r < 0 ? r : clip_room_draw(setup->seed, &s->room);
    if (r < 0) {
        clip_stage_free(s);
        return r;
    }
    s->renderer->raster.height = s->renderer->extra.height = big_height;
    draw_person(setup->seed, &person);
    render_set_person(s->renderer, &person);
    draw_lighting(setup->seed, &person, &s->lighting);
    *ret_stage = s;
    return 0;
}

struct clip_stage *clip_stage_free(struct clip_stage *s)
{
    if (s) {
        renderer_free(s->renderer);
        clip_torso_free(&s->torso);
        clip_picture_free(&s->room);
        clip_picture_free(&s->picture);
        clip_picture_free(&s->scratch);
        free(s);
    }
    return NULL;
}

static void set_scene(struct clip_stage *s, const struct clip_moment *m, uint64_t index)
{
    struct scene *scene = &s->renderer->scene;
    struct lighting *l = &scene->lighting;

    s->given.target_mm = m->target_mm;
    *scene = (struct scene){.index = index,
                            .given = &s->given,
                            .expression = m->expression,
                            .lids = {s->renderer->person.lid_rest, 1, {m->blink, m->blink}},
                            .head = m->head,
                            .face_mm = m->face_mm,
                            .lighting = s->lighting,
                            .pupil_cm = m->pupil_cm};
    scene->spoil = (struct degradation){.resample = 1,
                                        .noise = CLIP_NOISE_SD,
                                        .gamma = 1,
                                        .contrast = 1,
                                        .white = {1, 1, 1},
                                        .quality = s->setup.quality};
    l->exposure *= m->light;
}

static void find_visible(const struct renderer *r, struct labels *l)
{
    int w = r->raster.width;

    for (int i = 0; i < FACE_LANDMARKS; i++) {
        uint32_t v = (uint32_t)r->setup->head->kit->mp[mp68[i]];
        float x = RENDER_OVERSAMPLING * l->landmark[i].x, y = RENDER_OVERSAMPLING * l->landmark[i].y;

        l->visible[i] = x >= 0 && y >= 0 && x < (float)(RENDER_OVERSAMPLING * l->width) &&
                        y < (float)(RENDER_OVERSAMPLING * l->height) &&
                        r->raster.depth[(size_t)y * (size_t)w + (size_t)x] * (r->camera[v].z - VISIBLE_MM) < 1;
    }
}

// The nearer of head and body over the room, averaged down.
static void compose(struct clip_stage *s, float light)
{
    const struct renderer *r = s->renderer;
    float share = 1.0f / (RENDER_OVERSAMPLING * RENDER_OVERSAMPLING), exposure = r->scene.lighting.exposure;

    for (int y = 0; y < s->setup.height; y++) {
        for (int x = 0; x < s->setup.width; x++) {
            v3 sum = {0, 0, 0}, room = s->room.pixel[y * s->setup.width + x];
            int covered = 0;
            for (int k = 0; k < RENDER_OVERSAMPLING * RENDER_OVERSAMPLING; k++) {
                size_t at = (size_t)(RENDER_OVERSAMPLING * y + k / RENDER_OVERSAMPLING) * (size_t)r->raster.width +
                            (size_t)(RENDER_OVERSAMPLING * x + k % RENDER_OVERSAMPLING);
                if (r->raster.triangle[at] == RASTER_NONE && s->torso.raster.triangle[at] == RASTER_NONE)
                    continue;
                sum = v3_add(sum, s->torso.raster.depth[at] > r->raster.depth[at] ? clip_torso_colour(&s->torso, r, at)
                                                                                  : r->big[at]);
                covered++;
            }
            s->picture.pixel[y * s->setup.width + x] =
                v3_mad(v3_mul(room, light * (1 - share * (float)covered)), sum, share * exposure);
        }
    }
}

int clip_stage_draw(struct clip_stage *s, const struct clip_moment *m, uint64_t index, struct image *rgb,
                    struct labels *ret_labels)
{
    struct renderer *r = s->renderer;
    struct rng rng = rng_make(s->setup.seed, STREAM_NOISE, index);
    struct labels l = {.index = index, .width = s->setup.width, .height = s->setup.height};
    int e;

    set_scene(s, m, index);
    e = render_place(r, &l);
    if (e < 0)
        return e;
    clip_torso_bend(&s->torso, r, &m->body);
    render_project(r, &l.camera);
    clip_torso_hide(&s->torso, r);
    head_normals(s->setup.head, r->vertex, r->normal);
    lighting_shade(&r->scene.lighting, s->setup.head, r->normal, r->camera, r->to_camera, r->shade);
    raster_clear(&r->raster);
    raster_draw(&r->raster, r->screen, (const uint32_t(*)[3])s->setup.head->triangle, 0, s->setup.head->triangles, 0);
    find_visible(r, &l);
    render_paint(r, &l.camera);
    clip_torso_draw(&s->torso, r, &l.camera, &m->body);
    compose(s, m->light);
    clip_sensor_store(&s->picture, &s->scratch, &rng, rgb);
    l.spoil = r->scene.spoil;
    *ret_labels = l;
    return 0;
}
