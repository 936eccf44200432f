// The body under the head of a clip: shoulders and chest in a plain shirt, and a neck that bends between the two.
#pragma once

#include "train/render/clip_motion.h"
#include "train/render/renderer.h"

#define TORSO_AROUND    128
#define TORSO_DOWN      96
#define TORSO_VERTICES  ((TORSO_AROUND + 1) * TORSO_DOWN)
#define TORSO_TRIANGLES (2 * TORSO_AROUND * (TORSO_DOWN - 1))

struct clip_torso {
    float *neck;         // by vertex of the head: 0 moves with the head, 1 with the body
    bool *hidden;        // by vertex of the head: under the shirt
    v3 *vertex, *normal; // body's frame: FaceKit's axes and origin, cm
    v3 *screen, *light;  // of this picture: big pixels + 1/mm; what falls on the cloth
    uint32_t (*triangle)[3];
    struct raster raster;
};

// big_width, big_height: of the raster, pixels. -ENOMEM.
int clip_torso_init(struct clip_torso *t, const struct head *head, int big_width, int big_height);
void clip_torso_free(struct clip_torso *t);
// Bends r->vertex below the chin toward the body. After render_place, before render_project.
void clip_torso_bend(const struct clip_torso *t, struct renderer *r, const struct mat3 *body);
// Takes the head's own shoulders, which the shirt replaces, out of r->screen. After render_project.
void clip_torso_hide(const struct clip_torso *t, struct renderer *r);
// Rasters the body. After render_project.
void clip_torso_draw(struct clip_torso *t, const struct renderer *r, const struct camera *camera,
                     const struct mat3 *body);
// Radiance of the body at a pixel of its raster that shows it.
v3 clip_torso_colour(const struct clip_torso *t, const struct renderer *r, size_t at);
