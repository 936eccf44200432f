// What a clip's camera sees behind the person: an indoor wall with furniture, out of focus.
#pragma once

#include "train/render/rng.h"

// Linear light; pixel[height * width].
struct clip_picture {
    int width, height;
    v3 *pixel;
};

// -ENOMEM.
int clip_picture_init(struct clip_picture *p, int width, int height);
void clip_picture_free(struct clip_picture *p);
// Smooths in place by three boxes of about this Gaussian sigma; scratch has the same size.
void clip_picture_blur(struct clip_picture *p, struct clip_picture *scratch, float sigma_px);
// Fills p. A pure function of seed and size; -ENOMEM.
int clip_room_draw(uint64_t seed, struct clip_picture *p);
