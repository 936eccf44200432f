// The inside of a renderer, shared by the files that place, paint and compose a picture.
#pragma once

#include "train/render/render.h"

#define PHOTO_GRID 32

// A photograph in use: its picture, the head fitted to it, and what is needed to draw it in another pose.
struct photo_view {
    const struct photo *photo;
    struct image image;
    struct photo_fit fit;
    float (*at)[2];                           // pixel of each drawn vertex in the photograph
    float *facing;                            // cosine between its normal and the line to the camera there
    v3 *pull;                                 // how far the landmarks' residual moves it, cm
    v3 eye_light[2];                          // irradiance that explains the white of each eye
    double roll_rad;                          // of the new picture
    v3 field[PHOTO_GRID + 1][PHOTO_GRID + 1]; // displacement where the face's mesh does not say, photograph's pixels
};

struct renderer {
    const struct render_setup *setup;
    // the person drawn last
    bool has_person;
    bool is_photo;
    struct photo_view view;
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
    float seat_y[2]; // height of the balls' seats, FaceKit frame, cm
    struct glasses glasses;
    struct raster raster, extra; // both of side * RENDER_OVERSAMPLING
    v3 *big;                     // radiance of the big picture where something is drawn
    struct picture picture, scratch;
    struct picture layer, mask; // the eyes over a photograph: radiance times cover, cover (in x)
};

// render.c: makes the person's shape, skin and hair.
void render_set_person(struct renderer *r, const struct person *person);
// place.c: from the drawn scene to vertices, camera, eyes and labels (all but the visibility of landmarks).
int render_place(struct renderer *r, struct labels *l);
// FaceKit coordinates (cm) to the camera frame (mm).
v3 render_to_camera(const struct renderer *r, v3 p);
// Finds the height at which the turning eyes sit between the lids of `vertex`, which are at rest.
void render_seat_eyes(struct renderer *r, const v3 *vertex);
// Centre of the turning eye, FaceKit frame, cm.
v3 render_ball_centre(const struct renderer *r, int side);
// Fills camera[] and screen[] of the drawn vertices, with hair.
void render_project(struct renderer *r, const struct camera *camera);
// paint.c: radiance of all that the raster shows, the eyes and the lashes.
void render_paint(struct renderer *r, const struct camera *camera);
// photo_view.c: takes a photograph as the person's face. -errno of reading it, -EDOM when no head fits.
int render_take_photo(struct renderer *r, const struct photo *photo);
// Poses of the photograph's scene and its lids: what differs from a painted head's.
void render_pose_photo(struct renderer *r);
int render_photo_lids(const struct renderer *r, const float pitch_deg[2], const float yaw_deg[2],
                      float weights[FK_EXPRESSIONS]);
// photo_paint.c: radiance of the photograph in its new pose, with new eyes.
void render_paint_photo(struct renderer *r, const struct camera *camera);
// paint.c: the eyes, into big[] or, over a photograph, into layer and mask.
void render_paint_eyes(struct renderer *r, const struct camera *camera);
// paint_glasses.c: over what is painted.
void render_paint_glasses(struct renderer *r, const struct camera *camera);
