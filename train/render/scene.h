// What changes from picture to picture: expression, pose, camera, gaze, light, and how the picture is spoilt.
#pragma once

#include <stdbool.h>

#include "train/render/expression.h"
#include "train/render/lids.h"
#include "train/render/light.h"
#include "train/render/person.h"
#include "vision/camera.h"
#include "vision/geometry.h"

struct scene_limits {
    double max_yaw_deg, max_pitch_deg, max_roll_deg;
};

struct degradation {
    float resample;     // the picture's detail as a share of its size
    float blur_px;      // Gaussian sigma
    float noise, grain; // sd of pixel noise and of coarse noise, 0..255
    float gamma, contrast, brightness;
    float gradient, gradient_turn; // linear light over the picture
    float glare, glare_x, glare_y, glare_r;
    float white[3];
    int quality, first_quality; // JPEG; first_quality 0 or an earlier compression's
    bool grey, infrared;
};

// A camera and a point looked at that are set instead of drawn (clips).
struct scene_given {
    struct camera camera;
    struct vec3 target_mm;
};

struct scene {
    uint64_t index;
    const struct scene_given *given; // or NULL: both are drawn
    struct expression expression;
    struct lids lids;
    struct head_angles relative;   // head against the line from the camera to the face
    struct mat3 head;              // head frame (geometry.h) -> camera
    struct vec3 face_mm;           // where the face origin goes
    float box_share, box_x, box_y; // size of the face's box and where its centre goes, shares of the picture
    struct lighting lighting;
    float pupil_cm;
    bool glasses;
    struct degradation spoil;
};

// A pure function of (seed, index, person, limits).
void scene_draw(uint64_t seed, uint64_t index, const struct person *p, const struct scene_limits *limits,
                struct scene *ret_scene);
// The point looked at, camera frame, mm. origin: between the eyes, camera frame; head: as in struct scene. Eye in head
// stays within 36 degrees sideways, 25 up and 24 down in the model's frame: 22 up and 27 down from the usual primary
// position.
struct vec3 scene_draw_target(uint64_t seed, uint64_t index, const struct mat3 *head, struct vec3 origin_mm);
// Rotation that turns the camera's axis into the direction of the point (the least turn).
struct mat3 scene_look_rotation(struct vec3 point_mm);
