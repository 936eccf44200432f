// The inside of a renderer, shared by the files that place, paint and compose a picture.
#pragma once

#include "train/render/render.h"

struct renderer {
    const struct render_setup *setup;
    // the person drawn last
    bool has_person;
    struct person person;
    struct head_shape shape;
    struct skin skin;
    v3 *hair; // offset of hair over the scalp, by vertex
    // this picture
    struct scene scene;
    v3 *vertex, *normal, *camera, *screen; // head frame cm; head frame; camera frame mm; big pixels + 1/mm
    struct shade *shade;
    float to_camera[9]; // FaceKit axes -> camera frame
    struct vec3 shift_mm;
    struct eye eye[2];
    struct glasses glasses;
    struct raster raster, extra; // both of side * RENDER_OVERSAMPLING
    v3 *big;                     // radiance of the big picture where something is drawn
    struct picture picture, scratch;
};

// render.c: makes the person's shape, skin and hair.
void render_set_person(struct renderer *r, const struct person *person);
// place.c: from the drawn scene to vertices, camera, eyes and labels (all but the visibility of landmarks).
int render_place(struct renderer *r, struct labels *l);
// FaceKit coordinates (cm) to the camera frame (mm).
v3 render_to_camera(const struct renderer *r, v3 p);
// Fills camera[] and screen[] of the drawn vertices, with hair.
void render_project(struct renderer *r, const struct camera *camera);
// paint.c: radiance of all that the raster shows, the eyes and the lashes.
void render_paint(struct renderer *r, const struct camera *camera);
// paint_glasses.c: over what is painted.
void render_paint_glasses(struct renderer *r, const struct camera *camera);
