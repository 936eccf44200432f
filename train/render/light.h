// Lights of a picture: a few far lights and a soft sky, in the head's frame for shading and the camera's for glints.
#pragma once

#include "train/render/head.h"
#include "train/render/rng.h"

#define LIGHTS_MAX 4

struct light {
    v3 direction; // toward the light, camera frame (x right, y down, z forward)
    v3 colour;
    float size; // half its angular size (radians) as a reflection shows it
    int square; // a window or screen rather than a round lamp
};

struct lighting {
    int count;
    struct light light[LIGHTS_MAX];
    v3 sky, ground; // ambient from above and below
    v3 sky_up;      // camera frame
    float exposure; // pixel = exposure * radiance
};

// What a vertex sends to the camera: diffuse factor (times albedo) and gloss (added).
struct shade {
    float r, g, b, gloss;
};

// facing: unit vector from the head toward the camera, camera frame. skin_level: the skin's mean reflectance; exposure
// follows it part of the way.
void lighting_draw(struct rng *rng, v3 facing, float skin_level, int infrared, struct lighting *ret_lighting);
// Shades the head's drawn vertices. normal: head frame (FaceKit's axes); to_camera: 3x3 row-major matrix from those
// axes to the camera frame; position: camera frame, mm.
void lighting_shade(const struct lighting *l, const struct head *head, const v3 *normal, const v3 *position,
                    const float to_camera[9], struct shade *ret_shade);
// The diffuse light that falls on a surface of this normal (camera frame), nothing in the way.
v3 lighting_irradiance(const struct lighting *l, v3 normal);
// What a mirror shows in a direction (camera frame): lamps and windows over a dim sky. lamp: 1 for lamps whose
// brightness is their light spread over their size, less to dim them.
v3 lighting_reflection(const struct lighting *l, v3 direction, float lamp);
