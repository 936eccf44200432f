// Composes scenes for the face finder: several faces of known places on cluttered backgrounds without faces.
#pragma once

#include "train/face_set.h"
#include "train/render/rng.h"

#define SCENE_MAX_FACES 6

struct scene_face {
    struct box box;         // scene pixels
    struct point points[5]; // as FACE_FINDER_POINTS
    const struct face_sample *sample;
};

struct scene_spec {
    int width_px, height_px;
    float min_face_px, max_face_px; // larger edge of the box
    int min_faces, max_faces;
};

// Draws a scene from the pictures of the sets (either may be empty, not both) into `ret_scene` (grey, of the spec's
// size), and its faces. Returns their number, which may be below what was drawn when no place was left; or -ENOMEM or
// another failure.
int scene_compose(struct rng *rng, const struct face_set *real, const struct face_set *rendered,
                  const struct scene_spec *spec, struct image *ret_scene, struct scene_face faces[SCENE_MAX_FACES]);
// One picture of the sets as a whole in the scene (letterboxed, shifted, zoomed), as a camera in front of one person.
int scene_whole(struct rng *rng, const struct face_sample *sample, struct image *ret_scene,
                struct scene_face faces[SCENE_MAX_FACES]);
// The five points of a sample, moved by a homography.
void scene_face_points(const struct face_sample *sample, const struct mat3 *to_scene, struct point points[5]);
