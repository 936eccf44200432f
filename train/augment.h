// What cameras, compression, light and glasses do to a picture: degradations that a network has to stand.
#pragma once

#include "train/render/rng.h"

// How hard; 1 is what the trial with real webcams needed, 0 is none.
struct augment_strength {
    float detail; // lower resolution, blur
    float noise;  // sensor noise, JPEG
    float light;  // gamma, contrast, gradients
    float glare;  // blobs of light, dark bars (frames, hair)
};

// pixels: grey levels 0..255, width x height, changed in place; 0..255 afterwards. -ENOMEM.
int augment_patch(struct rng *rng, const struct augment_strength *strength, int width_px, int height_px, float *pixels);
