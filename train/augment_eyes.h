// Makes drawn eyes look more like photographed ones.
#pragma once

#include "train/render/rng.h"
#include "vision/camera.h"

// Of one eye in the patch, pixels / scale: landmarks 36 .. 41, or those of the left eye in that order if it is
// mirrored, then the iris' centre and its rim's right, top, left and bottom.
struct augment_eye {
    struct point lid[6], iris[5];
};

// pixels: grey levels 0..255, width x height, both eyes of one face about level, `scale` pixels a millimetre or so;
// changed in place. Where the lids and irises are stays as it is, how light and soft-edged they are changes: irises as
// pale as skin, mirrored lamps, dark lashes along the upper lid, its shadow on the ball, whites that are none.
void augment_eyes(struct rng *rng, const struct augment_eye eye[2], int width_px, int height_px, float scale,
                  float *pixels);
