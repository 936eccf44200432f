// A float picture: linear light while it is drawn, display values while it is spoilt.
#pragma once

#include "train/render/rng.h"
#include "train/render/scene.h"
#include "vision/image.h"

#define RENDER_SIDE_MIN 64
#define RENDER_SIDE_MAX 1024

struct picture {
    int side;
    v3 *pixel; // side^2
};

// Scratch for spoiling: two pictures of side^2.
int picture_init(struct picture *p, int side); // -ENOMEM
void picture_free(struct picture *p);

// Fills it with a backdrop in linear light: a gradient, noise, or `photo` (RGB, may be NULL), blurred and cut anew.
void backdrop_draw(struct rng *rng, const struct image *photo, struct picture *p);

// Linear light -> display values 0..255 (sRGB-like curve with a soft shoulder), then everything in `d`. rng decides the
// noise only. scratch: another picture of the same side. The result is in p, not yet rounded.
void picture_spoil(const struct degradation *d, struct rng *rng, struct picture *p, struct picture *scratch);
// Gaussian blur in place.
void picture_blur(struct picture *p, struct picture *scratch, float sigma_px);
// Rounds to an RGB image of the same side, allocated by the caller.
void picture_store(const struct picture *p, struct image *rgb);
