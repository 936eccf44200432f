// The anatomic eye: two spheres traced per pixel, in front of the head's own ball, which fills the lids as sclera.
#pragma once

#include "train/render/light.h"
#include "train/render/person.h"

#define EYE_LID_POINTS 9
// Share of an eye's radius at which the pupil ends at rest.
#define EYE_IRIS_DEPTH_CM 0.03f
#define EYE_CORNEA_CM     0.78f

// All in the camera frame, millimetres; pixels are those of the picture it is drawn into.
struct eye {
    v3 ball, axis, right, up; // centre; optical axis out of the eye; two directions across it
    float ball_r, iris_r, pupil_r, limbus_at, cornea_at, cornea_r;
    v3 big; // the head's ball
    float big_r;
    const struct person *person;
    const struct lighting *lighting;
    float gain;       // of the scene's light at this eye, 1
    v3 lid_light;     // diffuse light on the lids: the eye stands in the same shadow
    float lid_shadow; // strength, 0..1
    float upper[EYE_LID_POINTS][2], lower[EYE_LID_POINTS][2]; // lid margins in pixels, corner to corner
    float px_per_mm;
};

// axis: unit. Sets what follows from the person; lids and light are the caller's.
void eye_init(struct eye *eye, const struct person *p, v3 ball_mm, v3 axis, float pupil_cm);
// Traces the ray from the camera's origin. Returns 0 when it misses all; else *ret_depth_mm (z) of the surface (of the
// head's ball where the ray meets both) and *ret_radiance toward the camera. x, y: the pixel, for the lids' shadow.
int eye_trace(const struct eye *eye, v3 ray, float x, float y, float *ret_depth_mm, v3 *ret_radiance);
