// What a webcam makes of the light: a soft lens, a tone curve, noise, bytes.
#pragma once

#include "train/render/clip_room.h"
#include "vision/image.h"

#define CLIP_NOISE_SD 1.0f // of 255, in luma

// Linear light to an RGB image of the same size, allocated by the caller. rng decides the noise. linear is used up.
void clip_sensor_store(struct clip_picture *linear, struct clip_picture *scratch, struct rng *rng, struct image *rgb);
